"""The incident of a source that stopped sending, or sends only part of its rows: opened and closed.

Pure decisions: which days are lost by now (see `losses`) and the incidents on record come in, the
incidents to record come out. Every run finds the lost days afresh, so that days that are sent
again, or announced as closed, are found to be back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from include.handoffs import Interval
from include.quality.losses import Loss, kind_of
from include.wall_clock import PLATFORM, local


@dataclass(frozen=True)
class Delivered:
    """What ingestion recorded of one source and slice."""

    interval: Interval
    rows: int
    along_with: Interval | None = None  #: the interval of the run, where that is another one
    read: int = 0  #: rows of the source that were read for it
    taken: int = 0  #: those that were taken in
    set_aside: int = 0  #: those that ingestion set aside
    outside: int = 0  #: those that other slices have, or none ever will


@dataclass(frozen=True)
class Volume:
    """One source: what it brought in the interval that is checked, and all that it lost."""

    rows: int
    expected: float | None  #: None where the past is too short
    losses: tuple[Loss, ...]
    #: Between which instants losses were looked for.
    since: datetime
    until: datetime

    @property
    def ratio(self) -> float | None:
        """Rows per expected row."""
        return self.rows / self.expected if self.expected else None

    def lost_days(self, interval: Interval) -> float | None:
        """Days of the interval that are lost; None where there is no past to compare with."""
        if self.expected is None and not self.losses:
            return None
        parts = (
            (max(one.start, interval.start), min(one.end, interval.end)) for one in self.losses
        )
        return sum((end - start).total_seconds() for start, end in parts if start < end) / 86_400


@dataclass(frozen=True)
class Outage:
    """Days of one source within an incident."""

    source: str
    start: datetime
    until: datetime | None  #: None while it lasts
    rows: int
    expected: float
    #: End of the interval in which the days were found to be complete after all; from then on they
    #: are used.
    recovered_at: datetime | None = None

    @property
    def kind(self) -> str:
        """`total` or `partial`."""
        return kind_of(self.rows, self.expected)


@dataclass(frozen=True)
class DataLoss:
    """Losses at one time, until all its sources are back. Its days stay lost until recovered."""

    as_of: datetime
    summary: str
    outages: tuple[Outage, ...]
    closed_at: datetime | None = None


def decide_incidents(
    interval: Interval,
    volumes: Mapping[str, Volume],
    incidents: Sequence[DataLoss],
    timezone: str = PLATFORM,
) -> list[DataLoss]:
    """The incidents that are new or changed after this interval, oldest first.

    Deciding again on the same facts changes nothing. A loss belongs to the incident whose days it
    overlaps; a new one to what is going on at the same time in another source, or to its own.

    Args:
        timezone: the tenant's, which the incidents are told in.
    """
    left = {source: list(volume.losses) for source, volume in volumes.items()}
    decided = [
        _updated(one, interval, volumes, left) for one in sorted(incidents, key=lambda i: i.as_of)
    ]
    for source, losses in left.items():
        for loss in losses:
            if loss.start >= interval.end:
                continue  # of days that a later interval is about, which tells of it
            outage = _outage(source, loss, volumes[source])
            as_of = interval.end if loss.end > interval.start else loss.end
            place = next(
                (n for n, one in enumerate(decided) if one.as_of == as_of or _goes_on(one, loss)),
                None,
            )
            if place is None:
                decided.append(DataLoss(as_of, "", (outage,)))
            else:
                before = decided[place]
                decided[place] = replace(before, outages=(*before.outages, outage))
    known = {one.as_of: one for one in incidents}
    settled = (_settled(one, interval, timezone) for one in decided)
    changed = (one for one in settled if known.get(one.as_of) != one)
    return sorted(changed, key=lambda one: one.as_of)


def lost(incidents: Iterable[DataLoss]) -> list[Outage]:
    """The outages whose days are still lost, by start and source."""
    outages = (outage for one in incidents for outage in one.outages)
    still = (outage for outage in outages if outage.recovered_at is None)
    return sorted(still, key=lambda outage: (outage.start, outage.source))


def _updated(
    incident: DataLoss,
    interval: Interval,
    volumes: Mapping[str, Volume],
    left: Mapping[str, list[Loss]],
) -> DataLoss:
    """The incident with what is lost of its days by now, which is taken from `left`."""
    outages: list[Outage] = []
    for outage in incident.outages:
        volume = volumes.get(outage.source)
        if volume is None:  # no longer declared
            outages.append(replace(outage, until=outage.until or interval.end))
            continue
        until = outage.until or volume.until
        losses = [
            one for one in left[outage.source] if one.start <= until and outage.start <= one.end
        ]
        for one in losses:
            left[outage.source].remove(one)
            outages.append(_outage(outage.source, one, volume))
        if losses or any(
            one.source == outage.source
            and one.start <= until
            and outage.start <= (one.until or until)
            for one in outages
        ):
            continue
        if outage.start < volume.since:  # too long ago to be judged again; it ends with new rows
            back = interval.end if volume.rows else None
            outages.append(replace(outage, until=outage.until or back))
        else:
            at = outage.recovered_at or interval.end
            outages.append(replace(outage, until=until, recovered_at=at))
    return replace(incident, outages=tuple(outages))


def _goes_on(incident: DataLoss, loss: Loss) -> bool:
    """Whether an incident that is not over covers some of the loss's time."""
    if incident.closed_at is not None:
        return False
    return any(
        one.start < loss.end and (one.until is None or loss.start < one.until)
        for one in incident.outages
    )


def _outage(source: str, loss: Loss, volume: Volume) -> Outage:
    until = None if loss.end >= volume.until else loss.end
    return Outage(source, loss.start, until, loss.rows, loss.expected)


def _settled(incident: DataLoss, interval: Interval, timezone: str) -> DataLoss:
    """The incident in words, and closed where all its outages are over."""
    ends = [one.until for one in incident.outages]
    over = [end for end in ends if end is not None]
    closed_at = None
    if len(over) == len(ends):
        closed_at = incident.closed_at or max(interval.end, *over)
    return replace(incident, closed_at=closed_at, summary=summary(incident.outages, timezone))


def summary(outages: Sequence[Outage], timezone: str) -> str:
    """An incident in words."""
    parts = "; ".join(_told(one, timezone) for one in outages)
    return (
        f"Data loss {parts}, by its own past. Ask the tenant whether sending stopped; these days "
        "are kept out of drift, labels and training until they are sent again, or announced as "
        "`closures` in the tenant's file."
    )


def _told(one: Outage, timezone: str) -> str:
    if one.until is None:
        when = f"since {local(one.start, timezone)}"
    else:
        when = f"between {local(one.start, timezone)} and {local(one.until, timezone)}"
    back = f", complete since {local(one.recovered_at, timezone)}" if one.recovered_at else ""
    return (
        f"{when}: source {one.source} delivered {one.rows:,} rows where about {one.expected:,.0f} "
        f"were expected ({one.kind}{back})"
    )
