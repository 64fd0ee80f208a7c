"""Volume against a source's own past, and the incident of a tenant that stopped sending.

Pure decisions: what was delivered before and the incidents on record come in, the expectation and
the incident to record come out. Intervals of an outage never count as past, so that a source that
stays silent is measured by what it once delivered, for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Final

from include.handoffs import Interval

WINDOW: Final = 8  #: intervals that the median is taken over
MINIMUM_PAST: Final = 4  #: with fewer, nothing is expected
#: Below this, an empty interval can be chance (for ten rows a Poisson chance of 1 in 20,000).
MINIMUM_EXPECTED: Final = 10.0


@dataclass(frozen=True)
class Delivered:
    """What ingestion recorded of one source and slice."""

    interval: Interval
    rows: int


@dataclass(frozen=True)
class Volume:
    """One source in the interval that is checked."""

    rows: int
    expected: float | None  #: None where the past is too short

    @property
    def ratio(self) -> float | None:
        """Rows per expected row."""
        return self.rows / self.expected if self.expected else None

    @property
    def judged(self) -> float | None:
        """The ratio where so much was expected that a collapse cannot be chance."""
        enough = self.expected is not None and self.expected >= MINIMUM_EXPECTED
        return self.ratio if enough else None


@dataclass(frozen=True)
class Outage:
    """One source within an incident."""

    start: datetime
    rows: int
    expected: float
    recovered_at: datetime | None = None


@dataclass(frozen=True)
class Incident:
    """Data loss from the first interval without data to the one in which all sources are back."""

    as_of: datetime
    summary: str
    outages: Mapping[str, Outage]
    closed_at: datetime | None = None


def expected_rows(
    source: str,
    interval: Interval,
    rows: int,
    delivered: Sequence[Delivered],
    incidents: Sequence[Incident],
) -> float | None:
    """Median rows of the last `WINDOW` intervals before this one, at this interval's length.

    A long slice, such as the first load, counts as so many intervals of its average.

    Args:
        rows: what the interval itself holds; taken off a slice that contains it.
    """
    length = interval.end - interval.start
    samples: list[float] = []
    cursor = interval.start
    newest_first = sorted(delivered, key=lambda d: (d.interval.end, d.interval.start), reverse=True)
    for slice_ in newest_first:
        start, end = slice_.interval.start, min(slice_.interval.end, cursor)
        if end <= start or _in_outage(source, start, incidents):
            continue
        contains_this = slice_.interval.end > interval.start
        whole = min(slice_.interval.end, interval.start) - start
        average = max(0, slice_.rows - (rows if contains_this else 0)) * (length / whole)
        times = min(round((end - start) / length), WINDOW - len(samples))
        samples += [average] * times
        cursor = start
    return median(samples) if len(samples) >= MINIMUM_PAST else None


def decide_incident(
    interval: Interval,
    volumes: Mapping[str, Volume],
    lost: Sequence[str],
    incidents: Sequence[Incident],
) -> Incident | None:
    """The incident to record after this interval, new or changed; None when there is none.

    Deciding again for the same interval gives the same incident. One incident spans an outage:
    it opens with the first interval that lost data and closes with the one in which every source
    is back.

    Args:
        lost: sources whose volume collapsed in the interval.
    """
    own = next((i for i in incidents if i.as_of == interval.end), None)
    ongoing = own or next(
        (
            i
            for i in sorted(incidents, key=lambda i: i.as_of, reverse=True)
            if i.as_of <= interval.start and (i.closed_at is None or i.closed_at >= interval.end)
        ),
        None,
    )
    fresh = {
        source: Outage(interval.start, volumes[source].rows, volumes[source].expected or 0.0)
        for source in lost
    }
    if ongoing is None:
        return Incident(interval.end, _summary(interval, fresh), fresh) if fresh else None
    outages = {
        source: _settled(outage, interval, source in lost, volumes.get(source))
        for source, outage in ongoing.outages.items()
    }
    outages |= {source: outage for source, outage in fresh.items() if source not in outages}
    ends = [outage.recovered_at for outage in outages.values()]
    closed_at = None if None in ends else max(end for end in ends if end is not None)
    return replace(ongoing, outages=outages, closed_at=closed_at or ongoing.closed_at)


def _settled(outage: Outage, interval: Interval, lost: bool, volume: Volume | None) -> Outage:
    """The outage after an interval: a source is back when it delivers or is no longer declared."""
    end = outage.recovered_at
    if lost:
        again = end is not None and end <= interval.start
        return replace(outage, recovered_at=None) if again else outage
    back = volume is None or volume.ratio is not None
    if not back or (end is not None and end <= interval.end):
        return outage
    return replace(outage, recovered_at=interval.end)


def _in_outage(source: str, instant: datetime, incidents: Sequence[Incident]) -> bool:
    for incident in incidents:
        outage = incident.outages.get(source)
        if outage is None:
            continue
        end = outage.recovered_at or incident.closed_at or datetime.max.replace(tzinfo=UTC)
        if outage.start <= instant < end:
            return True
    return False


def _summary(interval: Interval, outages: Mapping[str, Outage]) -> str:
    sources = "; ".join(
        f"source {name} delivered {outage.rows:,} rows where about {outage.expected:,.0f} "
        "were expected"
        for name, outage in sorted(outages.items())
    )
    return (
        f"Data loss between {interval.start:%Y-%m-%d %H:%M} and {interval.end:%Y-%m-%d %H:%M} "
        f"UTC: {sources}, by its own past. Ask the tenant whether sending stopped; models are not "
        "retrained until data is back."
    )
