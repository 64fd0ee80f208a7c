"""What each stage does: a function of a `Run` and of earlier handoffs. No Airflow in here.

Airflow's operators and `tenantry run` call `execute` with the same `Run`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from inspect import Parameter, signature
from pkgutil import resolve_name
from typing import Any

from include import wiring
from include.errors import ConfigError
from include.features import stage as features_stage
from include.features.inputs import read
from include.features.online import stage as online_stage
from include.handoffs import (
    Checked,
    FeaturesBuilt,
    Ingested,
    LostDays,
    Materialized,
    Monitored,
    Registered,
    Replayed,
    Scored,
    Trained,
)
from include.ingestion import stage as ingestion_stage
from include.models.contributors import Contributors
from include.models.model import row_scores
from include.monitoring import skew as skew_stage
from include.monitoring import stage as monitoring_stage
from include.monitoring.skew_online import OnlineVectors
from include.pipeline import (
    automatic_rollback,
    consent,
    experiments,
    live_evidence,
    lookback,
    losses,
    retrain_outcome,
    serving,
    translate,
    when_to_train,
)
from include.pipeline.neighbours import readable
from include.pipeline.runs import GlobalRun, Run
from include.pipeline.stages import Stage
from include.quality import inspection
from include.registry import stage as registry_stage
from include.registry.leaks import Look, ordinary
from include.scoring import stage as scoring_stage
from include.stage_runs import StageRun, scored_before
from include.storage import audit, ownership
from include.storage.scratch import sweep
from include.training import stage as training_stage
from include.training.told import told
from include.use_cases.declaration import TOP
from include.use_cases.losses import of_labels
from include.use_cases.spines import event_columns, scoring_spine
from include.wall_clock import PLATFORM, local

log = logging.getLogger(__name__)


def execute(stage: Stage, run: Run, received: Mapping[str, Any]) -> Any:
    """Run one stage of a tenant and keep its handoff, if any, in the registry of runs.

    Args:
        received: stage → the handoff that it left in this run.

    Raises:
        ConfigError: a stage that this one needs left none.
    """
    at = local(run.as_of, run.tenant.timezone)
    log.info("%s: %s %s at %s", stage.name, run.tenant.id, run.use_case_name, at)
    sweep(run.tenant.id)  # what a killed task has left of this tenant's rows
    with ownership.at_work(run.tenant.id):
        ownership.check_again(run.tenant)  # it may have been moved since the run was opened
        handoff = _call(stage, run, received)
        if handoff is not None:
            _record(run, stage, handoff)
    return handoff


def execute_global(stage: Stage, run: GlobalRun, received: Mapping[str, Any]) -> Any:
    """Run one stage of a global model and keep its handoff likewise."""
    at = local(run.as_of, PLATFORM)
    log.info("%s: %s %s at %s", stage.name, run.owner.id, run.use_case.name, at)
    sweep(run.owner.id)
    with ownership.at_work(*(one.id for one in run.consenting)):
        handoff = _call(stage, run, received)
        _record(run, stage, handoff)
    return handoff


def _record(run: Run | GlobalRun, stage: Stage, handoff: Any) -> None:
    """Keep what the stage left; a global run has an instant and no interval."""
    start = run.interval.start if isinstance(run, Run) else run.as_of
    done = StageRun(run.use_case_name, stage.name, start, run.as_of, handoff)
    run.platform.stores.stage_runs.record(run.owner, done)


def _call(stage: Stage, run: Run | GlobalRun, received: Mapping[str, Any]) -> Any:
    function = resolve_name(stage.path)
    handoffs = {name: received[name] for name in stage.reads if name in received}
    needed = [name for name in stage.reads if name not in handoffs]
    parameters = signature(function).parameters
    for name in needed:
        if parameters[name].default is Parameter.empty:
            raise ConfigError(f"stage {name!r} left nothing for {stage.name!r}; run it first")
    return function(run, **handoffs)


def ingestion(run: Run) -> Ingested:
    """Sources → landing tables."""
    return ingestion_stage.ingest(
        run.tenant,
        run.interval,
        lake=run.platform.lake,
        slices=run.platform.stores.slices,
        connect=run.platform.connect,
        pii_secret=run.platform.pii_secret,
    )


def quality(run: Run, ingestion: Ingested) -> Checked:
    """Landing tables → the tables everything else reads."""
    return inspection.check(
        run.tenant,
        ingestion,
        [translate.data_needs(use_case) for use_case in translate.use_cases_of(run.tenant)],
        delivered=translate.delivered(run.platform.stores.slices.recorded(run.tenant.ref)),
        lake=run.platform.lake,
        checks=run.platform.stores.checks,
        incidents=run.platform.stores.incidents,
    )


def materialization(run: Run, quality: Checked) -> Materialized:
    """The online store, brought up to the interval's end; a no-op if it is there already."""
    return online_stage.materialize(
        run.tenant,
        translate.online_views(run.tenant),
        events=quality.events,
        attributes=quality.attributes,
        until=run.as_of,
        lake=run.platform.lake,
        online=run.platform.stores.online,
    )


def features(run: Run, quality: Checked | None = None) -> FeaturesBuilt:
    """Point-in-time features of the active entities, and whether training is due."""
    use_case, lake, ref = run.the_use_case(), run.platform.lake, run.tenant.ref
    if run.trigger == "drift":
        run.platform.stores.retrains.mark_triggered(ref, use_case.name, run.as_of, run.run_id)
    elif run.trigger == "manual":
        asked = {"use_case": use_case.name, "as_of": run.as_of.isoformat(), "run": run.run_id}
        audit.record(ref, "retrain by hand", asked | {"reason": run.reason}, run.by, once=True)
    events = quality.events if quality else lake.version(ref, "events")
    attributes = quality.attributes if quality else lake.version(ref, "attributes")
    inputs = read(
        run.tenant,
        use_case.features,
        events=events,
        attributes=attributes,
        known_at=run.as_of,
        lake=lake,
        also=event_columns(use_case),
    )
    catalogue = serving.shared_catalogue(run, inputs.events, attributes)
    spine = scoring_spine(use_case, inputs.events, run.as_of, run.interval.start, catalogue)
    built = features_stage.build(
        use_case.name,
        use_case.features,
        spine,
        inputs,
        as_of=run.as_of,
        lake=lake,
        request=use_case.request,
    )
    lost = losses.of_run(run)
    due = when_to_train.training_due(run, events, data_loss=bool(losses.in_interval(run, lost)))
    return FeaturesBuilt(
        tenant=run.tenant.id,
        use_case=use_case.name,
        as_of=run.as_of,
        features=built,
        feature_fingerprint=use_case.fingerprint,
        events=events,
        attributes=attributes,
        training_due=due.due,
        training_reason=due.reason,
        catalogue=catalogue,
        lost=of_labels(use_case, run.tenant, lost),
    )


def training(run: Run, features: FeaturesBuilt) -> Trained:
    """Candidates, measured on the same later time window."""
    decided = when_to_train.decided_training(run)
    if decided is not None:
        return decided
    use_case = run.the_use_case()
    return training_stage.train(
        run.tenant,
        use_case,
        features,
        lake=run.platform.lake,
        incumbent=serving.in_force(run.platform, run.tenant.ref, use_case.name, run.as_of),
        global_champion=serving.in_force(run.platform, run.tenant.pool, use_case.name, run.as_of),
        trigger=run.trigger,
        code_revision=wiring.code_revision(),
        logs=scored_before(run.platform.stores.stage_runs, run.owner, run.use_case_name, run.as_of),
    )


def registry(run: Run, training: Trained) -> Registered:
    """The decision, and the version that serves from now on."""
    return registry_stage.register(
        run.tenant.ref,
        training,
        registry=run.platform.registry,
        promotions=run.platform.stores.promotions,
        incidents=run.platform.stores.incidents,
        lake=run.platform.lake,
        feature_fingerprint=run.the_use_case().fingerprint,
        by=run.by,
    )


def scoring(run: Run, features: FeaturesBuilt) -> Scored:
    """Predictions of the interval."""
    use_case = run.the_use_case()
    consent.before_scoring(run)
    return scoring_stage.score(
        run.tenant.ref,
        features,
        use_case.task,
        TOP,
        registry=run.platform.registry,
        promotions=run.platform.stores.promotions,
        experiments=run.platform.stores.experiments,
        predictions=run.platform.stores.predictions,
        lake=run.platform.lake,
        entity=use_case.entity,
        baseline=translate.shown_baseline(use_case),
        reasons=use_case.reasons,
        beside=use_case.details,
        item_groups=use_case.exposure.group if use_case.exposure else "",
        parity=run.tenant.use_cases[use_case.name].exposure_parity,
    )


def monitoring(run: Run, scoring: Scored) -> Monitored:
    """Drift verdict and retrain decision, after measuring predictions whose labels matured."""
    use_case, ref = run.the_use_case(), run.tenant.ref
    lost = losses.of_run(run)
    data_loss = bool(losses.in_interval(run, lost))
    if not data_loss:  # without data everybody seems to have stayed away
        live_evidence.measure_matured(run, scoring, lost)
        experiments.look(run, scoring, lost)
    champion = scores = past = maturity = model = None
    reference: dict[datetime, tuple[LostDays, ...]] = {}
    if scoring.version:  # judged is what was scored, whatever has come to serve since
        version, model = serving.version(run.platform, ref, use_case.name, scoring.version)
        champion = live_evidence.champion(run, version)
        instants, then = live_evidence.judged_on(run, version)
        known = losses.known_losses(use_case, run.tenant, then, lost)
        reference = dict.fromkeys(instants, known)
        vectors = run.platform.lake.get_table(ref, scoring.features)
        scores = row_scores(model, vectors, use_case.entity)
        past = lookback.past(run, scoring, model)
        maturity = lookback.maturity(run, scoring, model)
    monitored = monitoring_stage.monitor(
        run.tenant,
        scoring,
        losses.holding_back(
            translate.drift_policy(use_case, run.tenant, model),
            run,
            lost,
            reference,
            use_case.columns,
        ),
        champion=champion,
        keys=use_case.keys,
        data_loss=data_loss,
        lake=run.platform.lake,
        promotions=run.platform.stores.promotions,
        retrains=run.platform.stores.retrains,
        drift=run.platform.stores.drift,
        predictions=run.platform.stores.predictions,
        live_metrics=run.platform.stores.live_metrics,
        scores=scores,
        report=run.report,
        past=past,
        maturity=maturity,
        since=run.interval.start,
    )
    if not data_loss:
        automatic_rollback.roll_back_decayed(run)
    return monitored


def skew(run: Run, scoring: Scored) -> Replayed | None:
    """Vectors that were scored, computed again from the lake as it is now; of most windows none."""
    use_case, lake = run.the_use_case(), run.platform.lake
    if not skew_stage.is_drawn(run.tenant.id, use_case.name, run.as_of):
        return None
    # Events were looked at when they happened; the online store stands at the interval's end.
    store = run.platform.stores.online
    online = None if use_case.request else OnlineVectors(run.tenant, use_case.features, store)
    return skew_stage.replay(
        run.tenant,
        use_case.features,
        scoring,
        scored_before(run.platform.stores.stage_runs, run.owner, run.use_case_name, run.as_of),
        seed=use_case.seed,
        lake=lake,
        findings=run.platform.stores.skew,
        online=online,
        fingerprint=use_case.fingerprint,
    )


def outcome(
    run: Run, features: FeaturesBuilt | None = None, registry: Registered | None = None
) -> Registered:
    """What a retrain came to, in the retrain ledger; one that failed half-way says so."""
    return retrain_outcome.record_outcome(run, features, registry)


def global_training(run: GlobalRun) -> Trained:
    """One model over the tenants that consented, measured on each of them.

    What was made of the data of one that withdrew its consent is withdrawn first, so that it is
    neither the incumbent nor stands for this training.
    """
    run = consent.before_training(run)
    decided = when_to_train.decided_training(run)
    if decided is not None:
        return decided
    lake, incidents = run.platform.lake, run.platform.stores.incidents
    members = readable(run.members, ("events", "attributes"), lake, run.as_of, incidents)
    return training_stage.train_global(
        run.use_case,
        members,
        run.as_of,
        lake=lake,
        left_out=len(run.members) - len(members),
        lost={
            one.id: of_labels(run.use_case, one, losses.lost_days(incidents, one, run.as_of))
            for one in members
        },
        incumbent=serving.in_force(run.platform, run.owner, run.use_case.name, run.as_of),
        trigger=run.trigger,
        code_revision=wiring.code_revision(),
        owner=run.owner,
    )


def global_registry(run: GlobalRun, training: Trained) -> Registered:
    """The decision about the global model."""
    promotions = run.platform.stores.promotions
    if promotions.find(run.owner, run.use_case_name, training.as_of, training.trigger) is None:
        consent.check_training(run, training)
    return registry_stage.register(
        run.owner,
        training,
        registry=run.platform.registry,
        promotions=promotions,
        incidents=run.platform.stores.incidents,
        lake=run.platform.lake,
        feature_fingerprint=run.use_case.fingerprint,
        look=_look(run),
    )


def _look(run: GlobalRun) -> Look:
    """What a model of many tenants is looked through for before it can be theirs."""
    use_case, tenants = run.use_case, {one.id: one.ref for one in run.consenting}
    return Look(
        lambda document: told(document, tenants, run.as_of, run.platform.lake),
        ordinary(use_case, tuple(use_case.feature_columns), tuple(tenants)),
        use_case.keys,
        Contributors().tenants,
    )
