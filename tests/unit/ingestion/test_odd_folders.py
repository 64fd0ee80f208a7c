"""Folders whose names hold signs that mean something elsewhere: patterns, quotes, escapes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from include.errors import ConfigError
from include.handoffs import Interval
from include.ingestion.corrections import CorrectionRule
from include.ingestion.grants import grants_of
from include.ingestion.places import opened_files
from include.ingestion.spool import SliceSpool
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

ODD = (
    *("a[1]", "a*b", "a?b", "a{b,c}", "[!x]", "a'b", 'a"b', "a b", "a%20b", "a#b", "Größe", "~a"),
    *("a\nb", "a$HOME", "a;b", "a&b=c", "a+b", "a]b"),
)
#: With these, Delta's library breaks off or keeps its tables elsewhere: said before it does.
NOT_FOR_DELTA = ("a[1]", "[!x]", "a%20b", "a\nb", "a]b")
JANUARY = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))


def facts(count: int) -> pa.Table:
    """Facts of as many items."""
    row = {
        "tenant_id": "shop",
        "source": "pos",
        "entity": "item",
        "name": "category",
        "value": "x",
        "valid_from": JANUARY.start,
        "created_timestamp": JANUARY.start,
        "month": "2024-01",
    }
    rows = [row | {"event_id": f"{n}", "entity_id": f"{n}"} for n in range(count)]
    return pa.Table.from_pylist(rows, ATTRIBUTES)


@pytest.mark.parametrize("name", ODD)
def test_rows_are_spooled_and_kept_whatever_the_folder_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through DuckDB's files and Delta's: each row once, none of a folder that looks alike."""
    # a neighbour that a pattern would match, with rows of its own
    for folder in dict.fromkeys((name, "a1", "ab", "axb", "b")):
        monkeypatch.setenv("TENANTRY_SPOOL", str(tmp_path / folder / "spool"))
        with SliceSpool(ATTRIBUTES, few=0) as spool:
            spool.add(facts(3))
            spool.add(facts(5))
            before, none = ds.dataset(facts(1)), ds.dataset(ATTRIBUTES.empty_table())
            sifted = spool.sifted(before, none, CorrectionRule())
            kept = pa.Table.from_batches(sifted.kept.batches(), ATTRIBUTES)
        assert sorted(kept["event_id"].to_pylist()) == ["1", "2", "3", "4"]
        monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / folder / "lake"))
        if folder in NOT_FOR_DELTA:
            with pytest.raises(ConfigError, match="TENANTRY_LAKE: no Delta table can be kept in"):
                Lake.from_environment()
            continue
        lake, shop = Lake.from_environment(), TenantRef("shop", "eu", "pool")
        lake.replace_slice(shop, "landing_attributes", "pos", JANUARY, kept.to_batches())
        again = lake.dataset(shop, "landing_attributes").to_table()
        assert sorted(again["event_id"].to_pylist()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", ODD)
def test_a_source_is_read_whatever_it_and_its_folder_are_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is taken by its own name first; a glob is one in the source's path alone."""
    home = tmp_path / name
    monkeypatch.setenv("TENANTRY_HOME", str(home))
    folder = home / "sources" / "shop" / name
    folder.mkdir(parents=True)
    (folder / f"{name}.csv").write_text("id\n1\n")
    (folder / "a1.csv").write_text("id\n2\n")
    grants = grants_of("shop")
    one = [
        file.read() for _, file in opened_files(f"sources/shop/{name}/{name}.csv", "csv", grants)
    ]
    assert one == [b"id\n1\n"]
    both = [file.read() for _, file in opened_files(f"sources/shop/{name}/*.csv", "csv", grants)]
    assert sorted(both) == [b"id\n1\n", b"id\n2\n"]
