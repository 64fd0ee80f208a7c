"""What an auditor asks: which version served on a day, made from what, and why; and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from include.registry.experiments import Experiment, Experiments
from include.registry.history import Period, periods, trained_on, within
from include.registry.port import ModelRecords, ModelVersion
from include.registry.promotions import Promotion, Promotions
from include.stage_runs import StageRuns
from include.tenants.namespace import TenantRef

#: What Postgres tells apart.
_MOMENT: Final = timedelta(microseconds=1)


def serving_history(
    owner: TenantRef,
    use_case: str,
    records: ModelRecords,
    promotions: Promotions,
    experiments: Experiments,
    day: date | None,
    timezone: str,
) -> list[dict[str, Any]]:
    """Every period in which a version served, oldest first, or those of one day.

    Each with the experiments of its time, whose challengers served a share of the entities.

    Args:
        day: a day of the data's time, in `timezone`.
    """
    served = periods(promotions.history(owner, use_case))
    tried = experiments.history(owner, use_case)
    if day is not None:
        start, end = _bounds(day, timezone)
        served = within(served, start, end)
        tried = [experiment for experiment in tried if experiment.overlaps(start, end)]
    cards = {period.decision.version: _card(owner, period.decision, records) for period in served}
    return [
        _row(use_case, period, cards[period.decision.version])
        | {"experiments": [_tried(t) for t in tried if t.overlaps(period.since, period.until)]}
        for period in served
    ]


def scored_on(
    stage_runs: StageRuns, owner: TenantRef, use_case: str, day: date, timezone: str
) -> dict[str, Any] | None:
    """The newest predictions there were by the end of a day, and the version that made them.

    After a rollback they can be of another version than the one that serves: what was scored
    before stays until its interval is scored again.
    """
    _, end = _bounds(day, timezone)
    scored = stage_runs.newest(owner, use_case, "scoring", end - _MOMENT)
    if scored is None:
        return None
    return {
        "as_of": scored.end,
        "version": scored.handoff.version,
        "rows": scored.handoff.rows,
        "recorded_at": scored.recorded_at,
    }


def card_document(
    owner: TenantRef, version: ModelVersion, records: ModelRecords, promotions: Promotions
) -> dict[str, Any]:
    """The version's card with what the ledger knows of it: decisions, and when it served."""
    decided = promotions.history(owner, version.use_case)
    about = [
        decision
        for decision in decided
        if version.version
        in (decision.version, decision.incumbent_version, decision.evidence.get("challenger"))
        or version.version in decision.withdrawn
    ]
    served = [period for period in periods(decided) if period.decision.version == version.version]
    return {
        **json.loads(records.card(owner, version)),
        "version": version.version,
        "digest": version.digest,
        "served": [
            {
                "since": period.since.isoformat(),
                "until": period.until.isoformat() if period.until else None,
                "actor": period.decision.actor,
            }
            for period in served
        ],
        "decisions": [_decision(decision) for decision in about],
    }


def _row(use_case: str, period: Period, card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "use_case": use_case,
        "version": period.decision.version,
        "model": f"{card['rung']}/{card['name']}",
        "since": period.since,
        "until": period.until,
        **_decision(period.decision),
        "digest": period.decision.digest,
        "trained_on": trained_on(card),
    }


def _tried(experiment: Experiment) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "challenger": experiment.challenger,
        "share": experiment.policy.share,
        "since": experiment.started_as_of,
        "until": experiment.ending.as_of if experiment.ending else None,
    }


def _decision(promotion: Promotion) -> dict[str, Any]:
    return {
        "as_of": promotion.as_of.isoformat(),
        "trigger": promotion.trigger,
        "promoted": promotion.promoted,
        "actor": promotion.actor,
        "decided_at": promotion.decided_at.isoformat() if promotion.decided_at else None,
        "reasons": list(promotion.reasons),
    }


def _card(owner: TenantRef, promotion: Promotion, records: ModelRecords) -> Mapping[str, Any]:
    version = records.get(owner, promotion.use_case, promotion.version)
    card: Mapping[str, Any] = json.loads(records.card(owner, version))
    return card


def _bounds(day: date, timezone: str) -> Sequence[datetime]:
    zone = ZoneInfo(timezone)
    return [datetime.combine(day + timedelta(days=n), time(), zone) for n in (0, 1)]
