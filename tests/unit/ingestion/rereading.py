"""A source read by a tenant that passes over known blocks, and by a twin that parses all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from include.errors import TenantryError
from include.handoffs import Ingested
from include.ingestion import lines, stage, text_files, zone_store
from include.ingestion.zone_maps import ZoneMap
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef
from tests.shops import Shop

HEADER = "id,at,user,quantity,amount,arrived\n"
ARRIVAL = {"arrival": {"column": "arrived"}}


def csv_rows(rows: list[dict[str, str]]) -> bytes:
    """Lines of a CSV file, quoted where a value has a line end in it."""
    names = HEADER.strip().split(",")
    return "".join(
        ",".join(f'"{row[n]}"' if "\n" in row[n] else row[n] for n in names) + "\n" for row in rows
    ).encode()


def json_rows(rows: list[dict[str, str]]) -> bytes:
    """Lines of a file of JSON."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass
class Parsed:
    """What was parsed, beyond what was passed over."""

    rows: int = 0  #: mapped to the canonical shape
    bytes: int = 0  #: taken apart into records

    def clear(self) -> None:
        """Begin to count anew."""
        self.rows = self.bytes = 0


@dataclass
class Rereader:
    """A tenant whose files are changed, and its twin that reads all of them every time."""

    remembering: Shop
    whole: Shop
    parsed: Parsed
    patch: pytest.MonkeyPatch

    def ingest(self, number: int) -> Ingested | str:
        """Both read a week; what they leave is the same. Returns what the first came to."""
        self.parsed.clear()
        done = outcome(self.remembering, number)
        parsed = replace(self.parsed)
        with self.patch.context() as patch:
            patch.setattr(zone_store, "kept", _nothing)
            expected = outcome(self.whole, number)
        assert done == expected
        assert everything(self.remembering) == everything(self.whole)
        if isinstance(done, Ingested):
            assert self.zones() == zone_store.kept(self.whole.lake, self.whole.config.ref, "pos")
        self.parsed.rows, self.parsed.bytes = parsed.rows, parsed.bytes
        return done

    def zones(self) -> ZoneMap:
        """What is kept of the source's files."""
        return zone_store.kept(self.remembering.lake, self.remembering.config.ref, "pos")


def _nothing(lake: Lake, tenant: TenantRef, source: str) -> ZoneMap:
    lake.file_path(tenant, f"zone_maps/{source}.json").unlink(missing_ok=True)
    return {}


def outcome(shop: Shop, number: int) -> Ingested | str:
    """What reading a week comes to: a handoff, or a message."""
    try:
        return shop.ingest(number)
    except TenantryError as error:
        return f"{type(error).__name__}: {error}"


def everything(shop: Shop) -> Mapping[str, Any]:
    """All that ingestion leaves."""
    ref = shop.config.ref
    tables = {
        name: sorted(map(repr, shop.lake.dataset(ref, name).to_table().to_pylist()))
        for name in ("landing_events", "landing_attributes")
    }
    return tables | {
        "slices": shop.store.recorded(ref),
        "set aside": [shop.store.set_aside(ref, one.name) for one in shop.config.sources],
    }


@contextmanager
def rereading(
    folder: Path, make: Callable[[], Shop], block_bytes: int = lines._BLOCK_BYTES
) -> Iterator[Rereader]:
    """Both tenants, over what one of them is fed by.

    Args:
        folder: for their lakes.
        make: the first one.
        block_bytes: how large a block is.
    """
    parsed = Parsed()
    blocks, map_rows = text_files.blocks, stage.map_rows

    def counted_blocks(*arguments: Any) -> Iterator[lines.Block]:
        for block in partial(blocks, block_bytes=block_bytes)(*arguments):
            parsed.bytes += 0 if block.passed else len(block.source) - (block.left or 0)
            yield block

    def counted_rows(rows: Any, *others: Any) -> Any:
        parsed.rows += len(rows)
        return map_rows(rows, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "blocks", counted_blocks)
        patch.setattr(stage, "map_rows", counted_rows)
        shop = replace(make(), lake=Lake(folder / "lake"), store=in_memory().slices)
        twin = replace(shop, lake=Lake(folder / "other"), store=in_memory().slices)
        yield Rereader(shop, twin, parsed, patch)
