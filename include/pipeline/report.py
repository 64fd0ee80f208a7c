"""What people ask about the fleet: what serves whom, how well, and why."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from include import use_cases, wiring
from include.errors import UnavailableError, UnknownNameError
from include.features.online.store import OnlineStore
from include.monitoring.drift_records import DriftVerdict
from include.monitoring.retrains import RetrainRequest
from include.registry import lifecycle
from include.registry.experiments import Experiment, running
from include.registry.incidents import suspected
from include.registry.promotions import Promotion
from include.storage.failures import TENANT_ERRORS
from include.stores import Stores
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet
from include.tenants.namespace import dag_id
from include.wall_clock import local_day

log = logging.getLogger(__name__)


def fleet_status(
    fleet: Fleet, stores: Stores, airflow_url: str = "", *, refused: Collection[str] = ()
) -> list[dict[str, Any]]:
    """One row per tenant and use case; a tenant whose database cannot be read says so in its row.

    Args:
        refused: ids of those whose data is not to be read where their files say that it lies.

    Raises:
        UnavailableError: not one tenant's database answers.
    """
    rows: list[dict[str, Any]] = []
    errors: list[UnavailableError] = []
    for tenant in fleet.tenants.values():
        for use_case in tenant.use_cases:
            unavailable = {"tenant": tenant.id, "use_case": use_case, "champion": "unavailable"}
            if tenant.id in refused:
                rows.append({**_EMPTY, **unavailable})
                continue
            try:
                rows.append(_status(tenant, use_case, stores, airflow_url))
            except (*TENANT_ERRORS, OSError) as error:
                log.warning("status of %s/%s: %s", tenant.id, use_case, error)
                if isinstance(error, UnavailableError):
                    errors.append(error)
                rows.append({**_EMPTY, **unavailable})
    if errors and len(errors) == len(rows):
        raise errors[0]
    return rows


def explain(tenant: TenantConfig, use_case: str, stores: Stores) -> dict[str, list[dict[str, Any]]]:
    """Where the use case stands, and every promotion, verdict, retrain, live metric, incident and
    quality check, oldest first.

    With them every experiment, and challengers against champions on the labels of later weeks.

    Raises:
        UnknownNameError: the tenant does not have the use case.
    """
    from include.pipeline import experiment_results  # needs arrays, which a status does not

    return {
        **_recorded(tenant, use_case, stores),
        "experiments": experiment_results.told(stores, tenant.ref, use_case),
        "shadow": experiment_results.shadows(stores.outcomes, tenant.ref, use_case),
    }


def _recorded(
    tenant: TenantConfig, use_case: str, stores: Stores
) -> dict[str, list[dict[str, Any]]]:
    if use_case not in tenant.use_cases:
        raise UnknownNameError("use case", use_case, tenant.use_cases, f"tenant {tenant.id}")
    lake = wiring.lake_files()
    decided = stores.promotions.history(tenant.ref, use_case)
    facts = lifecycle.facts_of(decided, tenant.timezone)
    if facts.held and all(
        incident.closed_at for incident in suspected(stores.incidents, tenant.ref, use_case)
    ):
        facts = replace(facts, held="")  # somebody has answered
    stage = lifecycle.stage_of(facts)
    recorded: dict[str, list[dict[str, Any]]] = {
        "stage": [
            {
                "stage": stage.name.replace("_", " "),
                "reasons": list(stage.reasons),
                "what would have to change": list(lifecycle.what_would_have_to_change(facts)),
            }
        ],
        "promotions": [
            {
                "as_of": decision.as_of,
                "trigger": decision.trigger,
                "decision": _told(decision),
                "rung": decision.rung,
                "by": decision.actor,
                "reasons": list(decision.reasons),
            }
            for decision in decided
        ],
        "drift_verdicts": [_verdict(v) for v in stores.drift.verdicts(tenant.ref, use_case)],
        "retrains": [
            _retrain(r, tenant.timezone) for r in stores.retrains.history(tenant.ref, use_case)
        ],
        "live_metrics": [
            {
                "as_of": live.as_of,
                "metric": live.metric,
                "model_version": live.version,
                "value": None if math.isnan(live.value) else live.value,
                "baseline": live.baseline,
                "labels": live.labels,
            }
            for live in stores.live_metrics.history(tenant.ref, use_case)
        ],
        "quality": [asdict(summary) for summary in stores.checks.summaries(tenant.ref)],
        "incidents": [
            {
                "as_of": incident.as_of,
                "kind": incident.kind,
                "summary": incident.summary,
                "closed_at": incident.closed_at,
            }
            for incident in stores.incidents.about(tenant.ref, use_case)
        ],
    }
    for row in (*recorded["drift_verdicts"], *recorded["quality"]):
        if row["report_path"]:
            kept = lake.file_path(tenant.ref, row["report_path"])
            page = kept.with_suffix(".html")
            row["report_path"] = str(page if page.is_file() else kept)
    return recorded


def _told(promotion: Promotion) -> str:
    """A decision in a few words."""
    if promotion.promoted and not promotion.version:
        return f"nothing serves; withdrew {', '.join(promotion.withdrawn)}"
    if promotion.promoted:
        return f"{'promoted' if promotion.trained else 'back to'} {promotion.version}"
    return (
        f"withdrew {', '.join(promotion.withdrawn)}"
        if promotion.withdrawn
        else f"kept {promotion.version}"
    )


def _verdict(verdict: DriftVerdict) -> dict[str, Any]:
    return {
        "as_of": verdict.as_of,
        "model_version": verdict.model_version,
        "verdict": verdict.verdict,
        "score": verdict.score,
        "reasons": list(verdict.reasons),
        "report_path": verdict.report_path,
    }


def _retrain(request: RetrainRequest, timezone: str) -> dict[str, Any]:
    return {
        "as_of": request.as_of,
        "decision": request.decision,
        "reason": request.reason,
        "state": request.state,
        "outcome": request.outcome,
        "outcome_details": request.outcome_details,
        "effect": request.effect.told(timezone) if request.effect else "",
    }


#: Retrains that a row of the fleet shows.
_NEWEST: Final = 3
_EMPTY = dict.fromkeys(
    (
        *("tenant", "use_case", "champion", "metric", "baseline", "live", "drift", "retrains"),
        *("online", "link"),
    ),
    "",
)


def _status(
    tenant: TenantConfig, use_case: str, stores: Stores, airflow_url: str
) -> dict[str, Any]:
    decided = stores.promotions.history(tenant.ref, use_case)
    champion = stores.promotions.champion_at(tenant.ref, use_case)
    recorded = _recorded(tenant, use_case, stores)
    verdicts, retrains, live = (
        recorded[name] for name in ("drift_verdicts", "retrains", "live_metrics")
    )
    metric, baseline = _figures(decided, champion)
    on_trial = _on_trial(stores.experiments.history(tenant.ref, use_case))
    asked = [retrain for retrain in retrains if retrain["decision"] == "retrain"]
    incidents = [
        incident["kind"] for incident in recorded["incidents"] if incident["closed_at"] is None
    ]
    return {
        "tenant": tenant.id,
        "use_case": use_case,
        "champion": _named(decided, champion) + on_trial,
        "metric": metric,
        "baseline": baseline,
        "live": _live(live),
        "drift": ", ".join(dict.fromkeys([*(v["verdict"] for v in verdicts[-1:]), *incidents])),
        "retrains": _retrains(asked, tenant.timezone),
        "online": _online(tenant, use_case, stores.online),
        "link": f"{airflow_url}/dags/{dag_id(tenant.id, 'pipeline')}" if airflow_url else "",
    }


def _retrains(asked: Sequence[Mapping[str, Any]], timezone: str) -> str:
    """The newest ones: a day tells which only within a year."""
    newest = [
        f"{local_day(retrain['as_of'], timezone)[5:]} {retrain['outcome'] or retrain['state']}"
        for retrain in asked[-_NEWEST:]
    ]
    earlier = len(asked) - len(newest)
    return "; ".join([*([f"{earlier} earlier"] if earlier else []), *newest])


def _online(tenant: TenantConfig, use_case: str, online: OnlineStore) -> str:
    """How many of the views that are served online are materialized, and up to when all are."""
    views = [view for view in use_cases.get(use_case).features.views if view.ttl is not None]
    if not views:
        return ""
    there = {(view.view, view.fingerprint): view.watermark for view in online.freshness(tenant.ref)}
    marks = [there[key] for view in views if (key := (view.name, view.fingerprint)) in there]
    until = f" to {local_day(min(marks), tenant.timezone)}" if marks else ""
    return f"{len(marks)} of {len(views)} views{until}"


def _live(measured: Sequence[Mapping[str, Any]]) -> str:
    """The newest predictions whose labels have matured: the model's metric, and its baseline's."""
    newest = next((metric for metric in reversed(measured) if metric["value"] is not None), None)
    if newest is None:
        return ""
    against = "" if newest["baseline"] is None else f" vs {newest['baseline']:.3f}"
    return f"{newest['value']:.3f}{against}"


def _named(decided: Sequence[Promotion], champion: Promotion | None) -> str:
    if champion is None:
        return "none yet"
    names = {
        candidate["digest"]: candidate["name"]
        for decision in decided
        for candidate in decision.evidence["candidates"]
    }
    return f"{champion.version} {champion.rung}/{names.get(champion.digest, '?')}"


def _on_trial(tried: Sequence[Experiment]) -> str:
    """The version that is tried beside it, and on how many."""
    trial = running(tried)
    if trial is None:
        return ""
    return f", {100 * trial.policy.share:g} % on {trial.challenger} ({trial.name})"


def _figures(decided: Sequence[Promotion], champion: Promotion | None) -> tuple[str, str]:
    """The champion's and the best baseline's metric on the newest window both were measured on."""
    if champion is None:
        return "", ""
    for decision in reversed([decision for decision in decided if decision.trained]):
        evidence = decision.evidence
        measured: list[Mapping[str, Any]] = [*evidence["candidates"]]
        if evidence["incumbent"]:
            measured.append(evidence["incumbent"])
        ours = [
            m["value"]
            for m in measured
            if m["digest"] == champion.digest and m["value"] is not None
        ]
        rules = [m for m in measured if m["rung"] == "baseline" and m["value"] is not None]
        if ours and rules:
            best = max(rules, key=lambda m: float(m["value"]))
            return (
                f"{evidence['metric']} {ours[0]:.3f}",
                f"{best['name']} {best['value']:.3f}",
            )
    return "not measured", ""
