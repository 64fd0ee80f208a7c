"""The stage: what landed is judged, then accepted, set aside or refused, and put on record.

Everything of an interval is judged before anything of it is written. Then the lake is written, one
commit per slice, and at last the rows of `checks`, all at once. A run that is killed in between and
run again ends as if it had never been killed.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from include.errors import IsolationError, QualityError
from include.handoffs import Checked, Ingested, Interval
from include.incidents import Incidents
from include.quality import accepted, facts, landing, plausible, report, slices, suites
from include.quality.checks import Checks, Inspection, Result, UnacceptedRows
from include.quality.great_expectations_adapter import Evaluator
from include.quality.incidents import (
    REFUSED_HOLE,
    data_losses,
    decide_refusals,
    incident_of,
)
from include.quality.landing import Landing
from include.quality.needs import DataNeeds
from include.quality.slices import CheckedSlice
from include.quality.volume import Delivered, decide_incidents
from include.storage.lake import Lake
from include.tenants.config import Source, TenantConfig
from include.wall_clock import local

log = logging.getLogger("tenantry.quality")


def check(
    tenant: TenantConfig,
    ingested: Ingested,
    needs: Sequence[DataNeeds],
    *,
    delivered: Mapping[str, Sequence[Delivered]],
    lake: Lake,
    checks: Checks,
    incidents: Incidents,
) -> Checked:
    """Judge what landed and hand on what is fit for use.

    Holes that ingestion loaded along with the interval come first, each judged on its own, and so
    does what an earlier run loaded before it was killed. Where one of these is refused, that is an
    incident, and the run goes on. The hand-off counts the interval and its holes. Sources that the
    tenant's file names no more leave `events` and `attributes`; their landed rows stay.

    Args:
        delivered: by source, the slices that ingestion has recorded.

    Raises:
        QualityError: a check of severity `fail` was not met; `events` and `attributes` hold of the
            interval what they held.
        IsolationError: the hand-off is another tenant's.
    """
    if ingested.tenant != tenant.id:
        raise IsolationError(f"a hand-off of {ingested.tenant} was given to {tenant.id}")
    stage = _Stage(tenant, needs, delivered, lake, checks, incidents)
    accepted.take_over(tenant, lake, checks)
    interval = ingested.interval
    for left in landing.never_judged(tenant, interval, delivered, checks.judged(tenant.ref)):
        log.warning(
            "quality %s [%s, %s): was loaded and never judged, and is now",
            *(tenant.id, left.start, left.end),
        )
        _inspect(stage, left, stage.read_in(left))
    holes = [
        _inspect(stage, hole, stage.read_in(hole))
        for hole in landing.holes_to_check(tenant.history_start, interval, delivered)
    ]
    own = _inspect(stage, interval, tenant.sources, of_the_run=True)
    if own.refusal:
        raise QualityError(own.refusal)
    return Checked(
        tenant=tenant.id,
        interval=interval,
        events=lake.version(tenant.ref, "events"),
        attributes=lake.version(tenant.ref, "attributes"),
        rows=sum(one.accepted for one in (*holes, own)),
        quarantined=sum(one.set_aside for one in (*holes, own)),
        warnings=sum(one.warnings for one in (*holes, own)),
        data_loss=bool(own.lost),
    )


@dataclass(frozen=True)
class _Stage:
    """What all inspections of one run have in common."""

    tenant: TenantConfig
    needs: Sequence[DataNeeds]
    delivered: Mapping[str, Sequence[Delivered]]
    lake: Lake
    checks: Checks
    incidents: Incidents

    def read_in(self, hole: Interval) -> list[Source]:
        """The sources that have a slice of exactly this interval."""
        return [
            source
            for source in self.tenant.sources
            if any(one.interval == hole for one in self.delivered.get(source.name, ()))
        ]


@dataclass(frozen=True)
class _Inspected:
    """What one interval's inspection came to."""

    accepted: int
    set_aside: int
    warnings: int
    lost: tuple[str, ...]  #: sources of which days of the interval are lost
    refusal: str  #: why nothing was accepted; empty where it was


def _inspect(
    stage: _Stage, interval: Interval, sources: Sequence[Source], *, of_the_run: bool = False
) -> _Inspected:
    """Judge what some sources delivered in an interval; accept it, or refuse all of it.

    Args:
        of_the_run: whether it is the run's own interval: whoever asked for it hears of a refusal.
            Of that of a hole an incident tells, and the run goes on.
    """
    tenant, lake, delivered = stage.tenant, stage.lake, stage.delivered
    evaluator = Evaluator()
    with landing.open_landing(tenant, lake) as landed:
        judged = [
            slices.judge(_slice(tenant, source, interval, landed, lake, delivered), evaluator)
            for source in sources
        ]
        findings = facts.find(tenant, judged, interval, stage.needs, landed, delivered)
    results = [result for slice_ in judged for result in slice_.results]
    results += facts.judge(findings, evaluator)
    refused = [result for result in results if result.refuses]
    lost = [name for name, volume in findings.volumes.items() if volume.lost_days(interval)]
    set_aside = sum(slice_.set_aside for slice_ in judged)
    rows = sum(slice_.rows for slice_ in judged) - set_aside
    warnings = sum(not r.success and r.severity == "warn" for r in results)
    path = (
        f"reports/quality/{interval.end:%Y-%m-%d}/"
        f"{interval.start:%Y%m%dT%H%M%S}-{interval.end:%Y%m%dT%H%M%S}.html"
    )
    verdict = _verdict(refused, rows, set_aside, warnings, lost)
    shown = {slice_.source: slice_.shown for slice_ in judged}
    read = {slice_.source: _within(slice_.interval, delivered, slice_.source) for slice_ in judged}
    page = report.render(tenant.name, interval, verdict, results, shown, tenant.timezone, read)
    lake.put(tenant.ref, path, page)
    refusal = ""
    if refused:
        refusal = _refusal(tenant, interval, refused, lake.file_path(tenant.ref, path))
    losses = data_losses(stage.incidents, tenant.ref)
    changed = decide_incidents(interval, findings.volumes, losses, tenant.timezone)
    known = stage.incidents.of_kind(tenant.ref, REFUSED_HOLE)
    gaps = [] if refused and of_the_run else decide_refusals(interval, refusal, known)
    if not refused:
        if of_the_run:
            accepted.drop_others(tenant, lake)
        _accept(tenant, judged, landed.versioned, lake)
    stage.checks.record(
        tenant.ref,
        Inspection(interval, tuple(results), path),
        [*(incident_of(loss) for loss in changed), *gaps],
        [
            UnacceptedRows(slice_.source, slice_.interval, slices.set_aside(slice_))
            for slice_ in judged
            if not refused
        ],
    )
    start, end = (local(at, tenant.timezone) for at in (interval.start, interval.end))
    log.info("quality %s, %s to %s: %s", tenant.id, start, end, verdict)
    if refused:
        log.error("quality %s", refusal)
        rows = set_aside = 0
    return _Inspected(rows, set_aside, warnings, tuple(lost), refusal)


def _within(
    span: Interval, delivered: Mapping[str, Sequence[Delivered]], source: str
) -> list[Delivered]:
    """The slices of a source that a span of time is made of, in order."""
    own = (one for one in delivered.get(source, ()) if span.start <= one.interval.start)
    within = (one for one in own if one.interval.end <= span.end)
    return sorted(within, key=lambda one: (one.interval.start, one.interval.end))


def _slice(
    tenant: TenantConfig,
    source: Source,
    interval: Interval,
    landed: Landing,
    lake: Lake,
    delivered: Mapping[str, Sequence[Delivered]],
) -> CheckedSlice:
    kind = "events" if source.events else "attributes"
    accepted = lake.dataset(tenant.ref, kind)
    recorded = delivered.get(source.name, ())
    span = landing.slice_to_check(
        tenant, interval, recorded, landed.table(kind), accepted, source.name
    )
    rows = landed.slice(kind, source.name, span)
    if kind == "events":
        limits = plausible.limits_of(source, span, landed, rows, accepted)
        checks = suites.event_row_checks(limits, tenant.history_start)
    else:
        checks = suites.attribute_row_checks()
    # Versions of an event share its id; ingestion has seen to it that nothing else does.
    repeated = {} if source.name in landed.versioned else landing.repeated_ids(landed, rows)
    return CheckedSlice(source.name, kind, span, rows, repeated, checks)


def _accept(
    tenant: TenantConfig, judged: Sequence[CheckedSlice], versioned: Container[str], lake: Lake
) -> None:
    """Write what was not set aside; attributes first, so that no event comes before its item."""
    for slice_ in sorted(judged, key=lambda s: s.kind):
        lake.replace_slice(
            tenant.ref,
            slice_.kind,
            slice_.source,
            slice_.interval,
            slices.accepted(slice_),
            versions=slice_.source in versioned,
        )


def _verdict(
    refused: Sequence[Result], accepted: int, set_aside: int, warnings: int, lost: Sequence[str]
) -> str:
    if refused:
        names = ", ".join(f"{r.suite} {r.check}" for r in refused)
        return f"Refused, nothing was accepted: {names}."
    loss = f" Data loss: {', '.join(lost)}." if lost else ""
    return f"{accepted:,} rows accepted, {set_aside:,} set aside, {warnings:,} warnings.{loss}"


def _refusal(
    tenant: TenantConfig, interval: Interval, refused: Sequence[Result], path: Path
) -> str:
    checks = "; ".join(
        f"{r.suite} {r.check} ({r.unexpected_count:,} of {r.element_count:,} unexpected"
        + "".join(f", {name} {value}" for name, value in r.observed.items())
        + ")"
        for r in refused
    )
    start, end = (local(at, tenant.timezone) for at in (interval.start, interval.end))
    return (
        f"{tenant.id}, {start} to {end}: checks not met: {checks}. Nothing was "
        f"accepted; report: {path}. Correct the source or its mapping in the tenant's file, then "
        "run the interval again"
    )
