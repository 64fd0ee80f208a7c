"""The lake: a slice is replaced whole, by its own rows only, and not at all when unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.errors import ConfigError, IntegrityError
from include.handoffs import Interval, StoredObject
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

A = TenantRef("tenant-a", "eu", "pool")
B = TenantRef("tenant-b", "eu", "pool")
START = datetime(2024, 1, 1, tzinfo=UTC)
TABLE = "landing_attributes"


def days(first: int, end: int) -> Interval:
    """From day `first` to day `end` of the year."""
    return Interval(START + timedelta(first), START + timedelta(end))


def facts(*at: int, tenant: TenantRef = A, source: str = "pos", value: str = "x") -> pa.Table:
    """One row for each day given."""
    created = [START + timedelta(day) for day in at]
    rows = [
        {
            "tenant_id": tenant.id,
            "source": source,
            "event_id": f"day-{day}",
            "entity": "item",
            "entity_id": str(day),
            "name": "category",
            "value": value,
            "valid_from": START,
            "created_timestamp": instant,
            "month": f"{instant:%Y-%m}",
        }
        for day, instant in zip(at, created, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=ATTRIBUTES)


def put(lake: Lake, interval: Interval, rows: pa.Table, source: str = "pos") -> int:
    """Replace a slice of tenant A; the version afterwards."""
    return lake.replace_slice(A, TABLE, source, interval, rows.to_batches()).version


def there(lake: Lake, tenant: TenantRef = A) -> list[tuple[str, str, str]]:
    """Source, id and value of every row, in order."""
    found = lake.read(tenant, TABLE, columns=["source", "event_id", "value"]).to_pylist()
    return [(row["source"], row["event_id"], row["value"]) for row in found]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


def test_a_slice_replaces_itself_and_nothing_else(lake: Lake) -> None:
    """Rows of other intervals and other sources stay."""
    put(lake, days(0, 7), facts(1, 6))
    put(lake, days(7, 40), facts(7, 39))
    put(lake, days(0, 7), facts(2, source="web"), source="web")
    put(lake, days(0, 7), facts(3))
    expected = [("web", "day-2"), ("pos", "day-3"), ("pos", "day-7"), ("pos", "day-39")]
    assert [row[:2] for row in there(lake)] == expected


def test_the_same_rows_in_another_order_make_no_version(lake: Lake) -> None:
    """A rerun is recognised by its rows, not by how they are batched."""
    version = put(lake, days(0, 7), facts(1, 2, 3))
    rows = pa.concat_tables([facts(3), facts(1), facts(2)])
    assert put(lake, days(0, 7), rows) == version
    assert put(lake, days(0, 7), facts(1, 2, 3, value="y")) > version


def test_an_emptied_slice_is_empty(lake: Lake) -> None:
    """No rows are also a content, and a second time no change."""
    put(lake, days(0, 7), facts(1))
    version = put(lake, days(0, 7), facts())
    assert there(lake) == []
    assert put(lake, days(0, 7), facts()) == version


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations([(0, 7), (7, 31), (31, 45), (45, 60)]))
def test_the_order_of_slices_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[tuple[int, int]]
) -> None:
    """Whatever is written first, the table holds the same rows."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    for first, end in order:
        put(lake, days(first, end), facts(first, end - 1))
    expected = [f"day-{day}" for day in (0, 6, 7, 30, 31, 44, 45, 59)]
    assert [row[1] for row in there(lake)] == expected


@pytest.mark.parametrize(
    "rows",
    [facts(7), facts(-1), facts(1, tenant=B), facts(1, source="web")],
    ids=["after the interval", "before it", "another tenant's", "another source's"],
)
def test_rows_that_are_not_the_slices_are_refused(lake: Lake, rows: pa.Table) -> None:
    """Nothing is written where one row would escape the next replacement."""
    put(lake, days(0, 7), facts(2))
    with pytest.raises(IntegrityError):
        put(lake, days(0, 7), pa.concat_tables([facts(1), rows]))
    assert there(lake) == [("pos", "day-2", "x")]


@pytest.mark.parametrize("source", ["x' OR '1'='1", "../x", "", "A"])
def test_a_source_is_a_name_before_it_is_sql(lake: Lake, source: str) -> None:
    """What is no name is refused before it gets into a predicate."""
    put(lake, days(0, 7), facts(2))
    with pytest.raises((ConfigError, IntegrityError)):
        put(lake, days(0, 7), facts(1, source=source), source=source)
    assert there(lake) == [("pos", "day-2", "x")]


def test_a_version_stays_readable(lake: Lake) -> None:
    """A model can name the exact rows it was trained on."""
    version = put(lake, days(0, 7), facts(1))
    put(lake, days(0, 7), facts(2))
    old = lake.read(A, TABLE, version=version, columns=["event_id"])
    assert old["event_id"].to_pylist() == ["day-1"]


def test_what_became_known_later_is_not_read(lake: Lake) -> None:
    """`known_at` includes its own instant and nothing after it."""
    put(lake, days(0, 7), facts(1, 2, 3))
    known = lake.read(A, TABLE, columns=["event_id"], known_at=START + timedelta(2))
    assert known["event_id"].to_pylist() == ["day-1", "day-2"]


def test_tables_of_tenants_do_not_meet(lake: Lake) -> None:
    """One tenant's slice is not in another's table, and a table that is missing is empty."""
    put(lake, days(0, 7), facts(1))
    assert there(lake, B) == []
    assert lake.version(B, TABLE).version == -1
    with pytest.raises(ConfigError, match="unknown lake table"):
        lake.version(A, "../tenant-b/events")


@pytest.mark.parametrize("path", ["../tenant-b/x", "/etc/passwd", "a/../../tenant-b/x"])
def test_a_file_never_leaves_its_tenants_folder(lake: Lake, path: str) -> None:
    """Traversal is refused for writing and for reading."""
    with pytest.raises(IntegrityError, match="leads out"):
        lake.put(A, path, b"x")
    with pytest.raises(IntegrityError):
        lake.get(A, StoredObject(A.id, path, "", 0))


def test_a_file_is_what_was_written_or_an_error(lake: Lake) -> None:
    """Bytes that changed, vanished or belong to somebody else are never returned."""
    stored = lake.put(A, "models/x.bin", b"weights")
    assert lake.get(A, stored) == b"weights"
    with pytest.raises(IntegrityError, match="belongs to"):
        lake.get(B, stored)
    lake.file_path(A, stored.path).write_bytes(b"Weights")
    with pytest.raises(IntegrityError, match="not what was recorded"):
        lake.get(A, stored)
    lake.file_path(A, stored.path).unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        lake.get(A, stored)
