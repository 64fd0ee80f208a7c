"""Tenants whose runs leave time out, whose history grows, or whose sources come, go and change
their names: what is landed and accepted in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.errors import QualityError
from include.handoffs import Checked, Ingested, Interval, pack, unpack
from include.incidents import Incident
from include.ingestion import renaming, stage
from include.pipeline import translate
from include.quality import accepted, inspection
from include.quality.incidents import REFUSED_HOLE
from include.storage.lake import Lake
from include.stores import Stores
from include.stores.memory import in_memory
from include.tenants.config import TenantConfig
from tests.interruptions import Ended, end_after_write
from tests.shops import HISTORY_START, Shop, Shops, grant, week

WEEKS = 9
#: What is late, delivered twice, set aside by ingestion and by quality, beside what is plain.
ODD = (
    "late,2024-01-09,u1,1,3,2024-01-31",
    "twice,2024-01-23,u1,1,3,2024-01-23",
    "twice,2024-01-23,u1,1,4,2024-01-31",
    "bad,2024-01-24,u1,many,3,2024-01-24",
    "large,2024-01-25,u1,1,3e9,2024-01-25",
)
HEAD = "id,at,user,quantity,amount,arrived"


def line(number: int) -> str:
    """The row of a quarter of a day."""
    at = HISTORY_START + timedelta(hours=6 * number + 1)
    return f"{number},{at:%FT%T},u{number % 7},1,{number % 5},{at:%FT%T}"


LINES = [*(line(number) for number in range(28 * WEEKS)), *ODD]


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops have files only."""
    raise AssertionError(connection_id)


@dataclass
class Life:
    """A shop whose weeks are ingested and checked."""

    shop: Shop
    stores: Stores
    path: Path  #: of its file
    ends: list[tuple[Ingested, Checked]] = field(default_factory=list)

    def run(self, number: int) -> tuple[Ingested, Checked]:
        """Both stages of a week; the handoff crosses the border as Airflow hands it on."""
        ingested = unpack(pack(self.shop.ingest(number)))
        return ingested, self.check(ingested)

    def check(self, ingested: Ingested) -> Checked:
        """The second stage alone."""
        config = self.shop.config
        return inspection.check(
            config,
            ingested,
            [],
            delivered=translate.delivered(self.stores.slices.recorded(config.ref)),
            lake=self.shop.lake,
            checks=self.stores.checks,
            incidents=self.stores.incidents,
        )

    def change(self, **source: Any) -> None:
        """Other values of the only source."""
        changed = self.shop.config.sources[0].model_copy(update=source)
        self.sources(changed)

    def sources(self, *sources: Any) -> None:
        """Other sources."""
        self.shop.config = checked(self.shop.config.model_copy(update={"sources": sources}))

    def write(self, lines: list[str]) -> None:
        """Other content of the file."""
        self.path.write_text("\n".join([HEAD, *lines, ""]))

    def ids(self, table: str = "events", source: str | None = None) -> list[str]:
        """Ids in a table as it is now, every row counted."""
        rows = self.shop.lake.dataset(self.shop.config.ref, table).to_table().to_pylist()
        return sorted(row["event_id"] for row in rows if source in (None, row["source"]))

    def state(self) -> dict[str, Any]:
        """All that a reader can see, without what only numbers commits."""
        ref, lake = self.shop.config.ref, self.shop.lake
        rows = {
            table: [
                {name: value for name, value in row.items() if name != "tenant_id"}
                for row in lake.read(ref, table).to_pylist()
            ]
            for table in ("landing_events", "events")
        }
        return {
            **rows,
            "set aside": [
                [row for row, _ in self.shop.quarantined()],
                *(
                    [{**one.row, "tenant_id": ""} for one in found]
                    for found in (self.stores.checks.set_aside(ref, "pos"),)
                ),
            ],
            "slices": [
                replace(one, table_version=0, along_with=None)
                for one in self.stores.slices.recorded(ref)
            ],
            "checks": [(one.interval, one.results) for one in self.stores.checks.inspections(ref)],
            "incidents": self.stores.incidents.about(ref, ""),
        }


def checked(config: TenantConfig) -> TenantConfig:
    """The same, validated."""
    return TenantConfig.model_validate(config.model_dump(by_alias=True))


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Life]:
    """Makes shops that all deliver the same."""
    grant(monkeypatch, roots=[str(tmp_path)])
    stores = in_memory()
    shops, numbers = Shops(tmp_path, stores.slices, no_database), count()

    def make(lines: list[str] = LINES) -> Life:
        path = tmp_path / f"pauses-{next(numbers)}.csv"
        life = Life(shops.file(path, "csv", arrival={"column": "arrived"}), stores, path)
        life.write(lines)
        return life

    return make


def test_a_pause_ends_as_if_there_had_been_none(new: Callable[..., Life]) -> None:
    """Three weeks that nobody ran are loaded and judged by the next run, each on its own."""
    steady, paused = new(), new()
    for number in range(1, WEEKS):
        steady.run(number)
    for number in (1, 2, 3):
        paused.run(number)
    ingested, _ = paused.run(7)
    paused.run(8)
    assert paused.state() == steady.state()
    assert [(one.source, one.start, one.end) for one in ingested.holes] == [
        ("pos", week(number).start, week(number).end) for number in (4, 5, 6)
    ]
    assert str(ingested).endswith(
        "; loaded first, as no run had: pos 2024-01-29 00:00 UTC to 2024-02-19 00:00 UTC"
    )


def test_a_rerun_is_the_run_once_more(new: Callable[..., Life]) -> None:
    """The same handoffs, the same state, and not a table version more."""
    life = new()
    life.run(1)
    first, state = life.run(5), life.state()
    versions = [
        life.shop.lake.version(life.shop.config.ref, t) for t in ("events", "landing_events")
    ]
    assert life.run(5) == first
    assert life.state() == state
    assert versions == [
        life.shop.lake.version(life.shop.config.ref, t) for t in ("events", "landing_events")
    ]
    steady = new()
    for number in range(1, 6):
        steady.run(number)
    assert state == steady.state()


def interrupted(life: Life, number: int, patch: pytest.MonkeyPatch) -> Iterator[int]:
    """Runs of a week that end after their first write, after their second, and so on."""
    slices, checks = type(life.stores.slices), type(life.stores.checks)
    for write in count(1):
        with patch.context() as context:
            end_after_write(
                context,
                write,
                (Lake, "replace_slice"),
                (Lake, "rename_source"),
                (Lake, "keep_sources"),
                (slices, "record"),
                (slices, "rename"),
                (checks, "record"),
                (checks, "rename"),
            )
            try:
                life.run(number)
            except Ended:
                yield write
            else:
                return


def test_a_pause_and_kills_end_as_if_there_had_been_neither(
    new: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each of its writes and run again, the run after a pause leaves the same."""
    calm, hit = new(), new()
    for life in (calm, hit):
        life.run(1)
    expected = calm.run(3)
    assert len(list(interrupted(hit, 3, monkeypatch))) >= 8
    ended = hit.run(3)
    assert [str(one) for one in ended] == [str(one) for one in expected]
    assert hit.state() == calm.state()


def test_a_run_that_ended_after_ingestion_brings_its_hole_along_when_run_again(
    new: Callable[..., Life],
) -> None:
    """Rows of a hole reach the accepted tables by a rerun, whichever run came meanwhile."""
    life, steady = new(), new()
    life.run(1)
    life.shop.ingest(4)
    life.run(5)
    life.run(4)
    for number in range(1, 6):
        steady.run(number)
    assert life.ids() == steady.ids()


def test_what_was_loaded_and_never_judged_is_judged_by_the_next_run(
    new: Callable[..., Life],
) -> None:
    """Runs that were killed after ingestion lose nothing where nobody runs them again."""
    life, steady = new(), new()
    life.shop.ingest(1)
    life.shop.ingest(3)
    first = life.run(4)
    assert life.run(4) == first
    for number in range(1, 5):
        steady.run(number)
    assert life.ids() == steady.ids()


def test_what_was_refused_waits_for_a_run_of_its_own(new: Callable[..., Life]) -> None:
    """It was judged: the next run leaves it alone, and no incident tells of it."""
    extra = [f"more-{n},2024-01-16,u1,1e12,1,2024-01-16" for n in range(1_000)]
    life = new([*LINES, *extra])
    life.run(1)
    with pytest.raises(QualityError):
        life.run(2)
    life.run(3)
    assert incidents(life) == []
    assert not {str(number) for number in range(28 * 2, 28 * 3)} & {*life.ids()}


def test_a_history_that_begins_earlier_is_loaded(new: Callable[..., Life]) -> None:
    """The next run loads what came before, and one that follows loads nothing of it."""
    life, whole = new(), new()
    later = life.shop.config.history_from + timedelta(days=10)
    life.shop.config = life.shop.config.model_copy(update={"history_from": later})
    life.run(3)
    earlier = [one for one in life.ids() if one.isdigit()]
    life.shop.config = whole.shop.config.model_copy(
        update={"id": life.shop.config.id, "sources": life.shop.config.sources}
    )
    ingested, _ = life.run(4)
    assert [(one.start, one.end) for one in ingested.holes] == [
        (week(0).start, week(0).end),
        (week(1).start, week(1).start + timedelta(days=3)),
    ]
    assert life.run(5)[0].holes == ()
    for number in (3, 4, 5):
        whole.run(number)
    assert life.ids() == whole.ids()
    assert len(earlier) == 28 * 4 - 40


def test_a_new_source_loads_its_whole_history_and_no_hole(new: Callable[..., Life]) -> None:
    """A source that is added later has nothing to catch up with: its history is one slice."""
    life = new()
    life.run(1)
    life.run(2)
    (pos,) = life.shop.config.sources
    life.sources(pos, pos.model_copy(update={"name": "web"}))
    ingested, _ = life.run(3)
    assert ingested.holes == ()
    assert life.ids(source="web") == life.ids(source="pos")
    slices = life.stores.slices.recorded(life.shop.config.ref)
    assert [one.interval for one in slices if one.source == "web"] == [
        Interval(HISTORY_START, week(3).start),
        week(3),
    ]


def test_a_refused_hole_is_an_incident_until_its_week_is_run(new: Callable[..., Life]) -> None:
    """The run goes on and says what is missing and how to load it; the other weeks are in."""
    bad = [
        one.replace(",1,", ",1e12,", 1) if 28 * 3 <= number < 28 * 4 else one
        for number, one in enumerate(LINES)
    ]
    extra = [f"more-{n},2024-01-22,u1,1e12,1,2024-01-22" for n in range(100)]
    life, steady = new([*bad, *extra]), new()
    life.run(1)
    ingested, checked_ = life.run(5)
    assert len(ingested.holes) == 3
    (incident,) = incidents(life)
    assert incident.as_of == week(3).end
    assert "2024-01-22" in incident.summary
    assert "run the interval again" in incident.summary
    assert checked_.rows == 3 * 28 + 1
    assert life.run(5)[1] == checked_
    assert incidents(life) == [incident]
    life.write(LINES)
    life.run(3)
    assert [one.closed_at for one in incidents(life)] == [week(3).end]
    for number in range(1, 6):
        steady.run(number)
    assert life.ids() == steady.ids()


def incidents(life: Life) -> list[Incident]:
    """Those of refused holes."""
    return life.stores.incidents.of_kind(life.shop.config.ref, REFUSED_HOLE)


def test_a_refused_run_accepts_its_good_holes_and_fails(new: Callable[..., Life]) -> None:
    """The run's own interval is still its own to fail by."""
    extra = [f"more-{n},2024-01-30,u1,1e12,1,2024-01-30" for n in range(1_000)]
    life = new([*LINES, *extra])
    life.run(1)
    with pytest.raises(QualityError, match="mostly_good"):
        life.run(4)
    assert incidents(life) == []
    assert len(life.ids()) == 4 * 28 + 1


def test_a_source_by_another_name_without_a_word_counts_nothing_twice(
    new: Callable[..., Life],
) -> None:
    """What came by the name before no longer counts, and the new source loads its history."""
    life, steady = new(), new()
    for number in (1, 2, 3):
        steady.run(number)
    life.run(1)
    life.run(2)
    before = life.shop.lake.version(life.shop.config.ref, "events")
    assert accepted.gone(life.shop.config, life.shop.lake) == {}
    life.change(name="till")
    assert accepted.gone(life.shop.config, life.shop.lake) == {"pos": before.rows}
    life.run(3)
    assert life.ids() == life.ids(source="till") == steady.ids()
    assert accepted.gone(life.shop.config, life.shop.lake) == {}
    assert life.ids("landing_events", "pos") != []
    old = life.shop.lake.dataset(life.shop.config.ref, "events", before.version)
    assert old.count_rows() == before.rows


def test_a_source_that_comes_back_has_its_rows_again(new: Callable[..., Life]) -> None:
    """Nothing of it is lost while it is gone, and the weeks it was gone are a hole."""
    life, steady = new(), new()
    life.run(1)
    life.run(2)
    (pos,) = life.shop.config.sources
    life.sources(pos.model_copy(update={"name": "web"}))
    life.run(3)
    life.run(4)
    life.sources(pos)
    ingested, _ = life.run(5)
    assert [(one.start, one.end) for one in ingested.holes] == [
        (week(number).start, week(number).end) for number in (3, 4)
    ]
    for number in range(1, 6):
        steady.run(number)
    assert life.ids() == life.ids(source="pos") == steady.ids()


def test_a_declared_rename_goes_on_where_the_former_name_ended(
    new: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read twice, whatever kills the run; a rerun of an old week replaces its rows."""
    life, steady = new(), new()
    for number in (2, 3):
        steady.run(number)
    life.run(2)
    life.change(name="till", formerly=("pos",))
    assert accepted.gone(life.shop.config, life.shop.lake) == {}
    assert len(list(interrupted(life, 3, monkeypatch))) >= 4
    ingested, _ = life.run(3)
    assert (ingested.holes, ingested.rows, ingested.duplicates) == ((), 30, 0)
    assert life.ids() == life.ids(source="till") == steady.ids()
    assert life.ids("landing_events") == life.ids("landing_events", "till")
    assert {one.source for one in life.stores.slices.recorded(life.shop.config.ref)} == {"till"}
    set_aside = life.stores.checks.set_aside(life.shop.config.ref, "till")
    assert [one.row["event_id"] for one in set_aside] == ["large"]
    life.write(["new,2024-01-15,u1,1,1,2024-01-15"])
    life.run(2)
    assert life.ids() == sorted(
        [*(str(number) for number in range(28 * 3, 28 * 4)), "twice", "new"]
    )


def test_a_rename_that_is_declared_afterwards_counts_nothing_twice(
    new: Callable[..., Life],
) -> None:
    """Rows of both names are one source's, each id once."""
    life, steady = new(), new()
    for number in (1, 2, 3, 4):
        steady.run(number)
    life.run(1)
    life.run(2)
    life.change(name="till")
    life.run(3)
    life.change(formerly=("pos",))
    life.run(4)
    assert life.ids("landing_events") == steady.ids("landing_events")
    assert life.ids() == steady.ids()


def test_taking_over_twice_says_it_once(
    new: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is left by the former name, nothing is written."""
    life = new()
    life.run(1)
    life.change(name="till", formerly=("pos",))
    life.run(2)
    versions = life.shop.lake.version(life.shop.config.ref, "landing_events")
    monkeypatch.setattr(type(life.stores.slices), "rename", None)
    ref, slices = life.shop.config.ref, life.stores.slices
    renaming.take_over(life.shop.lake, slices, ref, "landing_events", "pos", "till")
    assert life.shop.lake.version(ref, "landing_events") == versions


def test_a_pause_is_told_in_the_log(
    new: Callable[..., Life], caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each interval of the hole, at a level that is shown."""
    life = new()
    life.run(1)
    with caplog.at_level("WARNING", logger=stage.__name__):
        life.run(3)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert sum("was never loaded, and is now" in message for message in said) == 1
