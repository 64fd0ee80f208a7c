"""All rows of a source in a lake table: put under another name, or taken out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.storage.slices import Spool
from include.tenants.namespace import TenantRef

A = TenantRef("tenant-a", "eu", "pool")
START = datetime(2024, 1, 1, tzinfo=UTC)
YEAR = Interval(START, START + timedelta(366))
TABLE = "attributes"


def put(lake: Lake, source: str, *days: int) -> None:
    """A fact for each of these days; its value is the source that sent it."""
    rows = [
        {
            "tenant_id": A.id,
            "source": source,
            "event_id": f"day-{day}",
            "entity": "item",
            "entity_id": str(day),
            "name": "category",
            "value": source,
            "valid_from": START,
            "created_timestamp": START + timedelta(day),
            "month": f"{START + timedelta(day):%Y-%m}",
        }
        for day in days
    ]
    table = pa.Table.from_pylist(rows, schema=ATTRIBUTES)
    lake.replace_slice(A, TABLE, source, YEAR, table.to_batches())


def there(lake: Lake, version: int | None = None) -> list[tuple[str, str, str]]:
    """Source, id and sender of every row, in order."""
    rows = lake.dataset(A, TABLE, version).to_table().to_pylist()
    return sorted((row["source"], row["event_id"], row["value"]) for row in rows)


@pytest.mark.parametrize("few", [100, 0])
def test_a_renamed_source_has_all_rows_each_id_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Of an id that both have its own row stays; few rows in memory and many come out the same."""
    monkeypatch.setattr(Spool.__init__, "__defaults__", (few, "platform"))
    lake = Lake(tmp_path)
    put(lake, "pos", 1, 40, 80)
    put(lake, "till", 40, 90)
    put(lake, "web", 1)
    before = lake.version(A, TABLE).version
    assert lake.rename_source(A, TABLE, "pos", "till") == 3
    assert there(lake) == [
        ("till", "day-1", "pos"),
        ("till", "day-40", "till"),
        ("till", "day-80", "pos"),
        ("till", "day-90", "till"),
        ("web", "day-1", "web"),
    ]
    assert lake.version(A, TABLE).version == before + 1
    assert lake.sources(A, TABLE) == {"till": 4, "web": 1}


def test_a_name_without_rows_makes_no_version(tmp_path: Path) -> None:
    """Neither the second time, nor where there is no table."""
    lake = Lake(tmp_path)
    assert lake.rename_source(A, TABLE, "pos", "till") == 0
    assert lake.keep_sources(A, TABLE, []) == {}
    assert lake.sources(A, TABLE) == {}
    put(lake, "pos", 1)
    lake.rename_source(A, TABLE, "pos", "till")
    before = lake.version(A, TABLE)
    assert lake.rename_source(A, TABLE, "pos", "till") == 0
    assert lake.keep_sources(A, TABLE, ["till", "web"]) == {}
    assert lake.version(A, TABLE) == before


def test_sources_that_are_not_kept_are_in_older_versions_only(tmp_path: Path) -> None:
    """What a model was trained on can still be read."""
    lake = Lake(tmp_path)
    put(lake, "pos", 1, 40)
    put(lake, "web", 2)
    before, rows = lake.version(A, TABLE).version, there(lake)
    assert lake.keep_sources(A, TABLE, {"web"}) == {"pos": 2}
    assert there(lake) == [("web", "day-2", "web")]
    assert lake.sources(A, TABLE) == {"web": 1}
    assert there(lake, before) == rows


def test_a_name_that_is_no_name_reaches_no_query(tmp_path: Path) -> None:
    """Delta's SQL is written with names that need no quoting."""
    lake = Lake(tmp_path)
    put(lake, "pos", 1)
    for names in (("pos", "x' OR '1'='1"), ("x' OR '1'='1", "pos")):
        with pytest.raises(ConfigError, match="must match"):
            lake.rename_source(A, TABLE, *names)
    assert there(lake) == [("pos", "day-1", "pos")]
