"""Blocks of text that are known to have no row of an interval are not parsed again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.handoffs import Interval
from include.ingestion import lines, stage, zone_store
from include.ingestion.zone_maps import Zone, of_json, to_json
from include.storage.places import lake_place
from include.stores.memory import in_memory
from include.tenants.config import TenantConfig
from tests.shops import Shop, Shops, grant, week
from tests.unit.ingestion.rereading import (
    ARRIVAL,
    HEADER,
    Rereader,
    csv_rows,
    everything,
    json_rows,
    rereading,
)
from tests.unit.ingestion.sources import no_database

BLOCK = 400
Writer = Callable[[list[dict[str, str]]], bytes]
FORMATS: list[tuple[str, bytes, Writer]] = [
    ("csv", HEADER.encode(), csv_rows),
    ("jsonl", b"", json_rows),
]


def sales(number: int, count: int = 40, **changes: str) -> list[dict[str, str]]:
    """Rows that happened and arrived in a week."""
    day = f"{week(number).start:%Y-%m-%d}"
    values = {"at": day, "user": "u", "quantity": "1", "amount": "5", "arrived": day} | changes
    return [{"id": f"{number}-{at}", **values} for at in range(count)]


@pytest.fixture
def reread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rereader]]:
    """The maker of a tenant that is read twice over, fed by what a pattern stands for."""
    grant(monkeypatch, roots=[str(tmp_path)])
    shops = Shops(tmp_path, in_memory().slices, no_database)
    with ExitStack() as opened:

        def make(pattern: str, kind: str = "csv", **changes: Any) -> Rereader:
            def shop() -> Shop:
                return shops.file(tmp_path / pattern, kind, **(ARRIVAL | changes))

            return opened.enter_context(rereading(tmp_path, shop, BLOCK))

        yield make


@pytest.mark.parametrize(("kind", "head", "rows"), FORMATS)
def test_what_was_appended_is_parsed_and_no_more(
    reread: Callable[..., Rereader],
    tmp_path: Path,
    kind: str,
    head: bytes,
    rows: Writer,
) -> None:
    """Of a file that grew, the bytes that were added are parsed, and the block they begin in."""
    path = tmp_path / f"sales.{kind}"
    content = head + rows(sales(0, 120)) + rows(sales(1))
    path.write_bytes(content)
    tenant = reread(path.name, kind)
    assert tenant.ingest(1).rows == 120 + 40
    for number in (2, 3):
        added = rows(sales(number))
        path.write_bytes(content := content + added)
        assert tenant.ingest(number).rows == 40
        assert len(added) <= tenant.parsed.bytes <= len(added) + 2 * BLOCK < len(content) / 2
        assert 40 <= tenant.parsed.rows <= 40 + 2 * BLOCK / 30


@pytest.mark.parametrize(("kind", "head", "rows"), FORMATS)
def test_a_first_load_is_parsed_once(
    reread: Callable[..., Rereader], tmp_path: Path, kind: str, head: bytes, rows: Writer
) -> None:
    """The slices of one run after its first pass over what has none of their rows."""
    content = head + rows(sales(0)) + rows(sales(5))
    (tmp_path / f"sales.{kind}").write_bytes(content)
    tenant = reread(f"sales.{kind}", kind)
    tenant.ingest(2)
    assert tenant.parsed.bytes <= len(content) + 2 * BLOCK


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_stay_are_not_parsed_again(
    reread: Callable[..., Rereader], tmp_path: Path, packed: bool
) -> None:
    """Of many files only a new one is parsed, whatever the others are called now."""
    tenant = reread("*.csv")

    def write(name: str, number: int) -> None:
        content = HEADER.encode() + csv_rows(sales(number))
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)

    write("b.csv", 0)
    write("c.csv", 1)
    tenant.ingest(1)
    (tmp_path / "c.csv").rename(tmp_path / "d.csv")
    write("a.csv", 2)
    tenant.ingest(2)
    assert tenant.parsed.rows == 40
    (tmp_path / "a.csv").unlink()
    tenant.ingest(3)
    assert tenant.parsed.rows == 0


def test_a_file_without_a_line_end_is_parsed_at_its_end_only(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """The last row of a file, where no line end stands behind it, is parsed every time."""
    (tmp_path / "sales.csv").write_bytes((HEADER.encode() + csv_rows(sales(0))).rstrip(b"\n"))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    tenant.ingest(2)
    assert tenant.parsed.rows == 1


def test_a_block_with_rows_of_the_interval_is_parsed(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """A rerun reads the rows of its interval again, on the borders too, and no others."""
    (tmp_path / "sales.csv").write_bytes(
        HEADER.encode() + csv_rows([row for number in range(4) for row in sales(number)])
    )
    tenant = reread("sales.csv")
    for number in (1, 2, 3, 2, 1, 3):
        tenant.ingest(number)
    assert 40 <= tenant.parsed.rows < 60


def test_a_row_that_is_set_aside_keeps_its_block_from_being_passed_over(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """A row that cannot be taken in is set aside for the week it arrived in, wherever it stands."""
    bad = sales(0, 1, amount="odd", arrived="2024-01-17")
    content = csv_rows(sales(0)) + csv_rows(bad) + csv_rows(sales(0, 9, quantity="2"))
    (tmp_path / "sales.csv").write_bytes(HEADER.encode() + content)
    tenant = reread("sales.csv")
    assert tenant.ingest(1).quarantined == 9  # of the ids that were there
    assert tenant.ingest(2).quarantined == 1
    assert tenant.ingest(3).quarantined == 0
    assert tenant.parsed.rows == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"0-20,2024-01-01,u", b"0-20,2024-01-01,v"),
        lambda content: content.replace(b"5,2024-01-01\n0-21", b"5,2024-01-17\n0-21"),
        lambda content: content[: len(content) // 2],
        lambda content: content[: len(content) // 2] + b"\n" + content[len(content) // 2 :],
        lambda content: HEADER.encode() + csv_rows(sales(2)),
        lambda content: HEADER.encode(),
        lambda content: content.replace(HEADER.encode(), b"id,at,arrived,quantity,amount,user\n"),
        lambda content: content.replace(b"\n0-0,", b"\n\n0-0,"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.decode().encode("utf-16"),
    ],
    ids=["a value", "late", "cut", "split", "replaced", "emptied", "header", "blank", "mark", "16"],
)
def test_a_changed_file_is_read_as_it_is_now(
    reread: Callable[..., Rereader], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    """Whatever changes in a file, size and time of writing or not, weeks are read as it is now."""
    path = tmp_path / "sales.csv"
    content = HEADER.encode() + csv_rows(sales(0)) + csv_rows(sales(1))
    path.write_bytes(content)
    tenant = reread("sales.csv")
    tenant.ingest(1)
    assert change(content) != content
    path.write_bytes(change(content))
    for number in (2, 1, 2):
        tenant.ingest(number)


def test_rows_after_a_header_with_an_empty_name_are_read_by_the_first_of_them(
    reread: Callable[..., Rereader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first row says how many fields there are, it says so for blocks that stay, too; and
    a line that is none says nothing."""
    monkeypatch.setattr(lines, "LONGEST_RECORD", 60)
    path, head = tmp_path / "sales.csv", HEADER.replace("\n", ",\n").encode()
    path.write_bytes(head + csv_rows(sales(0)))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    first, rest = csv_rows(sales(0)).split(b"\n", 1)
    path.write_bytes(head + first[:-1] + b",\n" + rest)  # as long as it was
    tenant.ingest(2)
    assert tenant.zones()
    path.write_bytes(content := head + first + b" " * 60 + b",\n" + rest)
    tenant.ingest(2)
    path.write_bytes(content + csv_rows(sales(3)))
    assert tenant.ingest(3).rows == 40


@pytest.mark.parametrize(("kind", "head", "rows"), FORMATS)
def test_undated_rows_do_not_keep_their_block_from_being_passed_over(
    reread: Callable[..., Rereader], tmp_path: Path, kind: str, head: bytes, rows: Writer
) -> None:
    """Rows without an arrival count for the interval that met them first, and are parsed for it."""
    path = tmp_path / f"sales.{kind}"
    content = head + rows(sales(0)) + rows(sales(1, 3, arrived="soon")) + b"no row\n"
    path.write_bytes(content)
    tenant = reread(path.name, kind)
    assert tenant.ingest(1).quarantined == 4
    path.write_bytes(content := content + rows(sales(2)))
    assert tenant.ingest(2).quarantined == 0
    assert tenant.parsed.rows < 60
    path.write_bytes(content := content + rows(sales(3, 3, arrived="")) + rows(sales(3)))
    assert tenant.ingest(3).quarantined == 3
    for number in (3, 1, 2):
        tenant.ingest(number)
    assert len(tenant.remembering.quarantined()) == 7


def test_a_message_names_what_a_whole_reading_finds(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """Where no file has a property any more, the error lists the keys that there are."""
    tenant = reread("*.jsonl", "jsonl", properties={"note": "note"})
    more = [{**row, "shelf": "7"} for row in sales(0)]
    (tmp_path / "a.jsonl").write_bytes(json_rows([{**row, "note": "x"} for row in sales(1)]))
    (tmp_path / "b.jsonl").write_bytes(json_rows(more))
    assert tenant.ingest(1).rows == 80
    (tmp_path / "a.jsonl").unlink()
    message = tenant.ingest(2)
    assert isinstance(message, str)
    assert "no column 'note'" in message
    assert "shelf" in message


@pytest.mark.parametrize("other", [{"id": "xx", "quantity": "2"}, {"shelf": "7"}, {}])
def test_a_file_of_json_that_lacks_a_column_is_refused_as_ever(
    reread: Callable[..., Rereader], tmp_path: Path, other: dict[str, str]
) -> None:
    """What `where` leaves out may lack what has to be in each file, until a file has no other."""
    tenant = reread("*.jsonl", "jsonl", where={"quantity": "1"})
    path = tmp_path / "a.jsonl"
    others = json_rows([other]) * (3 * BLOCK // len(json_rows([other])))
    assert len(others) % BLOCK == 0  # so that no block has others than these
    path.write_bytes(others + json_rows(sales(0)))
    assert tenant.ingest(1).rows == 40
    path.write_bytes(others)
    assert ("no column" in str(tenant.ingest(2))) == bool(other)


def test_where_rows_are_left_out_they_count_as_they_did(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """Blocks that hold no row that `where` means are passed over, and rows keep their numbers."""
    (tmp_path / "sales.csv").write_bytes(
        HEADER.encode()
        + csv_rows(sales(0, quantity="2"))
        + csv_rows(sales(2, quantity="1"))
        + csv_rows(sales(2, 3, amount="odd", quantity="1"))
    )
    tenant = reread("sales.csv", where={"quantity": "1"})
    tenant.ingest(1)
    tenant.ingest(2)
    (row,) = {row.number for row in tenant.remembering.store.set_aside(_ref(tenant), "pos")} & {80}
    assert row == 80
    assert tenant.parsed.bytes < 0.7 * (tmp_path / "sales.csv").stat().st_size


def _ref(tenant: Rereader) -> Any:
    return tenant.remembering.config.ref


def test_more_rows_than_are_allowed_are_refused_as_ever(
    reread: Callable[..., Rereader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are passed over count against the operator's limit."""
    grant(monkeypatch, roots=[str(tmp_path)], limits={"rows": 90})
    path = tmp_path / "sales.csv"
    path.write_bytes(HEADER.encode() + csv_rows(sales(0)) + csv_rows(sales(1)))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    with path.open("ab") as file:
        file.write(csv_rows(sales(2)))
    assert "more rows" in str(tenant.ingest(2))


def test_another_reading_knows_nothing(reread: Callable[..., Rereader], tmp_path: Path) -> None:
    """A tenant's file that says something else has its files read whole, once."""
    (tmp_path / "sales.csv").write_bytes(HEADER.encode() + csv_rows(sales(0)))
    tenant = reread("sales.csv", **ARRIVAL, timezone="UTC")
    tenant.ingest(1)
    source = tenant.remembering.config.sources[0]
    mapping = source.events.model_copy(update={"timezone": "Pacific/Kiritimati"})
    source = source.model_copy(update={"events": mapping})
    for shop in (tenant.remembering, tenant.whole):
        shop.config = shop.config.model_copy(update={"sources": (source,)})
    for number, parsed in ((2, 40), (3, 0)):
        tenant.ingest(number)
        assert tenant.parsed.rows == parsed


def test_what_decides_how_bytes_are_read_is_part_of_what_a_block_is_known_by(
    reread: Callable[..., Rereader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tenant's file, the source, the platform's secret, its code and the rules of time zones
    make other digests."""
    shop = reread("sales.csv").remembering
    tenant, (source,) = shop.config, shop.config.sources
    other = TenantConfig.model_validate(tenant.model_dump() | {"history_from": "2023-01-01"})
    digests = [
        zone_store.reading_of(tenant, source, None),
        zone_store.reading_of(other, source, None),
        zone_store.reading_of(tenant, source.model_copy(update={"name": "till"}), None),
        zone_store.reading_of(tenant, source, "a secret"),
    ]
    monkeypatch.setattr(zone_store, "_SURROUNDINGS", ("another release",))
    digests.append(zone_store.reading_of(tenant, source, None))
    assert len(set(digests)) == 5


def test_time_zones_without_a_version_are_known_by_their_age(tmp_path: Path) -> None:
    """A system's zones are told apart by what they call themselves, else by when they came."""
    assert zone_store._rules(str(tmp_path / "none")) == ""
    assert zone_store._rules(str(tmp_path)) == str(tmp_path.stat().st_mtime_ns)
    (tmp_path / "tzdata.zi").write_text("# version 2025b\nR d 1916\n")
    assert zone_store._rules(str(tmp_path)) == "# version 2025b\n"


def test_who_is_killed_before_keeping_reads_the_same_again(
    reread: Callable[..., Rereader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the slice and what is kept of its files, nothing depends on the latter."""
    path = tmp_path / "sales.csv"
    path.write_bytes(HEADER.encode() + csv_rows(sales(0)))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    with path.open("ab") as file:
        file.write(csv_rows(sales(2)))

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zone_store, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            tenant.remembering.ingest(2)
    tenant.ingest(2)
    tenant.ingest(3)


def test_runs_at_once_leave_what_they_leave_one_after_the_other(
    reread: Callable[..., Rereader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run within another one, of another week and a longer file, disturbs neither."""
    path = tmp_path / "sales.csv"
    rows = [csv_rows(sales(number)) for number in range(4)]
    path.write_bytes(HEADER.encode() + rows[0] + rows[1] + csv_rows(sales(9, 2, arrived="soon")))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    with path.open("ab") as file:
        file.write(rows[2] + rows[3])
    read, shop, within = stage.read_source, tenant.remembering, [3]

    def reading(*arguments: Any) -> Iterator[Any]:
        for part in read(*arguments):
            while within:
                shop.ingest(within.pop())
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(stage, "read_source", reading)
        shop.ingest(2)
    with monkeypatch.context() as patch:
        patch.setattr(zone_store, "kept", lambda *arguments: {})
        for number in (3, 2):
            tenant.whole.ingest(number)
    told, expected = everything(shop), everything(tenant.whole)
    assert told["landing_events"] == expected["landing_events"]
    tenant.ingest(2)
    tenant.ingest(3)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": 1}', b'{"a": [1, 2]}', b"\xff"])
def test_what_is_damaged_is_nothing(
    reread: Callable[..., Rereader], tmp_path: Path, damage: bytes
) -> None:
    """A file of the lake that is no zone map is read as an empty one, and replaced."""
    (tmp_path / "sales.csv").write_bytes(HEADER.encode() + csv_rows(sales(0)))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    kept = tenant.zones()
    tenant.remembering.lake.put(_ref(tenant), "zone_maps/pos.json", damage)
    assert of_json(damage) == {}
    tenant.ingest(2)
    assert tenant.zones() == kept


def test_no_value_of_a_row_is_kept(reread: Callable[..., Rereader], tmp_path: Path) -> None:
    """What is kept of files are digests, counts, reasons and instants; and it has its place."""
    rows = sales(0, user="ann@birch.example", amount="4711") + sales(0, 1, arrived="2024-0x-secret")
    (tmp_path / "sales.csv").write_bytes(HEADER.encode() + csv_rows(rows))
    tenant = reread("sales.csv")
    tenant.ingest(1)
    home = tenant.remembering.lake.file_path(_ref(tenant), "")
    (path,) = (home / "zone_maps").iterdir()
    told = path.read_text()
    assert json.loads(told)
    for value in ("birch", "4711", "secret", "0-1", "sales.csv"):
        assert value not in told
    assert lake_place(path.relative_to(home).as_posix()) is not None


def test_what_the_files_hold_no_more_is_not_kept(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """Blocks that were not met are forgotten with the reading that missed them."""
    for name, number in (("a.csv", 0), ("b.csv", 1)):
        (tmp_path / name).write_bytes(HEADER.encode() + csv_rows(sales(number)))
    tenant = reread("*.csv")
    tenant.ingest(1)
    both = tenant.zones()
    (tmp_path / "a.csv").unlink()
    tenant.ingest(2)
    assert 0 < len(tenant.zones()) < len(both)


def test_facts_of_a_day_are_read_for_their_interval_alone(
    reread: Callable[..., Rereader], tmp_path: Path
) -> None:
    """A source whose rows all arrive at once is not opened for other weeks, nor forgotten then."""
    (tmp_path / "sales.csv").write_bytes(HEADER.encode() + csv_rows(sales(0)))
    facts = {"entity": "item", "entity_id": "id", "names": {"owner": "user"}}
    dated = {**facts, "valid_from": "2024-01-09"}
    tenant = reread("sales.csv", attributes=dated)
    ref = _ref(tenant)
    tenant.ingest(1)
    kept = zone_store.kept(tenant.remembering.lake, ref, "facts")
    for number in (2, 1):
        tenant.ingest(number)
        assert zone_store.kept(tenant.remembering.lake, ref, "facts") == kept != {}


def test_a_zone_meets_the_intervals_between_its_ends() -> None:
    """An interval's start belongs to it and its end does not; without an instant none is met."""
    first, last = datetime(2024, 1, 8, tzinfo=UTC), datetime(2024, 1, 14, 23, tzinfo=UTC)
    zone = Zone(0, 5, 5, first, last, {"why": 1}, (0, 2))
    assert [zone.meets(week(number)) for number in (0, 1, 2)] == [False, True, False]
    assert zone.meets(Interval(last, datetime(2024, 2, 1, tzinfo=UTC)))
    assert not Zone(0, 5, 0, None, None, {}).meets(week(0))
    assert of_json(to_json({"a": zone})) == {"a": zone}
    assert (zone.left_out.count, zone.left_out.rows) == (4, 5)
