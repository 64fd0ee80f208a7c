"""What serves: versions with their models, and what stands in where a tenant has nothing yet."""

from __future__ import annotations

import json
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import TableVersion
from include.models.model import Model
from include.models.serialise import from_bytes
from include.pipeline.runs import Run
from include.registry import recorded
from include.registry.port import ModelVersion
from include.registry.withdrawal import lost_for_good
from include.stage_runs import newest_training
from include.tenants.namespace import TenantRef
from include.training.shared_catalogue import CATALOGUE, shown_to
from include.use_cases.declaration import TOP
from include.use_cases.spines import popular_items
from include.wiring import Platform


def in_force(
    platform: Platform, owner: TenantRef, use_case: str, as_of: datetime
) -> tuple[ModelVersion, Model] | None:
    """The version that serves at an instant, if one does.

    Raises:
        IntegrityError: it is not what the ledger promoted.
    """
    promotions = platform.stores.promotions
    champion = promotions.champion_at(owner, use_case, as_of)
    if champion is None:
        return None
    registered = recorded.promoted(owner, champion, platform.registry)
    if lost_for_good(registered, platform.registry, promotions):
        return None
    return registered, from_bytes(platform.registry.artifact(owner, registered))


def version(
    platform: Platform, owner: TenantRef, use_case: str, number: str
) -> tuple[ModelVersion, Model]:
    """A registered version.

    Raises:
        IntegrityError: it is not what the ledger knows under that number.
    """
    decided = platform.stores.promotions.history(owner, use_case)
    registered = recorded.registered(owner, use_case, number, platform.registry, decided)
    return registered, from_bytes(platform.registry.artifact(owner, registered))


def shared_catalogue(run: Run, events: pa.Table, attributes: TableVersion) -> tuple[str, ...]:
    """What sells at several others that consent, for a tenant that lately sold next to nothing.

    That of the newest global training, best first; of a tenant that says which items it has, only
    those. Empty for everybody else, and after somebody withdrew whose sales are in it: a catalogue
    without them would tell what they sold.
    """
    use_case = run.the_use_case()
    if use_case.items is None or not use_case.items.newcomers:
        return ()
    if len(popular_items(use_case, events, run.as_of)) >= TOP:
        return ()
    owner = run.tenant.pool
    trained = newest_training(run.platform.stores.stage_runs, owner, use_case.name, run.as_of)
    if trained is None:
        return ()
    evaluation = json.loads(run.platform.lake.get(owner, trained.evaluation))
    if not {table["tenant"] for table in evaluation["tables"]} <= run.consenting(owner):
        return ()
    facts = run.platform.lake.read(
        run.tenant.ref,
        "attributes",
        version=attributes.version,
        columns=["entity", "entity_id"],
        known_at=run.as_of,
    )
    has = set(facts.filter(pc.equal(facts["entity"], "item"))["entity_id"].to_pylist())
    shown = shown_to(run.tenant.id, evaluation.get(CATALOGUE), use_case.items.popular)
    return tuple(item for item in shown if item in has or not has)
