"""`corrections: apply`: a changed row is a version of its event, whatever is loaded when."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ingestion import repeats, stage
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.stores.memory.slices import InMemorySlices
from include.tenants.config import Source
from tests.interruptions import Ended, end_after_write
from tests.shops import HISTORY_START, Shop, Shops, grant

#: Days of arrival, amounts and ids: few, so that a correction of a correction is common.
LOG = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 27), st.integers(1, 2)),
    max_size=12,
    unique_by=lambda row: row[:2],
)
ORDERS = st.permutations([0, 1, 2, 3])
Log = Sequence[tuple[str, int, int]]


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops have files only."""
    raise AssertionError(connection_id)


def shop_of(folder: Path, log: Log, corrections: str = "apply") -> Shop:
    """A shop that reads a change log, in the order in which it was written."""
    lines = [
        f"{name},2024-01-01,u,1,{amount},{HISTORY_START + timedelta(days=day, hours=1):%FT%T}"
        for name, day, amount in sorted(log, key=lambda row: row[1])
    ]
    shops = Shops(folder, in_memory().slices, no_database)
    content = "\n".join(["id,at,user,quantity,amount,arrived", *lines, ""])
    shop = shops.text(content, arrival={"column": "arrived"})
    applied = shop.config.sources[0].model_copy(update={"corrections": corrections})
    shop.config = shop.config.model_copy(update={"sources": (applied,)})
    return shop


def states(shop: Shop) -> list[dict[str, float]]:
    """Amounts by id, as known at the end of each day."""
    found = []
    for day in range(28):
        known = HISTORY_START + timedelta(days=day + 1)
        rows = shop.lake.read(shop.config.ref, "landing_events", known_at=known).to_pylist()
        assert len({row["event_id"] for row in rows}) == len(rows)
        found.append({row["event_id"]: row["amount"] for row in rows})
    return found


def expected(log: Log) -> list[dict[str, float]]:
    """The same of the log itself."""
    ordered = sorted(log, key=lambda row: row[1])
    return [{name: float(n) for name, at, n in ordered if at <= day} for day in range(28)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that tenants may read."""
    grant(monkeypatch, roots=[str(tmp_path)])
    return tmp_path


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LOG, ORDERS, st.integers(0, 3), st.sampled_from([100_000, 1]))
def test_every_instant_sees_what_the_log_says(
    folder: Path, log: Log, order: Sequence[int], again: int, few: int
) -> None:
    """Weeks loaded in any order, and one of them again: of each event an instant sees one version,
    the last that the log has by then, and the table is the one that weeks in order make."""
    ends = []
    for weeks in (range(4), [*order, order[again]]):
        shop = shop_of(folder, log)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage.SliceSpool.__init__, "__defaults__", (few, "platform"))
            for week in weeks:
                shop.ingest(week)
        assert states(shop) == expected(log)
        ends.append(
            [(row["event_id"], row["amount"], row["created_timestamp"]) for row in shop.events()]
        )
        assert shop.quarantined() == []
    assert ends[0] == ends[1]


def test_what_says_nothing_new_is_no_version(folder: Path) -> None:
    """A row touched again and again is one version, and its repeats are counted; a correction back
    to what an event was is a version."""
    log = [("a", 1, 1), ("a", 2, 1), ("a", 8, 1), ("a", 9, 2), ("a", 15, 1), ("a", 22, 1)]
    shop = shop_of(folder, log)
    done = [shop.ingest(week) for week in range(4)]
    assert [(one.rows, one.duplicates) for one in done] == [(1, 1), (1, 1), (1, 0), (0, 1)]
    assert [row["amount"] for row in shop.events()] == [1.0, 2.0, 1.0]
    assert shop.ingest(1).events == done[-1].events


def test_of_one_instant_the_first_row_counts(folder: Path) -> None:
    """Nothing tells which of two rows with equal arrivals is the correction: the other is set
    aside, and the reason names what both have in common."""
    shop = shop_of(folder, [("a", 1, 1)])
    path = Path(shop.config.sources[0].connector.place)
    path.write_text(path.read_text() + path.read_text().splitlines()[1].replace(",1,1,", ",1,2,"))
    done = shop.ingest(0)
    assert (done.rows, done.duplicates, done.quarantined) == (1, 0, 1)
    ((row, reason),) = shop.quarantined()
    assert row["amount"] == "2.0"
    assert reason == (
        "id: this event id was read before, with other values at the same arrived; the first row "
        "stays"
    )


@pytest.mark.parametrize("declared", [1, 2])
def test_a_renamed_source_has_the_versions_of_its_former_name(folder: Path, declared: int) -> None:
    """Whether the file says at once or later what the source was called: its log is one."""
    log = [("a", 1, 1), ("b", 2, 1), ("b", 8, 2), ("c", 9, 1), ("b", 15, 1), ("c", 15, 2)]
    shop = shop_of(folder, log)
    shop.ingest(0)
    for week in (1, 2):
        changes = {"name": "till"} | ({"formerly": ("pos",)} if week >= declared else {})
        renamed = shop.config.sources[0].model_copy(update=changes)
        shop.config = shop.config.model_copy(update={"sources": (renamed,)})
        shop.ingest(week)
    assert {row["source"] for row in shop.events()} == {"till"}
    assert states(shop)[:21] == expected(log)[:21]
    assert shop.quarantined() == []


@pytest.mark.parametrize("first", ["refuse", "apply"])
def test_a_file_may_change_its_mind(folder: Path, first: str) -> None:
    """What was applied or refused before stays so until its own interval is read again."""
    log = [("a", 1, 1), ("a", 8, 2), ("a", 15, 3)]
    shop = shop_of(folder, log, corrections=first)
    for week in (0, 1):
        shop.ingest(week)
    second = {"refuse": "apply", "apply": "refuse"}[first]
    changed = shop.config.sources[0].model_copy(update={"corrections": second})
    shop.config = shop.config.model_copy(update={"sources": (changed,)})
    for week in (2, 0):
        shop.ingest(week)
    amounts = {"refuse": [1.0, 3.0], "apply": [1.0, 2.0]}[first]
    assert [row["amount"] for row in shop.events()] == amounts
    shop.ingest(1)
    assert [row["amount"] for row in shop.events()] == {
        "refuse": [1.0, 2.0, 3.0],
        "apply": [1.0],
    }[first]


@pytest.mark.parametrize("write", range(1, 5))
def test_a_load_out_of_order_that_ends_after_any_write_ends_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """A version that turns out to say nothing new goes whenever the load is run again."""
    log = [("a", 1, 1), ("a", 8, 2), ("a", 15, 2), ("b", 8, 1), ("b", 15, 1), ("b", 22, 3)]
    calm, hit = shop_of(folder, log), shop_of(folder, log)
    for week in (0, 3, 2, 1):
        calm.ingest(week)
        writes = ((Lake, "replace_slice"), (repeats, "_recount"), (InMemorySlices, "record"))
        with monkeypatch.context() as patch, suppress(Ended):
            end_after_write(patch, write, *writes)
            hit.ingest(week)
        hit.ingest(week)
    assert [row["amount"] for row in hit.events()] == [row["amount"] for row in calm.events()]
    assert hit.slices() == calm.slices()
    assert states(hit) == expected(log)


def test_a_correction_needs_to_be_known_since_when(folder: Path) -> None:
    """Facts and rows with a fixed delay cannot be corrected, and the error says what would help."""
    told = shop_of(folder, []).config.sources[0].model_dump(mode="json", by_alias=True)
    assert Source.model_validate(told | {"corrections": "apply"}).known_from == "arrived"
    delayed = told | {"events": told["events"] | {"arrival": {"delay": "PT2H"}}}
    with pytest.raises(ValueError, match=r"give the connector's `cursor`, or `arrival: \{column"):
        Source.model_validate(delayed | {"corrections": "apply"})
    facts = {"entity": "user", "entity_id": "user", "names": {"a": "b"}, "valid_from": "at"}
    with pytest.raises(ValueError, match="a changed fact is a new fact anyway"):
        Source.model_validate(told | {"events": None, "attributes": facts, "corrections": "apply"})
