"""The stages in flow order, each a function from a `Run` to a handoff. No Airflow in here.

Airflow's operators and `tenantry run` call `execute` with the same `Run`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from include import ingestion as ingestion_stage
from include import monitoring as monitoring_stage
from include import quality as quality_stage
from include import wiring
from include.errors import TenantryError
from include.features import stage as features_stage
from include.handoffs import (
    Checked,
    FeaturesBuilt,
    Ingested,
    Monitored,
    Registered,
    Scored,
    Trained,
)
from include.monitoring import ledger as retrain_ledger
from include.pipeline import history, translate
from include.pipeline.runs import GlobalRun, Run
from include.registry import ledger as promotions
from include.registry import stage as registry_stage
from include.registry.model import Model
from include.registry.port import ModelVersion
from include.registry.serialise import from_bytes
from include.scoring import stage as scoring_stage
from include.tenants.namespace import GLOBAL, TenantRef
from include.training import stage as training_stage
from include.use_cases.declaration import TOP
from include.use_cases.spines import EVENT_COLUMNS, labels, scoring_spine

log = logging.getLogger(__name__)


def execute(stage: str, run: Run) -> Any:
    """Run one stage of a tenant and keep its handoff in the registry of runs."""
    log.info("%s: %s %s at %s", stage, run.tenant.id, run.use_case_name, run.as_of)
    handoff = STEPS[stage](run)
    history.record(run, stage, handoff)
    return handoff


def execute_global(stage: str, run: GlobalRun) -> Any:
    """Run one stage of a global model."""
    log.info("%s: global %s at %s", stage, run.use_case.name, run.as_of)
    return GLOBAL_STEPS[stage](run)


def ingestion(run: Run) -> Ingested:
    """Sources → landing tables."""
    return ingestion_stage.ingest(
        run.tenant, run.interval, lake=run.platform.lake, connect=run.platform.connect
    )


def quality(run: Run) -> Checked:
    """Landing tables → the tables everything else reads."""
    return quality_stage.check(
        run.tenant,
        run.take(Ingested, "ingestion"),
        [translate.data_needs(use_case) for use_case in translate.use_cases_of(run.tenant)],
        lake=run.platform.lake,
    )


def features(run: Run) -> FeaturesBuilt:
    """Point-in-time features of the active entities, and whether training is due."""
    use_case, lake, ref = run.the_use_case(), run.platform.lake, run.tenant.ref
    checked = run.received.get("quality")
    events = checked.events if checked else lake.version(ref, "events")
    attributes = checked.attributes if checked else lake.version(ref, "attributes")
    known = lake.read(
        ref, "events", version=events.version, columns=list(EVENT_COLUMNS), known_at=run.as_of
    )
    built = features_stage.build(
        run.tenant,
        use_case.name,
        use_case.features,
        scoring_spine(use_case, known, run.as_of),
        as_of=run.as_of,
        events=events,
        attributes=attributes,
        lake=lake,
    )
    due = history.training_due(run, events)
    return FeaturesBuilt(
        tenant=run.tenant.id,
        use_case=use_case.name,
        as_of=run.as_of,
        features=built,
        feature_fingerprint=use_case.features.fingerprint,
        events=events,
        attributes=attributes,
        training_due=due.due,
        training_reason=due.reason,
    )


def training(run: Run) -> Trained:
    """Candidates, measured on the same later time window."""
    use_case = run.the_use_case()
    return training_stage.train(
        run.tenant,
        use_case,
        run.take(FeaturesBuilt, "features"),
        lake=run.platform.lake,
        incumbent=_serving(run.platform, run.tenant.ref, use_case.name, run),
        global_champion=_serving(run.platform, GLOBAL, use_case.name, run),
        trigger=run.trigger,
        code_revision=wiring.code_revision(),
    )


def registry(run: Run) -> Registered:
    """The decision, and the version that serves from now on."""
    return registry_stage.register(
        run.tenant.ref,
        run.take(Trained, "training"),
        registry=run.platform.registry,
        lake=run.platform.lake,
        feature_fingerprint=run.the_use_case().features.fingerprint,
    )


def scoring(run: Run) -> Scored:
    """Predictions of the interval."""
    use_case = run.the_use_case()
    return scoring_stage.score(
        run.tenant.ref,
        run.take(FeaturesBuilt, "features"),
        use_case.task,
        TOP,
        registry=run.platform.registry,
        lake=run.platform.lake,
        baseline=translate.shown_baseline(use_case),
    )


def monitoring(run: Run) -> Monitored:
    """Drift verdict, retrain decision, and live metrics of predictions whose labels matured."""
    raise NotImplementedError


def outcome(run: Run) -> None:
    """What a triggered retrain came to, in the retrain ledger."""
    raise NotImplementedError


def _serving(
    platform: wiring.Platform, tenant: TenantRef, use_case: str, run: Run | GlobalRun
) -> tuple[ModelVersion, Model] | None:
    """The version in force at the run's instant, with its model; digest checked."""
    found = promotions.champion_at(tenant, use_case, run.as_of)
    if found is None:
        return None
    version = platform.registry.get(tenant, use_case, found.version)
    return version, from_bytes(platform.registry.artifact(tenant, version))


STEPS: Final[Mapping[str, Callable[[Run], Any]]] = {
    "ingestion": ingestion,
    "quality": quality,
    "features": features,
    "training": training,
    "registry": registry,
    "scoring": scoring,
    "monitoring": monitoring,
    "outcome": outcome,
}
