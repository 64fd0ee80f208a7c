"""A look into a source: how the rows it begins with would be mapped. Nothing is written."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc

from include.handoffs import Interval
from include.ingestion.grants import grants_of
from include.ingestion.mapping import map_rows
from include.ingestion.opening import Connect
from include.ingestion.personal import hiding
from include.ingestion.reading import read_source
from include.ingestion.rows import Unread
from include.tenants.config import Source, TenantConfig

#: Rows that are looked at.
ROWS: Final = 10_000


@dataclass(frozen=True)
class Trial:
    """What became of the first rows of a source."""

    source: str
    rows: int  #: looked at
    set_aside: Mapping[str, int]  #: reason → rows
    kinds: Mapping[str, int]  #: event, or name of a fact → how many
    first: datetime | None  #: when the earliest of these happened, or became valid
    last: datetime | None

    @property
    def good(self) -> int:
        """Rows that would be taken in."""
        return self.rows - sum(self.set_aside.values())


def look_into(tenant: TenantConfig, source: Source, *, forbidden: Path, connect: Connect) -> Trial:
    """Read and map the rows that a source begins with.

    Args:
        forbidden: a folder that no source may read from: the lake.

    Raises:
        IsolationError: the source names what the tenant may not read.
        SourceError: the source cannot be reached or lacks a column.
    """
    grants = grants_of(tenant.id, forbidden)
    now = datetime.now(UTC)
    interval = Interval(min(tenant.history_start, now), now)
    hide = hiding(tenant, source, secrets.token_hex())  # nothing is kept: any key will do
    seen = 0
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    instants: list[Any] = []
    name, instant = ("event", "event_timestamp") if source.events else ("name", "valid_from")
    for part in read_source(source, interval, grants, connect):
        part = part.first(ROWS - seen)
        seen += len(part)
        if isinstance(part, Unread):
            reasons.update(part.reasons)
        else:
            mapped = map_rows(replace(part, table=hide(part.table)), tenant, source)
            reasons.update(_counts(mapped.refused.reasons))
            kinds.update(_counts(mapped.accepted[name]))
            instants += pc.min_max(mapped.accepted[instant]).values()
        if seen == ROWS:
            break
    known = [one.as_py() for one in instants if one.is_valid]
    return Trial(
        source.name,
        seen,
        dict(reasons.most_common()),
        dict(kinds.most_common()),
        min(known, default=None),
        max(known, default=None),
    )


def _counts(column: Any) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
