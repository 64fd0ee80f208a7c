"""A candidate of a training as a version to be registered, with the figures it was judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from include.handoffs import Candidate, Trained
from include.models.serialise import from_bytes
from include.registry.card import judged
from include.registry.port import NewVersion
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

#: Parts of the evaluation that are about all candidates, not about the one that is registered.
_NOT_LINEAGE: Final = (*("evidence", "models", "secondary_comparisons", "catalogue", "suspicions"),)


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
    """A candidate as a version to be registered, with its figures from the training's evaluation.

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


def figures_of(winner: Candidate, document: Mapping[str, Any]) -> dict[str, Any]:
    """The champion's metric, interval and swing, which monitoring holds later figures against.

    The swing from window to window is there so that a single later window can be judged.
    """
    measured = document["models"][f"{winner.rung}/{winner.name}"]
    figures = {"value": winner.metric, "low": winner.metric_low, "high": winner.metric_high}
    return {**figures, "swing": measured.get("swing")}
