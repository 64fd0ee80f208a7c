"""A look into a source: what would become of the rows it begins with. Nothing is written.

Every row that is looked at would be taken in, set aside with a reason, or is outside: no run ever
reads it, as it arrived before the history begins, after the contract ends, or later than now.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError
from include.handoffs import INSTANTS, Interval
from include.ingestion.grants import Grants, grants_of
from include.ingestion.mapping import Mapped, map_rows
from include.ingestion.opening import Connect
from include.ingestion.personal import hiding
from include.ingestion.reading import count_outside, leaves_out, read_source
from include.ingestion.rows import BlockEnd, LeftOut, Refused, Rows, Unread
from include.ingestion.sample import Repeats, Sample
from include.storage.canonical import SCHEMAS, TIMESTAMP
from include.tenants.config import Source, TenantConfig
from include.tenants.intervals import last_interval, next_end

#: Rows that are looked at, and as many again as long as hardly any of them is not outside.
ROWS: Final = 10_000
MOST_ROWS: Final = 100 * ROWS
_ENOUGH: Final = ROWS // 10

BEFORE: Final = "before history_from"
AFTER: Final = "after until"
LATER: Final = "later than now"


@dataclass(frozen=True)
class Trial:
    """What became of the first rows of a source."""

    source: str
    complete: bool  #: whether these are all the rows of the source
    rows: int  #: looked at, or counted as outside by the source itself
    good: int  #: would be taken in
    set_aside: Mapping[str, int]  #: reason → rows
    outside: Mapping[str, int]  #: `BEFORE`, `AFTER` or `LATER` → rows
    #: Event, or name of a fact → how many; of events only what looks like a name.
    kinds: Mapping[str, int]
    nameless: int  #: how many events have a name that looks like none
    first: datetime | None  #: when the earliest of these happened, or became valid
    last: datetime | None
    repeats: Repeats
    #: What use cases ask of the rows that would be taken in; not for people, as names of events
    #: may be whatever stands in a column.
    sample: Sample = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """What people and programs are shown: counts, and names that are no values."""
        shown = (one.name for one in fields(self) if one.name not in ("sample", "repeats"))
        return {name: getattr(self, name) for name in shown} | {"repeats": asdict(self.repeats)}

    @property
    def eligible(self) -> int:
        """Rows that a run would read as its own."""
        return self.good + sum(self.set_aside.values())


@dataclass(frozen=True)
class _Bounds:
    """When rows have to arrive for any run, by now, to take them in."""

    start: datetime
    until: datetime | None  #: the end of the last interval of the contract
    now: datetime

    @property
    def interval(self) -> Interval | None:
        """From the history's start to the first of the ends; None where that is no time."""
        end = min(self.now, self.until or self.now)
        return Interval(self.start, end) if self.start < end else None

    def places(self, created: pa.Array) -> dict[str, pa.Array]:
        """For each way to be outside, which of the instants are that; those that are null never."""
        before = pc.less(created, _scalar(self.start))
        later = pc.greater_equal(created, _scalar(self.now))
        if self.until is None:
            after = pc.and_(before, False)
        else:
            after = pc.and_(pc.greater_equal(created, _scalar(self.until)), pc.invert(before))
        later = pc.and_(later, pc.invert(pc.or_(before, after)))
        masks = {BEFORE: before, AFTER: after, LATER: later}
        return {name: pc.fill_null(mask, False) for name, mask in masks.items()}


def _scalar(instant: datetime) -> pa.Scalar:
    return pa.scalar(instant.astimezone(UTC), TIMESTAMP)


@dataclass
class _Tally:
    """What is known of the rows so far."""

    bounds: _Bounds
    seen: int = 0
    good: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    taken: list[pa.Table] = field(default_factory=list)

    def add_unread(self, part: Unread) -> None:
        self.seen += len(part)
        self.reasons.update(part.reasons)

    def add(self, mapped: Mapped, rows: int) -> None:
        self.seen += rows
        accepted, refused = mapped.accepted, mapped.refused
        created = pa.array(accepted["created_timestamp"].combine_chunks(), TIMESTAMP)
        inside = self._count_outside(created, mapped.per_row)
        self.taken.append(accepted.filter(inside))
        self.good += len(self.taken[-1]) // mapped.per_row
        own: Refused = refused.filter(self._count_outside(refused.created, 1))
        self.reasons.update(_counts(own.reasons))

    def _count_outside(self, created: pa.Array, per_row: int) -> pa.Array:
        """Which of the rows are not outside; those that are, are counted."""
        inside = pa.repeat(True, len(created))
        for name, mask in self.bounds.places(created).items():
            if count := pc.sum(mask).as_py() or 0:
                self.outside[name] += count // per_row
                inside = pc.and_not(inside, mask)
        return inside

    @property
    def enough(self) -> bool:
        """Whether another block of rows need not be looked at."""
        return self.seen >= MOST_ROWS or self.good + self.reasons.total() >= _ENOUGH


def look_into(tenant: TenantConfig, source: Source, *, forbidden: Path, connect: Connect) -> Trial:
    """Read and map the rows that a source begins with.

    Args:
        forbidden: a folder that no source may read from: the lake.

    Raises:
        IsolationError: the source names what the tenant may not read.
        SourceError: the source cannot be reached or lacks a column.
    """
    grants = grants_of(tenant.id, forbidden)
    bounds = _Bounds(tenant.history_start, _last_end(tenant), datetime.now(UTC))
    interval = bounds.interval if leaves_out(source) else None
    hide = hiding(tenant, source, secrets.token_hex())  # nothing is kept: any key will do
    tally, complete = _Tally(bounds), False
    for part in _blocks(
        read_source(source, interval or Interval(*INSTANTS), grants, connect, hide)
    ):
        if part is None:
            if tally.enough:
                break
        elif isinstance(part, Unread):
            tally.add_unread(part)
        else:
            mapped = map_rows(part, tenant, source)
            tally.add(mapped, len(part))
    else:
        complete = True
    if interval is not None:
        try:
            tally.outside.update(_left_out(source, bounds, interval, grants, connect))
        except SourceError:  # a table too large to be counted in time: it is not all of it
            complete = False
    schema = SCHEMAS["landing_events" if source.events else "landing_attributes"]
    sample = Sample(pa.concat_tables([schema.empty_table(), *tally.taken]))
    named, nameless = sample.named_kinds()
    first, last = sample.ends()
    return Trial(
        source=source.name,
        complete=complete,
        rows=tally.good + tally.reasons.total() + tally.outside.total(),
        good=tally.good,
        set_aside=dict(tally.reasons.most_common()),
        outside={
            name: tally.outside[name] for name in (BEFORE, AFTER, LATER) if tally.outside[name]
        },
        kinds=named,
        nameless=nameless,
        first=first,
        last=last,
        repeats=sample.repeats(),
        sample=sample,
    )


def _last_end(tenant: TenantConfig) -> datetime | None:
    """When the last interval is over that begins within the contract."""
    until = tenant.history_until
    if until is None:
        return None
    end = last_interval(tenant, until).end
    return end if end >= until else next_end(tenant, end)


def _blocks(
    parts: Iterator[Rows | Unread | LeftOut | BlockEnd],
) -> Iterator[Rows | Unread | None]:
    """The parts, cut so that they come to blocks of `ROWS`, with None between two of these."""
    seen = 0
    for part in parts:
        if isinstance(part, LeftOut | BlockEnd):  # nothing, as every instant is asked for
            continue
        rest = part
        while len(rest):
            if seen and not seen % ROWS:
                yield None
            piece = rest.first(ROWS - seen % ROWS)
            rest = rest.after(len(piece))
            seen += len(piece)
            yield piece


def _left_out(
    source: Source, bounds: _Bounds, interval: Interval, grants: Grants, connect: Connect
) -> dict[str, int]:
    """Rows that the source itself leaves out of what is read, by how they are outside."""

    def counted(start: datetime, end: datetime) -> int:
        return count_outside(source, Interval(start, end), grants, connect)

    first, last = INSTANTS
    before = counted(interval.start, last)
    behind = counted(first, interval.end)
    if bounds.until is None or bounds.until > bounds.now:
        until = counted(first, bounds.until) if bounds.until else 0
        return {BEFORE: before, AFTER: until, LATER: behind - until}
    return {BEFORE: before, AFTER: behind}


def _counts(column: Any) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
