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
    found = periods(promotions.history(owner, use_case))
    tried = experiments.history(owner, use_case)
    if day is not None:
        start, end = _bounds(day, timezone)
        found = within(found, start, end)
        tried = [one for one in tried if one.overlaps(start, end)]
    cards = {one.decision.version: _card(owner, one.decision, records) for one in found}
    return [
        _row(use_case, one, cards[one.decision.version])
        | {"experiments": [_tried(t) for t in tried if t.overlaps(one.since, one.until)]}
        for one in found
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
        one
        for one in decided
        if version.version in (one.version, one.incumbent_version, one.evidence.get("challenger"))
        or version.version in one.withdrawn
    ]
    served = [one for one in periods(decided) if one.decision.version == version.version]
    return {
        **json.loads(records.card(owner, version)),
        "version": version.version,
        "digest": version.digest,
        "served": [
            {
                "since": one.since.isoformat(),
                "until": one.until.isoformat() if one.until else None,
                "actor": one.decision.actor,
            }
            for one in served
        ],
        "decisions": [_decision(one) for one in about],
    }


def _row(use_case: str, one: Period, card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "use_case": use_case,
        "version": one.decision.version,
        "model": f"{card['rung']}/{card['name']}",
        "since": one.since,
        "until": one.until,
        **_decision(one.decision),
        "digest": one.decision.digest,
        "trained_on": trained_on(card),
    }


def _tried(one: Experiment) -> dict[str, Any]:
    return {
        "experiment": one.name,
        "challenger": one.challenger,
        "share": one.policy.share,
        "since": one.started_as_of,
        "until": one.ending.as_of if one.ending else None,
    }


def _decision(one: Promotion) -> dict[str, Any]:
    return {
        "as_of": one.as_of.isoformat(),
        "trigger": one.trigger,
        "promoted": one.promoted,
        "actor": one.actor,
        "decided_at": one.decided_at.isoformat() if one.decided_at else None,
        "reasons": list(one.reasons),
    }


def _card(owner: TenantRef, one: Promotion, records: ModelRecords) -> Mapping[str, Any]:
    version = records.get(owner, one.use_case, one.version)
    found: Mapping[str, Any] = json.loads(records.card(owner, version))
    return found


def _bounds(day: date, timezone: str) -> Sequence[datetime]:
    zone = ZoneInfo(timezone)
    return [datetime.combine(day + timedelta(days=n), time(), zone) for n in (0, 1)]
