"""When a source's rows happened and when they became known, as series that volume is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from include.handoffs import Interval
from include.quality.expectation import DAY, Bools, Cells, Floats, Series
from include.quality.feasts import feasts
from include.quality.landing import Landing
from include.quality.volume import Delivered
from include.tenants.config import TenantConfig

#: A year to compare with, and what its expectation takes.
REACH: Final = 460 * DAY
MOST_CELLS: Final = 2_500  #: of shorter cells less of the past is read, which bounds the memory
HOUR: Final = timedelta(hours=1)
#: What comes later than this after it happened was loaded by hand, and says nothing about delays.
LATEST: Final = 35
ALIKE: Final = 8  #: cells that the usual delay is the median of
ENOUGH: Final = 0.5  #: share of a cell that must be known, as a rule, before it is judged

_COUNTS: Final = """
    SELECT cell, least(greatest((created - (cell + 1) * ?::BIGINT + ?::BIGINT) // ?::BIGINT, 0), ?)
           AS delay, count(*)
    FROM (SELECT (epoch_us(event_timestamp) - ?) // ?::BIGINT AS cell,
                 epoch_us(created_timestamp) - ? AS created
          FROM {rows} WHERE event_timestamp >= ? AND event_timestamp < ?)
    GROUP BY ALL
"""
#: Of what was corrected, the first version: no row came with a later one.
_FIRST_VERSIONS: Final = """
    (SELECT arg_min(event_timestamp, created_timestamp) AS event_timestamp,
            min(created_timestamp) AS created_timestamp
     FROM landed GROUP BY event_id)
"""


def cell_length(interval: Interval) -> timedelta:
    """A quarter of a day, or as many hours, of those that divide it, as the interval has."""
    length = interval.end - interval.start
    return next((hours * HOUR for hours in (6, 4, 3, 2) if hours * HOUR <= length), HOUR)


def series_of(
    tenant: TenantConfig,
    source: str,
    interval: Interval,
    delivered: Sequence[Delivered],
    landing: Landing,
) -> Series:
    """The source's rows per cell of event time, up to all that was delivered by now.

    Cells end where the interval does. It ends with the newest slice and not with the interval, so
    that an interval that is run again knows what came since, and a gap that was filled is none.
    """
    step = cell_length(interval)
    newest = max([interval.end, *(one.interval.end for one in delivered)])
    end = interval.end + (newest - interval.end) // step * step
    oldest = min([interval.start, *(one.interval.start for one in delivered)])
    size = max(1, -(-(end - max(oldest, end - min(REACH, MOST_CELLS * step))) // step))
    start = end - size * step
    counts = _counts(source, start, end, step, landing)
    total = counts.sum(axis=1)
    known = _known(counts, step)
    # A cell was asked for where that holds of the time in which its rows arrive.
    delay = int(np.argmax(known[::-1] >= ENOUGH))
    asked = _covered(start, step, size, delivered, interval)
    open_ = known >= ENOUGH
    for later in range(min(delay, size) + 1):
        open_[: size - later] &= asked[later:]
    open_ &= ~_at_rest(tenant, start, step, size)
    return Series(start, step, total, open_, np.where(known > 0, known, 1.0))


def _counts(
    source: str, start: datetime, end: datetime, step: timedelta, landing: Landing
) -> Cells:
    """Rows by cell, and by the cells after its end until they were known. Shape (cells, delays)."""
    size, delays = (end - start) // step, LATEST * (DAY // step)
    origin, length = round(start.timestamp() * 1e6), step // timedelta(microseconds=1)
    known = (ds.field("created_timestamp") >= pa.scalar(start)) & (
        ds.field("created_timestamp") < pa.scalar(end)
    )
    month = ds.field("month")
    known &= (month >= f"{start:%Y-%m}") & (month <= f"{end:%Y-%m}")
    rows = landing.events.filter((ds.field("source") == source) & known)
    found = np.zeros((size, delays + 2), dtype=np.int64)
    asked = [length, length - 1, length, delays + 1, origin, length, origin, start, end]
    query = _COUNTS.format(rows=_FIRST_VERSIONS if source in landing.versioned else "landed")
    for cell, delay, count in landing.query(query, rows, *asked):
        found[int(str(cell)), int(str(delay))] += int(str(count))
    return found


def _known(counts: Cells, step: timedelta) -> Floats:
    """Share of each cell that is known by now, as a rule: by equally old ones of the same weekday.

    The median of the newest of them, so that a load by hand or an outage does not count.
    """
    size, week = len(counts), 7 * DAY // step
    known = np.ones(size)
    prompt = counts[:, :-1]  # the last column was loaded by hand
    if not prompt[:, 1:].any():
        return known
    whole = prompt.sum(axis=1)
    share = np.cumsum(prompt, axis=1) / np.maximum(whole, 1)[:, None]
    for age in range(min(size, prompt.shape[1])):
        older = np.arange(size - 1 - age - week, -1, -1)
        older = older[whole[older] > 0]
        alike = older[(size - 1 - age - older) % week == 0][:ALIKE]
        chosen = alike if len(alike) >= ALIKE // 2 else older[:ALIKE]
        if len(chosen):
            known[size - 1 - age] = np.median(share[chosen, age])
    return known


def _covered(
    start: datetime,
    step: timedelta,
    size: int,
    delivered: Sequence[Delivered],
    interval: Interval,
) -> Bools:
    """Cells that somebody asked the source for: no other gap is the source's."""
    covered = np.zeros(size, dtype=bool)
    slices = sorted((one.start, one.end) for one in (interval, *(d.interval for d in delivered)))
    begins = reached = slices[0][0]
    for first, last in slices:
        begins = begins if first <= reached else first
        reached = max(reached, last) if first <= reached else last
        whole = max(0, -((start - begins) // step)), max(0, (reached - start) // step)
        covered[slice(*whole)] = True
    return covered


def _at_rest(tenant: TenantConfig, start: datetime, step: timedelta, size: int) -> Bools:
    """Cells most of which lie on a feast, or on days that the tenant announced to be closed."""
    zone = ZoneInfo(tenant.timezone)

    def resting(day: date) -> bool:
        announced = any(one.from_ <= day <= one.until for one in tenant.closures)
        return announced or day in feasts(day.year)

    middles = ((start + (cell + 0.5) * step).astimezone(zone).date() for cell in range(size))
    return np.fromiter(map(resting, middles), dtype=bool, count=size)
