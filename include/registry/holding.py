"""Candidates that wait for an answer to suspected target leakage, and who is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.handoffs import Candidate, Trained
from include.incidents import Incidents
from include.registry.incidents import close_suspicion, open_suspicion, suspected
from include.registry.new_versions import figures_of
from include.registry.port import ModelVersion
from include.registry.promotions import Promotion
from include.registry.suspicions import HELD, Standing, Suspicion, held_back, of_document, standing
from include.tenants.namespace import TenantRef, is_global


def suspicions_of(
    tenant: TenantRef, trained: Trained, document: Mapping[str, Any], incidents: Incidents
) -> Standing:
    """The training's suspicions of target leakage that nobody has dismissed."""
    suspicions = of_document(document)
    if not suspicions:
        return Standing((), ())
    answers = [v for one in suspected(incidents, tenant, trained.use_case) for v in one.verdicts]
    return standing(suspicions, sorted(answers, key=lambda verdict: verdict.at))


def candidates_held(
    tenant: TenantRef,
    trained: Trained,
    suspicions: Sequence[Suspicion],
    refused: Mapping[Candidate, str],
    serving: Promotion | None,
) -> Mapping[Candidate, str]:
    """The candidates that wait for somebody's answer, each with an empty note."""
    considered = {f"{one.rung}/{one.name}": one for one in trained.candidates if one not in refused}
    fitted = "global" if is_global(tenant.id) else "own"
    keys = held_back(tuple(considered), suspicions, fitted=fitted, serves=serving is not None)
    return {considered[key]: "" for key in sorted(keys)}


def tell(
    tenant: TenantRef,
    trained: Trained,
    suspicions: Standing,
    waiting: ModelVersion | None,
    incidents: Incidents,
) -> None:
    """Open the incident or bring it up to date; close incidents whose suspicions are gone."""
    before = [
        incident
        for incident in suspected(incidents, tenant, trained.use_case)
        if incident.closed_at is None
    ]
    if suspicions.new:
        as_of = before[-1].as_of if before else trained.as_of
        version = waiting.version if waiting else ""
        open_suspicion(incidents, tenant, trained.use_case, as_of, suspicions.new, version)
    for incident in before:
        if not suspicions.new and incident.as_of <= trained.as_of:
            close_suspicion(incidents, tenant, trained.use_case, incident.as_of)


def waiting_facts(
    candidate: Candidate, version: ModelVersion, document: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts that promote the version that is held back, should somebody release it."""
    return {
        HELD: {
            "version": version.version,
            "rung": version.rung,
            "name": version.name,
            "digest": version.digest,
            "parent_version": version.parent_version,
            "reference_digest": version.reference_digest,
            "champion": figures_of(candidate, document),
        }
    }
