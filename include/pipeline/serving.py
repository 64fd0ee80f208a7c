"""What serves: versions with their models, and what stands in where a tenant has nothing yet."""

from __future__ import annotations

import json
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import TableVersion
from include.models.model import Model
from include.models.serialise import from_bytes
from include.pipeline.history import newest_training
from include.pipeline.runs import Run
from include.registry import ledger
from include.registry.port import ModelVersion
from include.tenants.namespace import GLOBAL, TenantRef
from include.training.catalogue import CATALOGUE
from include.use_cases.declaration import TOP
from include.use_cases.spines import popular_items
from include.wiring import Platform


def in_force(
    platform: Platform, owner: TenantRef, use_case: str, as_of: datetime
) -> tuple[ModelVersion, Model] | None:
    """The version that serves at an instant, if one does; its digest was checked."""
    found = ledger.champion_at(owner, use_case, as_of)
    return None if found is None else version(platform, owner, use_case, found.version)


def version(
    platform: Platform, owner: TenantRef, use_case: str, number: str
) -> tuple[ModelVersion, Model]:
    """A registered version; its digest was checked."""
    registered = platform.registry.get(owner, use_case, number)
    return registered, from_bytes(platform.registry.artifact(owner, registered))


def shared_catalogue(run: Run, events: pa.Table, attributes: TableVersion) -> tuple[str, ...]:
    """What sells at several consenting tenants, for a tenant that lately sold next to nothing.

    That of the newest global training, best first; of a tenant that says which items it has, only
    those. Empty for everybody else.
    """
    use_case = run.the_use_case()
    if use_case.items is None or not use_case.items.newcomers:
        return ()
    if len(popular_items(use_case, events, run.as_of)) >= TOP:
        return ()
    trained = newest_training(GLOBAL, use_case.name, run.as_of)
    if trained is None:
        return ()
    evaluation = json.loads(run.platform.lake.get(GLOBAL, trained.evaluation))
    facts = run.platform.lake.read(
        run.tenant.ref,
        "attributes",
        version=attributes.version,
        columns=["entity", "entity_id"],
        known_at=run.as_of,
    )
    has = set(facts.filter(pc.equal(facts["entity"], "item"))["entity_id"].to_pylist())
    return tuple(item for item in evaluation.get(CATALOGUE, ()) if item in has or not has)
