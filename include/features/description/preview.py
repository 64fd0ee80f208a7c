"""A view for one tenant before anyone commits it: a sample, its distribution and its cost."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.features import inputs
from include.features.declarations import Kind
from include.features.spine import AS_OF, Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import TIMESTAMP
from include.storage.lake import Lake
from include.storage.versions import counting
from include.tenants.config import TenantConfig
from include.wall_clock import local, local_day

#: Entities with any event this recently are the active ones, as in the use cases that ship.
ACTIVE_WINDOW: Final = timedelta(days=60)
_BINS: Final = 12
_TOP_VALUES: Final = 5


@dataclass(frozen=True)
class Distribution:
    """One feature over the spine. The numbers' part is None for texts, `top` empty for numbers."""

    feature: str
    kind: Kind
    nulls: float  #: share of the rows
    distinct: int  #: different values, null apart
    quartiles: tuple[float, ...] | None  #: least, quarter, half, three quarters, greatest value
    histogram: tuple[int, ...] | None  #: rows in equal steps from the least to the greatest value
    top: tuple[tuple[str, int], ...] = ()  #: the most frequent texts and their rows


@dataclass(frozen=True)
class Cost:
    """What it took."""

    events: int  #: read
    attributes: int
    spine_rows: int
    read_seconds: float
    compute_seconds: float
    peak_bytes: int  #: of the whole process, ever


@dataclass(frozen=True)
class Preview:
    """A view at one instant."""

    view: str
    fingerprint: str
    tenant: str
    as_of: datetime
    sample: tuple[dict[str, Any], ...]
    distributions: tuple[Distribution, ...]
    cost: Cost


def preview(
    tenant: TenantConfig,
    view: FeatureView,
    as_of: datetime,
    *,
    lake: Lake,
    rows: int,
) -> Preview:
    """Compute the view for the entities of the tenant that are active at `as_of`.

    Args:
        rows: size of the sample, which is spread evenly over the entities in their order.

    Raises:
        ConfigError: no entity is active at `as_of`.
    """
    started = time.perf_counter()
    service = FeatureService("preview", (view,))
    read = inputs.read(
        tenant,
        service,
        events=lake.version(tenant.ref, "events"),
        attributes=lake.version(tenant.ref, "attributes"),
        known_at=as_of,
        lake=lake,
        also=(*view.entity.join_keys, "event_timestamp"),
    )
    read_at = time.perf_counter()
    spine = active(view, read.events, as_of, tenant.id, tenant.timezone)
    table = read.compute(service, spine)
    finished_at = time.perf_counter()
    return Preview(
        view.name,
        view.fingerprint,
        tenant.id,
        as_of,
        sample(table, rows),
        tuple(distribution(name, kind, table[name]) for name, kind in view.columns.items()),
        Cost(
            events=read.events.num_rows,
            attributes=read.attributes.num_rows,
            spine_rows=table.num_rows,
            read_seconds=read_at - started,
            compute_seconds=finished_at - read_at,
            peak_bytes=_peak_bytes(),
        ),
    )


def active(
    view: FeatureView, events: pa.Table, as_of: datetime, tenant: str, timezone: str
) -> Spine:
    """The view's entities with an event in the `ACTIVE_WINDOW` before `as_of`, sorted.

    Raises:
        ConfigError: there is none; the message says from when to when the tenant has events.
    """
    instants, keys = events["event_timestamp"], list(view.entity.join_keys)
    since = pa.scalar(as_of - ACTIVE_WINDOW, TIMESTAMP)
    recent = pc.and_(pc.greater_equal(instants, since), pc.less(instants, pa.scalar(as_of)))
    recent_events = events.filter(pc.and_(recent, counting(events, as_of)))
    for key in keys:
        recent_events = recent_events.filter(pc.is_valid(recent_events[key]))
    if not recent_events.num_rows:
        raise ConfigError(
            f"tenant {tenant}: no {view.entity.name} has an event in the {ACTIVE_WINDOW.days} days "
            f"before {local(as_of, timezone)}; {_reach(instants, timezone)}. Name another instant "
            "(--as-of)"
        )
    if not keys:
        return Spine.at({}, as_of)
    entities = recent_events.select(keys).group_by(keys).aggregate([])
    entities = entities.sort_by([(key, "ascending") for key in keys])
    instant = pa.array([as_of] * entities.num_rows, TIMESTAMP)
    return Spine(entities.append_column(AS_OF, instant))


def sample(table: pa.Table, rows: int) -> tuple[dict[str, Any], ...]:
    """At most that many rows, spread evenly over the table."""
    last, count = max(table.num_rows - 1, 0), min(rows, table.num_rows)
    return tuple(table.take(pa.array(np.linspace(0, last, count).astype(np.int64))).to_pylist())


def distribution(feature: str, kind: Kind, values: pa.ChunkedArray) -> Distribution:
    """How the values of one feature spread; nothing overflows, whatever they are."""
    there = values.drop_null()
    nulls = values.null_count / len(values) if len(values) else 0.0
    distinct = pc.count_distinct(there).as_py()
    if kind == "text":
        counts = [(str(v["values"]), int(v["counts"])) for v in pc.value_counts(there).to_pylist()]
        top = sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:_TOP_VALUES]
        return Distribution(feature, kind, nulls, distinct, None, None, tuple(top))
    if not len(there):
        return Distribution(feature, kind, nulls, distinct, None, None)
    numbers = np.sort(there.to_numpy().astype(np.float64))
    ranks = np.linspace(0, len(numbers) - 1, 5).round().astype(np.int64)
    return Distribution(
        feature, kind, nulls, distinct, tuple(numbers[ranks].tolist()), _histogram(numbers)
    )


def _histogram(ordered: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[int, ...]:
    low, high = ordered[0], ordered[-1]
    if low == high:
        return (len(ordered),)
    with np.errstate(over="ignore"):
        scale = 1.0 if np.isfinite(high - low) else 0.5
    place = (ordered * scale - low * scale) / (high * scale - low * scale)
    bins = np.minimum((place * _BINS).astype(np.int64), _BINS - 1)
    return tuple(np.bincount(bins, minlength=_BINS).tolist())


def _reach(instants: pa.ChunkedArray, timezone: str) -> str:
    ends = pc.min_max(instants).as_py()
    if ends["min"] is None:
        return "its lake has no event known by then; run its pipeline first"
    first, last = (local_day(ends[which], timezone) for which in ("min", "max"))
    return f"what it knew by then runs from {first} to {last}"


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
