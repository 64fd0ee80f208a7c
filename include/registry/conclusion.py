"""Ends an experiment; where the challenger won, the challenger serves from then on.

The decision is written into the promotions first, once, under the experiment's name. Then the alias
follows, then the end is written. A conclusion that was killed anywhere does what is left when it
runs again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from include.registry.aliases import follow_ledger
from include.registry.experiments import Ended, Ending, Experiment, Experiments
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion, Promotions, promoted_from
from include.registry.recorded import as_told
from include.registry.withdrawal import Withdrawn, check_whole
from include.tenants.namespace import TenantRef

log = logging.getLogger(__name__)


def out_of_the_race(
    tenant: TenantRef, experiment: Experiment, registry: Registry, promotions: Promotions
) -> tuple[Ended, str] | None:
    """Why the experiment cannot go on, whatever was observed; None where it can."""
    decided = promotions.history(tenant, experiment.use_case)
    if _promotion_of(experiment, decided) is not None:
        return None
    current = promotions.champion_at(tenant, experiment.use_case)
    if current is None or current.version != experiment.champion:
        now = f"version {current.version}" if current else "nothing"
        return "overtaken", f"Version {experiment.champion} no longer serves: {now} does."
    version = as_told(registry.get(tenant, experiment.use_case, experiment.challenger), decided)
    if why := Withdrawn.of(tenant, experiment.use_case, decided, promotions).why(version, registry):
        return "withdrawn", f"The challenger must not serve: {why}."
    return None


def conclude(
    tenant: TenantRef,
    experiment: Experiment,
    verdict: Ended,
    reasons: Sequence[str],
    *,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
    figures: Mapping[str, Any] | None = None,
    by: str = "system",
) -> Experiment:
    """End the experiment from `as_of` on; a challenger that is to be promoted serves from then.

    The experiment ends without a promotion where the champion has changed meanwhile, or the
    challenger was withdrawn.
    """
    case, figures = experiment.use_case, dict(figures or {})
    with promotions.exclusive(tenant, case):
        standing = experiments.history(tenant, case)[experiment.number - 1]
        if standing.ending is not None:
            follow_ledger(tenant, case, registry, promotions)
            return standing
        explanation = tuple(reasons)
        lost = (
            out_of_the_race(tenant, experiment, registry, promotions)
            if verdict == "promote"
            else None
        )
        if lost:
            verdict, explanation = lost[0], (*explanation, lost[1])
        elif verdict == "promote" or _promotion_of(experiment, promotions.history(tenant, case)):
            promoted = _promote(
                tenant, experiment, explanation, figures, as_of, registry, promotions, by
            )
            verdict, as_of = "promote", promoted.as_of
        if verdict != "promote":
            _keep(tenant, experiment, explanation, as_of, promotions, by)
        ending = Ending(max(as_of, experiment.started_as_of), verdict, explanation, figures, by)
        done = experiments.end(tenant, experiment, ending)
    log.info(
        "experiment: %s/%s %s ended: %s. %s",
        *(tenant.id, case, experiment.name, verdict, " ".join(explanation)),
    )
    return done


def _promote(
    tenant: TenantRef,
    experiment: Experiment,
    reasons: Sequence[str],
    figures: Mapping[str, Any],
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    by: str,
) -> Promotion:
    case = experiment.use_case
    decided = promotions.history(tenant, case)
    standing = _promotion_of(experiment, decided)
    if standing is None:
        current = promotions.champion_at(tenant, case)
        assert current is not None  # it is what the challenger was tried against
        version = check_whole(
            tenant,
            registry.get(tenant, case, experiment.challenger),
            experiment.digest,
            registry,
        )
        new = promoted_from(tenant, version, max(as_of, current.as_of))
        metric = str(current.evidence.get("metric") or "")
        beaten = registry.get(tenant, case, experiment.champion)
        standing = promotions.record(
            tenant,
            replace(
                new,
                trigger=experiment.name,
                incumbent_version=current.version,
                reasons=tuple(reasons),
                evidence={
                    **new.evidence,
                    "metric": metric,
                    "champion": _promised(tenant, version, metric, registry),
                    "challenger": beaten.version if beaten.rung == "own" else "",
                    "challenger_digest": current.digest if beaten.rung == "own" else "",
                    "challenger_parent_version": beaten.parent_version,
                    "experiment": {"number": experiment.number, **figures},
                },
                actor=by,
            ),
        )
    follow_ledger(tenant, case, registry, promotions)
    return standing


def _keep(
    tenant: TenantRef,
    experiment: Experiment,
    reasons: Sequence[str],
    as_of: datetime,
    promotions: Promotions,
    by: str,
) -> None:
    """Write, once, that the champion goes on serving."""
    decided = promotions.history(tenant, experiment.use_case)
    current = promotions.champion_at(tenant, experiment.use_case)
    if current is None or any(decision.trigger == experiment.name for decision in decided):
        return
    promotions.record(tenant, current.stays(as_of, experiment.name, reasons, by))


def _promotion_of(experiment: Experiment, decided: Sequence[Promotion]) -> Promotion | None:
    mine = (one for one in decided if one.trigger == experiment.name and one.promoted)
    return next(mine, None)


def _promised(
    tenant: TenantRef, version: ModelVersion, metric: str, registry: Registry
) -> dict[str, float] | None:
    """The version's metric and its interval as its training measured them, for monitoring."""
    measured = json.loads(registry.card(tenant, version))["metrics"]
    names = {"value": metric, "low": f"{metric}_low", "high": f"{metric}_high"}
    if any(measured.get(name) is None for name in names.values()):
        return None
    return {figure: measured[name] for figure, name in names.items()}
