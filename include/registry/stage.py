"""Decides which version serves and carries that out, in an order that survives a kill anywhere.

1. Register the winner, and the tenant's best own model that lost, both by a key of their training.
2. Write the decision into the ledger, once: from here on it stands.
3. Move the aliases to where the ledger says.

A rerun before 2 finds the registered versions again; one after 2 finds the decision and only
repeats 3.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from include.errors import IntegrityError, UnknownNameError
from include.handoffs import Candidate, Registered, Trained
from include.incidents import Incidents
from include.registry.aliases import follow_ledger
from include.registry.decision import PromotionDecision, decide_promotion
from include.registry.evidence import Evidence
from include.registry.holding import candidates_held, suspicions_of, tell, waiting_facts
from include.registry.incidents import open_leak
from include.registry.leaks import Look, reason
from include.registry.lifecycle import challenges, swing_before
from include.registry.new_versions import figures_of, new_version
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion, Promotions
from include.registry.suspicions import sentence
from include.registry.withdrawal import Withdrawn, lost_for_good
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, is_global

log = logging.getLogger(__name__)


def register(
    tenant: TenantRef,
    trained: Trained,
    *,
    registry: Registry,
    promotions: Promotions,
    incidents: Incidents,
    lake: Lake,
    feature_fingerprint: str,
    by: str = "system",
    look: Look | None = None,
) -> Registered:
    """Decide once per training (as_of and trigger) which version serves, and record why.

    Args:
        feature_fingerprint: of the feature service the candidates were trained on.
        by: who asked for the training.
        look: for models that all tenants get: the search for single tenants' data. A model that
            holds any is not considered, and the owner gets an incident.

    Raises:
        IntegrityError: a file is not what training wrote, or is no model.
        ConfigError: the evaluation holds no usable evidence.
    """
    if trained.tenant != tenant.id:
        raise IntegrityError(f"a training of {trained.tenant!r} was handed to {tenant.id!r}")
    with promotions.exclusive(tenant, trained.use_case):
        standing = promotions.find(tenant, trained.use_case, trained.as_of, trained.trigger)
        if standing is None:
            decided = _decide(
                tenant,
                trained,
                registry,
                promotions,
                incidents,
                lake,
                feature_fingerprint,
                look,
            )
            standing = promotions.record(tenant, replace(decided, actor=by))
            log.info(
                "registry: %s/%s at %s: %s",
                *(tenant.id, trained.use_case, trained.as_of, " ".join(standing.reasons)),
            )
        follow_ledger(tenant, trained.use_case, registry, promotions)
    return Registered(
        tenant=tenant.id,
        use_case=trained.use_case,
        as_of=trained.as_of,
        promoted=standing.promoted,
        version=standing.version,
        rung=standing.rung,
        digest=standing.digest,
        reason=" ".join(standing.reasons),
    )


def _decide(
    tenant: TenantRef,
    trained: Trained,
    registry: Registry,
    promotions: Promotions,
    incidents: Incidents,
    lake: Lake,
    feature_fingerprint: str,
    look: Look | None,
) -> Promotion:
    """The decision about a training, after every version it names has been registered."""
    document = json.loads(lake.get(tenant, trained.evaluation))
    refused = dict(_withdrawn(tenant, trained, registry, promotions))
    if look is not None:
        refused |= _leaking(tenant, trained, document, look, lake, incidents)
    evidence = _without(Evidence.from_document(document), refused)
    serving = promotions.champion_at(tenant, trained.use_case, trained.as_of)
    if serving is not None:
        standing = registry.get(tenant, trained.use_case, serving.version)
        serving = None if lost_for_good(standing, registry, promotions) else serving
    if serving is not None:
        past = promotions.history(tenant, trained.use_case)
        reach = timedelta(days=document["windows"].get("reach_days", 0))
        evidence = replace(
            evidence,
            challenges=challenges(past, serving.version),
            comparisons=tuple(
                comparison.with_swing(
                    swing_before(past, serving.version, comparison, trained.as_of, reach)
                )
                for comparison in evidence.comparisons
            ),
        )
    suspicions = suspicions_of(tenant, trained, document, incidents)
    held = candidates_held(tenant, trained, suspicions.all, refused, serving)
    decision = _decision(_without(evidence, held), serving)
    if held:
        hold_reason = sentence(suspicions.all, (f"{one.rung}/{one.name}" for one in held))
        decision = replace(decision, reasons=(*decision.reasons, hold_reason))

    def put(candidate: Candidate) -> ModelVersion:
        new = new_version(
            tenant,
            trained,
            candidate,
            document,
            lake=lake,
            feature_fingerprint=feature_fingerprint,
            decision=decision.reasons,
        )
        return registry.register(tenant, trained.use_case, new)

    winner = _winner(trained, decision)
    champion = None if winner is None else put(winner)
    waits = None if not held else _winner(trained, _decision(evidence, serving))
    waiting = put(waits) if waits is not None and waits in held else None
    tell(tenant, trained, suspicions, waiting, incidents)
    runner_up = _runner_up(tenant, trained, {winner, *refused}, serving)
    challenger = None if runner_up is None else put(runner_up)
    before, after = serving, champion or serving
    return Promotion(
        tenant=tenant.id,
        use_case=trained.use_case,
        as_of=trained.as_of,
        trigger=trained.trigger,
        promoted=champion is not None,
        version=after.version if after else "",
        rung=after.rung if after else "",
        digest=after.digest if after else "",
        incumbent_version=before.version if before else "",
        reasons=decision.reasons,
        evidence={
            **document["evidence"],
            "challenges": evidence.challenges,
            **(
                waiting_facts(waits, waiting, document)
                if waits is not None and waiting is not None
                else {}
            ),
            "comparisons": [asdict(comparison) for comparison in evidence.comparisons],
            "champion": None if winner is None else figures_of(winner, document),
            "challenger": challenger.version if challenger else "",
            "challenger_digest": challenger.digest if challenger else "",
            "challenger_parent_version": challenger.parent_version if challenger else "",
            "reference_digest": champion.reference_digest if champion else "",
            **({"parent_version": champion.parent_version} if champion else {}),
            "training_rows": trained.training_rows,
            "holdout_rows": trained.holdout_rows,
            "evaluation": {"path": trained.evaluation.path, "digest": trained.evaluation.digest},
            **(_made_of(document) if is_global(tenant.id) else {}),
        },
    )


def _made_of(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Ids of the tenants whose rows a global training read, kept longer than its evaluation is."""
    return {"made_of": sorted({str(table["tenant"]) for table in document.get("tables", ())})}


def _withdrawn(
    tenant: TenantRef, trained: Trained, registry: Registry, promotions: Promotions
) -> Mapping[Candidate, str]:
    """The candidates that a withdrawal keeps from serving, each with a sentence why."""
    decided = promotions.outline(tenant, trained.use_case)
    gone = Withdrawn.of(tenant, trained.use_case, decided, promotions)
    refused = {}
    for candidate in trained.candidates:
        why = gone.why_model(candidate.artifact.digest, candidate.parent_version, registry)
        if why:
            refused[candidate] = f"{candidate.rung}/{candidate.name} is not considered: {why}."
    return refused


def _leaking(
    tenant: TenantRef,
    trained: Trained,
    document: Mapping[str, Any],
    look: Look,
    lake: Lake,
    incidents: Incidents,
) -> Mapping[Candidate, str]:
    """The candidates that hold data of too few tenants, each with a sentence why."""
    candidates = trained.candidates
    files = [
        [lake.get(tenant, stored) for stored in (candidate.artifact, candidate.reference)]
        for candidate in candidates
    ]
    leaks = dict(zip(candidates, look.find(files, document), strict=True))
    held = {f"{one.rung}/{one.name}": columns for one, columns in leaks.items() if columns}
    if held:
        open_leak(incidents, tenant, trained.use_case, trained.as_of, held)
    return {
        candidate: reason(f"{candidate.rung}/{candidate.name}", columns, look.fewest)
        for candidate, columns in leaks.items()
        if columns
    }


def _without(evidence: Evidence, refused: Mapping[Candidate, str]) -> Evidence:
    """The evidence on the other candidates, and a note on each that is left out."""
    keys = {(candidate.rung, candidate.name, candidate.artifact.digest) for candidate in refused}
    kept = (c for c in evidence.candidates if (c.rung, c.name, c.digest) not in keys)
    notes = (why for why in refused.values() if why)
    return replace(evidence, candidates=tuple(kept), notes=(*evidence.notes, *notes))


def _decision(evidence: Evidence, serving: Promotion | None) -> PromotionDecision:
    """The decision on the evidence; nothing is promoted where its incumbent no longer serves."""
    judged = evidence.incumbent
    if judged is not None and (serving is None or serving.digest != judged.digest):
        now = f"version {serving.version}" if serving else "nothing"
        reason = (
            f"The candidates were compared with an incumbent that no longer serves ({now} does), "
            "so nothing is promoted; the next training compares again."
        )
        return PromotionDecision(None, (*evidence.notes, reason))
    return decide_promotion(evidence)


def _winner(trained: Trained, decision: PromotionDecision) -> Candidate | None:
    chosen = decision.chosen
    if chosen is None:
        return None
    for candidate in trained.candidates:
        if (candidate.rung, candidate.name, candidate.artifact.digest) == (
            chosen.rung,
            chosen.name,
            chosen.digest,
        ):
            return candidate
    names = [f"{c.rung}/{c.name}" for c in trained.candidates]
    raise UnknownNameError("candidate", chosen.key, names, f"{trained.tenant}/{trained.use_case}")


def _runner_up(
    tenant: TenantRef,
    trained: Trained,
    taken: set[Candidate | None],
    serving: Promotion | None,
) -> Candidate | None:
    """The best model of the tenant's own making that does not serve, if one was trained."""
    rung = "global" if is_global(tenant.id) else "own"
    lost = [
        candidate
        for candidate in trained.candidates
        if candidate.rung == rung
        and candidate not in taken
        and (serving is None or candidate.artifact.digest != serving.digest)
    ]
    return min(lost, key=lambda c: (math.isnan(c.metric), -c.metric), default=None)
