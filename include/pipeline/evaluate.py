"""Where earlier decisions meet later facts: matured labels, and what a retrain came to."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import IntegrityError, TenantryError
from include.handoffs import Registered, Scored, StoredObject
from include.monitoring import ledger, live
from include.monitoring.stage import Champion
from include.pipeline.lookback import settle_effects
from include.pipeline.runs import Run
from include.registry import ledger as promotions
from include.registry.port import ModelVersion
from include.storage.canonical import TIMESTAMP
from include.storage.postgres import tenant_transaction
from include.use_cases.declaration import UseCase
from include.use_cases.spines import (
    EVENT_COLUMNS,
    labels,
    request_spine,
    wanted_in_baskets,
    wanted_pairs,
)


def champion(run: Run, version: ModelVersion) -> Champion:
    """What the version was judged on when it was promoted."""
    use_case = run.the_use_case()
    decided = promotions.history(run.tenant.ref, use_case.name)
    told = [one for one in decided if one.promoted and one.version == version.version]
    promoted = told[-1] if told else None
    figures = dict(promoted.evidence.get("champion") or {}) if promoted else {}
    known = all(figures.get(name) is not None for name in ("value", "low", "high"))
    return Champion(
        version=version.version,
        as_of=version.as_of,
        reference=lambda: pq.read_table(
            pa.BufferReader(run.platform.registry.reference(run.tenant.ref, version))
        ),
        metric=use_case.metric if known else "",
        value=figures["value"] if known else math.nan,
        low=figures["low"] if known else math.nan,
        high=figures["high"] if known else math.nan,
        outcome_rate=_outcome_rate(run, promoted) if promoted else math.nan,
    )


def _outcome_rate(run: Run, promoted: promotions.Promotion) -> float:
    """How often the outcome came in the window the champion was judged on.

    NaN where its scores are no probabilities, and where retention has taken the evaluation.
    """
    kept = promoted.evidence.get("evaluation")
    if run.the_use_case().task != "classification" or promoted.rung == "baseline" or not kept:
        return math.nan
    try:
        stored = StoredObject(run.tenant.id, kept["path"], kept["digest"], 0)
        rows = json.loads(run.platform.lake.get(run.tenant.ref, stored))["rows"]
    except IntegrityError:
        return math.nan
    return rows["holdout_positives"] / rows["holdout"] if rows["holdout"] else math.nan


def measure_matured(run: Run, scored: Scored) -> None:
    """Store the live metric of every earlier instant whose labels are known by now."""
    use_case, ref = run.the_use_case(), run.tenant.ref
    metric = use_case.metric
    waiting = live.awaiting_labels(ref, use_case.name, use_case.label.horizon, run.as_of, metric)
    if not waiting:
        return
    events = run.platform.lake.read(
        ref,
        "events",
        version=scored.events.version,
        columns=list(EVENT_COLUMNS),
        known_at=run.as_of,
    )
    for as_of in waiting:
        if use_case.task in ("ranking", "association"):
            in_baskets = use_case.task == "association"
            told = wanted_in_baskets if in_baskets else wanted_pairs
            found = told(use_case, events, as_of, run.as_of)
            truth = found.append_column("label", pa.repeat(pa.scalar(1, pa.int8()), len(found)))
        else:
            spine = _scored_entities(run, as_of)
            if use_case.request:
                spine = scored_events(use_case, events, spine, as_of)
            label = labels(use_case, events, spine, run.as_of)
            truth = spine.select([use_case.entity, "as_of"]).append_column("label", label)
        live.measure_live(
            ref, use_case.name, truth, metric=metric, as_of=as_of, measured_as_of=run.as_of
        )
        settle_effects(run, truth, as_of)


def record_outcome(run: Run) -> Registered:
    """Close the retrain request of this run with what was decided.

    Raises:
        TenantryError: the retrain ended without a decision; recorded as failed.
    """
    use_case = run.the_use_case()
    ref = run.tenant.ref
    decided = promotions.find(ref, use_case.name, run.as_of, run.trigger)
    if decided is None:
        ledger.finish(ref, use_case.name, run.as_of, "failed")
        raise TenantryError(
            f"the retrain of {run.tenant.id}/{use_case.name} as of {run.as_of} ended without a "
            "decision; its failed task's log says why"
        )
    before, after = _before_and_after(decided)
    ledger.finish(
        ref,
        use_case.name,
        run.as_of,
        "promoted" if decided.promoted else "kept",
        before=before,
        after=after,
        details={"version": decided.version, "reasons": list(decided.reasons)},
    )
    return run.take(Registered, "registry")


def _before_and_after(decided: promotions.Promotion) -> tuple[float | None, float | None]:
    """Metric of the old and of the new champion on the same later window."""
    evidence: dict[str, Any] = dict(decided.evidence)
    incumbent = evidence.get("incumbent") or {}
    measured = [*evidence["candidates"], *([incumbent] if incumbent else [])]
    after = [one["value"] for one in measured if one["digest"] == decided.digest]
    return incumbent.get("value"), next((value for value in after if value is not None), None)


def scored_events(
    use_case: UseCase, events: pa.Table, scored: pa.Table, as_of: datetime
) -> pa.Table:
    """The scored rows with the keys of their events and at the instants of these."""
    start = as_of - use_case.active_window
    rows = request_spine(use_case, events, start, as_of, as_of)
    ours = pc.is_in(rows[use_case.entity], value_set=scored[use_case.entity].combine_chunks())
    return rows.filter(ours)


def _scored_entities(run: Run, as_of: Any) -> pa.Table:
    use_case = run.the_use_case()
    with tenant_transaction(run.tenant.ref) as connection:
        rows = connection.execute(
            "SELECT entity_id FROM predictions "
            "WHERE tenant_id = %s AND use_case = %s AND as_of = %s ORDER BY entity_id",
            [run.tenant.id, use_case.name, as_of],
        ).fetchall()
    entities = pa.array([row["entity_id"] for row in rows], pa.string())
    instants = pa.repeat(pa.scalar(as_of, TIMESTAMP), len(entities))
    return pa.table([entities, instants], [use_case.entity, "as_of"])
