"""The decision who serves, and its consequences, in an order that survives being killed anywhere.

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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from include.errors import IntegrityError, UnknownNameError
from include.handoffs import Candidate, Registered, Trained
from include.models.serialise import from_bytes
from include.registry import ledger
from include.registry.card import judged
from include.registry.decision import Evidence, PromotionDecision, decide_promotion
from include.registry.ledger import Promotion
from include.registry.lifecycle import challenges
from include.registry.port import CHALLENGER, CHAMPION, ModelVersion, NewVersion, Registry
from include.registry.withdrawal import Withdrawn
from include.storage.lake import Lake
from include.tenants.namespace import GLOBAL, TenantRef

log = logging.getLogger(__name__)

#: Parts of the evaluation that are about all candidates, not about the one that is registered.
_NOT_LINEAGE: Final = ("evidence", "models", "secondary_comparisons")


def register(
    tenant: TenantRef,
    trained: Trained,
    *,
    registry: Registry,
    lake: Lake,
    feature_fingerprint: str,
) -> Registered:
    """Decide once per training (as_of and trigger) which version serves, and record why.

    Args:
        feature_fingerprint: of the feature service the candidates were trained on.

    Raises:
        IntegrityError: a file is not what training wrote, or is no model.
        ConfigError: the evaluation holds no usable evidence.
    """
    if trained.tenant != tenant.id:
        raise IntegrityError(f"a training of {trained.tenant!r} was handed to {tenant.id!r}")
    with ledger.exclusive(tenant, trained.use_case):
        standing = ledger.find(tenant, trained.use_case, trained.as_of, trained.trigger)
        if standing is None:
            decided = _decide(tenant, trained, registry, lake, feature_fingerprint)
            standing = ledger.record(tenant, decided)
            log.info(
                "registry: %s/%s at %s: %s",
                *(tenant.id, trained.use_case, trained.as_of, " ".join(standing.reasons)),
            )
        follow_ledger(tenant, trained.use_case, registry)
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
    lake: Lake,
    feature_fingerprint: str,
) -> Promotion:
    """The decision, with every version it speaks of registered."""
    document = json.loads(lake.get(tenant, trained.evaluation))
    refused = _withdrawn(tenant, trained, registry)
    evidence = _without(Evidence.from_document(document), refused)
    serving = ledger.champion_at(tenant, trained.use_case, trained.as_of)
    if serving is not None:
        withstood = challenges(ledger.history(tenant, trained.use_case), serving.version)
        evidence = replace(evidence, challenges=withstood)
    decision = _decision(evidence, serving)

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
            "champion": None if winner is None else _figures(winner),
            "challenger": challenger.version if challenger else "",
            "training_rows": trained.training_rows,
            "holdout_rows": trained.holdout_rows,
            "evaluation": {"path": trained.evaluation.path, "digest": trained.evaluation.digest},
        },
    )


def promoted_from(tenant: TenantRef, version: ModelVersion, as_of: datetime) -> Promotion:
    """A promotion, not recorded, of a version that no training was decided for."""
    model = {"rung": version.rung, "name": version.name, "digest": version.digest, "value": None}
    return Promotion(
        tenant=tenant.id,
        use_case=version.use_case,
        as_of=as_of,
        trigger="",
        promoted=True,
        version=version.version,
        rung=version.rung,
        digest=version.digest,
        incumbent_version="",
        reasons=(),
        evidence={"metric": "", "candidates": [model], "incumbent": None, "champion": None},
    )


def _withdrawn(tenant: TenantRef, trained: Trained, registry: Registry) -> Mapping[Candidate, str]:
    """The candidates that must not serve, each with a sentence why."""
    gone = Withdrawn.of(tenant, trained.use_case)
    found = {}
    for one in trained.candidates:
        why = gone.why_model(one.artifact.digest, one.parent_version, registry)
        if why:
            found[one] = f"{one.rung}/{one.name} is not considered: {why}."
    return found


def _without(evidence: Evidence, refused: Mapping[Candidate, str]) -> Evidence:
    """The evidence on the other candidates, and a note on each that is left out."""
    keys = {(one.rung, one.name, one.artifact.digest) for one in refused}
    kept = (c for c in evidence.candidates if (c.rung, c.name, c.digest) not in keys)
    return replace(evidence, candidates=tuple(kept), notes=(*evidence.notes, *refused.values()))


def _figures(winner: Candidate) -> dict[str, float]:
    """The champion's metric and its interval, which monitoring holds later figures against."""
    return {"value": winner.metric, "low": winner.metric_low, "high": winner.metric_high}


def _decision(evidence: Evidence, serving: Promotion | None) -> PromotionDecision:
    """The decision on the evidence, unless it is about another incumbent than the one serving."""
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
    known = [f"{c.rung}/{c.name}" for c in trained.candidates]
    raise UnknownNameError("candidate", chosen.key, known, f"{trained.tenant}/{trained.use_case}")


def _runner_up(
    tenant: TenantRef,
    trained: Trained,
    taken: set[Candidate | None],
    serving: Promotion | None,
) -> Candidate | None:
    """The best model of the tenant's own making that does not serve, if one was trained."""
    rung = "global" if tenant == GLOBAL else "own"
    lost = [
        candidate
        for candidate in trained.candidates
        if candidate.rung == rung
        and candidate not in taken
        and (serving is None or candidate.artifact.digest != serving.digest)
    ]
    return min(lost, key=lambda c: (math.isnan(c.metric), -c.metric, c.name), default=None)


def new_version(
    tenant: TenantRef,
    trained: Trained,
    candidate: Candidate,
    document: Mapping[str, Any],
    *,
    lake: Lake,
    feature_fingerprint: str,
    decision: Sequence[str] = (),
) -> NewVersion:
    """A candidate as it is registered, with what its training's evaluation says of it.

    Args:
        document: the evaluation.
        decision: the reasons of the decision about its training, for the model card.

    Raises:
        IntegrityError: a file is not what training wrote, or is no model.
    """
    content = lake.get(tenant, candidate.artifact)
    model = from_bytes(content)  # what cannot be loaded must not be promoted
    training = f"{trained.as_of.isoformat()}/{trained.trigger}"
    key = f"{candidate.rung}/{candidate.name}"
    measured = document["models"][key]
    facts = {name: value for name, value in document.items() if name not in _NOT_LINEAGE}
    return NewVersion(
        key=f"{training}/{key}/{candidate.artifact.digest}",
        rung=candidate.rung,
        name=candidate.name,
        model=content,
        reference=lake.get(tenant, candidate.reference),
        parent_version=candidate.parent_version,
        as_of=trained.as_of,
        feature_fingerprint=feature_fingerprint,
        parameters=model.parameters,
        metrics={
            metric if figure == "value" else f"{metric}_{figure}": value
            for metric, estimate in measured["metrics"].items()
            for figure, value in estimate.items()
            if value is not None
        },
        lineage={**facts, "segments": measured["segments"]},
        judged=judged(key, document, decision),
    )


def follow_ledger(tenant: TenantRef, use_case: str, registry: Registry) -> None:
    """Move the aliases to the newest promotion and the newest challenger in the ledger.

    A decision about the past, taken by a backfill, therefore moves nothing that is newer.
    """
    champion = ledger.champion_at(tenant, use_case)
    wanted = {
        CHAMPION: champion.version if champion else "",
        CHALLENGER: ledger.challenger(tenant, use_case),
    }
    for name, version in wanted.items():
        current = registry.alias(tenant, use_case, name)
        if version and (current is None or current.version != version):
            registry.set_alias(tenant, use_case, name, version)
