"""Facts about whole slices and about the interval, and what the checks say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from include.handoffs import Interval
from include.quality import landing as landed
from include.quality import suites
from include.quality.arrivals import series_of
from include.quality.checks import Result
from include.quality.great_expectations_adapter import Evaluator
from include.quality.landing import Facts, Landing
from include.quality.losses import expected_rows, find_losses
from include.quality.needs import DataNeeds
from include.quality.slices import CheckedSlice
from include.quality.suites import Check
from include.quality.volume import Delivered, Volume
from include.tenants.config import Source, TenantConfig


@dataclass
class Findings:
    """What the fact checks of all suites found."""

    facts: Facts = field(default_factory=dict)
    checks: list[tuple[str, Check]] = field(default_factory=list)
    volumes: dict[str, Volume] = field(default_factory=dict)


def find(
    tenant: TenantConfig,
    slices: Sequence[CheckedSlice],
    interval: Interval,
    needs: Sequence[DataNeeds],
    landing: Landing,
    delivered: Mapping[str, Sequence[Delivered]],
) -> Findings:
    """Facts about whole slices and about the interval, and the checks that read them.

    Args:
        slices: those that are judged; of other sources the volume alone is told.
    """
    findings = Findings()

    def add(suite: str, facts: Facts, checks: Sequence[Check]) -> None:
        findings.facts |= {f"{suite}.{name}": value for name, value in facts.items()}
        findings.checks += [(suite, one) for one in checks]

    items_known = any(s.attributes and s.attributes.entity == "item" for s in tenant.sources)
    judged = {slice_.source: slice_ for slice_ in slices}
    for source in tenant.sources:
        if source.events:
            findings.volumes[source.name] = _volume(tenant, source, interval, landing, delivered)
        if (slice_ := judged.get(source.name)) is None:
            continue
        share = slice_.set_aside / slice_.rows if slice_.rows else None
        many = share if slice_.rows >= landed.MANY else None
        facts: Facts = {"set_aside_share": share, "set_aside_share_of_many": many}
        add(slice_.suite, facts, suites.slice_checks(slice_.suite))
        if not source.events:
            continue
        volume = findings.volumes[source.name]
        facts = {
            "lag_days": landed.lag_days(landing, source.name, interval),
            "volume_ratio": volume.ratio,
            "lost_days": volume.lost_days(interval),
        }
        if items_known:
            facts["orphan_share"] = landed.orphan_share(landing, slice_.landed, interval)
        checks = suites.source_checks(slice_.suite, source, items_known=items_known)
        add(slice_.suite, facts, checks)
    for need in needs:
        suite = f"needs.{need.use_case}"
        facts = landed.needs_facts(landing, need, interval)
        add(suite, facts, suites.needs_checks(suite, need))
    return findings


def _volume(
    tenant: TenantConfig,
    source: Source,
    interval: Interval,
    landing: Landing,
    delivered: Mapping[str, Sequence[Delivered]],
) -> Volume:
    arrived = landed.row_count(landing, "events", source.name, interval)
    past = series_of(tenant, source.name, interval, delivered.get(source.name, ()), landing)
    losses = find_losses(past)
    expected = expected_rows(past, losses, interval.start, interval.end)
    return Volume(arrived, expected, losses, past.judged_since, past.judged_until)


def judge(findings: Findings, evaluator: Evaluator) -> list[Result]:
    """Results of the checks whose fact is known; of an unknown one there is nothing to judge."""
    known = {name: value for name, value in findings.facts.items() if value is not None}
    checks = [(suite, one) for suite, one in findings.checks if one.column in known]
    if not checks:
        return []
    frame = pd.DataFrame([known], dtype="float64")
    outcomes = evaluator.evaluate(frame, [one for _, one in checks])
    return [
        one.result(suite, outcome, {"value": known[one.column]})
        for (suite, one), outcome in zip(checks, outcomes, strict=True)
    ]
