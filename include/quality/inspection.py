"""The stage: what landed is judged, then accepted, set aside or refused, and put on record.

Everything is judged before anything is written. Then the lake is written, one commit per slice,
and at last the rows of `checks`, all at once. A run that is killed in between and run again ends as
if it had never been killed.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from include.errors import IsolationError, QualityError
from include.handoffs import Checked, Ingested, Interval
from include.incidents import Incidents
from include.quality import facts, landing, report, slices
from include.quality.checks import Checks, Inspection, Result, UnacceptedRows
from include.quality.great_expectations_adapter import Evaluator
from include.quality.incidents import data_losses, incident_of
from include.quality.landing import Landing
from include.quality.needs import DataNeeds
from include.quality.slices import CheckedSlice
from include.quality.volume import Delivered, decide_incidents
from include.storage.lake import Lake
from include.tenants.config import Source, TenantConfig

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

    Args:
        delivered: by source, the slices that ingestion has recorded.

    Raises:
        QualityError: a check of severity `fail` was not met; `events` and `attributes` are as
            they were.
        IsolationError: the hand-off is another tenant's.
    """
    if ingested.tenant != tenant.id:
        raise IsolationError(f"a hand-off of {ingested.tenant} was given to {tenant.id}")
    interval = ingested.interval
    evaluator = Evaluator()
    with landing.open_landing(tenant, lake) as landed:
        judged = [
            slices.judge(_slice(tenant, source, interval, landed, lake, delivered), evaluator)
            for source in tenant.sources
        ]
        findings = facts.find(tenant, judged, interval, needs, landed, delivered)
    results = [result for slice_ in judged for result in slice_.results]
    results += facts.judge(findings, evaluator)
    refused = [result for result in results if result.refuses]
    lost = [name for name, volume in findings.volumes.items() if volume.lost_days(interval)]
    set_aside = sum(slice_.set_aside for slice_ in judged)
    accepted = sum(slice_.rows for slice_ in judged) - set_aside
    warnings = sum(not r.success and r.severity == "warn" for r in results)
    path = (
        f"reports/quality/{interval.end:%Y-%m-%d}/"
        f"{interval.start:%Y%m%dT%H%M%S}-{interval.end:%Y%m%dT%H%M%S}.html"
    )
    verdict = _verdict(refused, accepted, set_aside, warnings, lost)
    shown = {slice_.source: slice_.shown for slice_ in judged}
    lake.put(tenant.ref, path, report.render(tenant.name, interval, verdict, results, shown))
    known = data_losses(incidents, tenant.ref)
    changed = decide_incidents(interval, findings.volumes, known)
    if not refused:
        _accept(tenant, judged, landed.versioned, lake)
    checks.record(
        tenant.ref,
        Inspection(interval, tuple(results), path),
        [incident_of(loss) for loss in changed],
        [
            UnacceptedRows(slice_.source, slice_.interval, slices.set_aside(slice_))
            for slice_ in judged
            if not refused
        ],
    )
    log.info("quality %s [%s, %s): %s", tenant.id, interval.start, interval.end, verdict)
    if refused:
        raise QualityError(_refusal(tenant, interval, refused, lake.file_path(tenant.ref, path)))
    return Checked(
        tenant=tenant.id,
        interval=interval,
        events=lake.version(tenant.ref, "events"),
        attributes=lake.version(tenant.ref, "attributes"),
        rows=accepted,
        quarantined=set_aside,
        warnings=warnings,
        data_loss=bool(lost),
    )


def _slice(
    tenant: TenantConfig,
    source: Source,
    interval: Interval,
    landed: Landing,
    lake: Lake,
    delivered: Mapping[str, Sequence[Delivered]],
) -> CheckedSlice:
    kind = "events" if source.events else "attributes"
    span = landing.slice_to_check(
        tenant,
        interval,
        delivered.get(source.name, ()),
        landed.table(kind),
        lake.dataset(tenant.ref, kind),
        source.name,
    )
    rows = landed.slice(kind, source.name, span)
    # Versions of an event share its id; ingestion has seen to it that nothing else does.
    repeated = {} if source.name in landed.versioned else landing.repeated_ids(landed, rows)
    return CheckedSlice(source.name, kind, span, rows, repeated)


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
    return (
        f"{tenant.id} [{interval.start.isoformat()}, {interval.end.isoformat()}): checks not met: "
        f"{checks}. Nothing was accepted; report: {path}. Correct the source or its mapping in "
        "the tenant's file, then run the interval again"
    )
