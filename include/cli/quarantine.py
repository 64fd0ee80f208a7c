"""`tenantry quarantine`: which rows of a tenant were set aside, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.cli.shared import Json, TenantId, console, print_json, readable, stores
from include.errors import UnknownNameError
from include.runtime.tables import print_table

if TYPE_CHECKING:
    from include.stores import Stores
    from include.tenants.config import TenantConfig


@dataclass(frozen=True)
class _Kept:
    """One row that was set aside, as it is stored: what was masked stays masked."""

    source: str
    stage: str
    number: int  #: position in what the stage read
    reason: str
    row: Any
    only_counted: int = 0  #: rows of a slice that it stands for, and that were not kept


def quarantine(
    tenant: TenantId,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Show so many of the rows, too.")] = 0,
    as_json: Json = False,
) -> None:
    """The rows that were set aside, counted by reason, the most frequent first; with --limit, the
    first of the rows themselves."""
    config = readable(tenant)
    rows = list(_kept(config, stores(), source))
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counts[row.source, row.stage, row.reason] += row.only_counted or 1
    reasons = [
        {"source": name, "stage": stage, "rows": count, "reason": reason}
        for (name, stage, reason), count in counts.most_common()
    ]
    shown = [_shown(row) for row in rows if not row.only_counted][:limit]
    if as_json:
        print_json({"reasons": reasons, "rows": shown})
        return
    print_table(console, reasons, title=f"Rows of {tenant} that were set aside")
    if shown:
        print_table(console, shown, title=f"The first {len(shown):,} of them")


def _shown(row: _Kept) -> dict[str, Any]:
    names = ("source", "stage", "number", "reason", "row")
    return {name: getattr(row, name) for name in names}


def _kept(config: TenantConfig, rows: Stores, source: str | None) -> Iterator[_Kept]:
    """By source and stage; those of sources that the tenant's file names no more, too.

    Raises:
        UnknownNameError: there never was such a source.
    """
    from include.ingestion.slices import NOT_KEPT

    names = {one.name for one in config.sources}
    names |= {one.source for one in rows.slices.recorded(config.ref)}
    if source is not None and source not in names:
        raise UnknownNameError("source", source, sorted(names), f"tenant {config.id}")
    for name in sorted(names) if source is None else [source]:
        for one in rows.slices.set_aside(config.ref, name):
            content = json.loads(one.row)
            if one.number == NOT_KEPT:
                more = "more of a slice than are kept; only counted"
                yield _Kept(name, "ingestion", one.number, more, content, content["not_kept"])
            else:
                yield _Kept(name, "ingestion", one.number, one.reason, content)
        for failed in rows.checks.set_aside(config.ref, name):
            yield _Kept(name, "quality", failed.row_number, failed.reason, dict(failed.row))
