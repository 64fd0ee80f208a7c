"""Whether the version that serves still holds what it promised, and back to another if not."""

from __future__ import annotations

from include.monitoring.verdicts import ERROR_SUFFIX
from include.pipeline import translate
from include.pipeline.fallback import best_baseline
from include.pipeline.runs import Run
from include.registry import ledger
from include.registry.decay import RollbackFacts, roll_back_if_decayed
from include.registry.ledger import Promotion
from include.storage.postgres import tenant_transaction

_LIVE = """
    SELECT m.as_of, m.value, m.baseline, m.labels, e.value AS error
    FROM live_metrics m JOIN live_metrics e
    ON (e.tenant_id, e.use_case, e.as_of) = (m.tenant_id, m.use_case, m.as_of)
    AND e.metric = m.metric || %s
    WHERE m.tenant_id = %s AND m.use_case = %s AND m.metric = %s AND m.model_version = %s
    AND m.measured_as_of <= %s AND m.value IS NOT NULL AND e.value IS NOT NULL
    ORDER BY m.as_of DESC LIMIT 1
"""


def roll_back_decayed(run: Run) -> Promotion | None:
    """The rollback from the interval's end on, where the newest matured labels call for it.

    What the interval was scored with stays until it is scored again, as after a rollback by hand.
    """
    use_case, ref = run.the_use_case(), run.tenant.ref
    serving = ledger.champion_at(ref, use_case.name, run.as_of)
    if serving is None:
        return None
    with tenant_transaction(ref) as connection:
        found = connection.execute(
            _LIVE,
            [
                *(ERROR_SUFFIX, ref.id, use_case.name, use_case.metric, serving.version),
                run.as_of,
            ],
        ).fetchone()
    if found is None:
        return None
    policy = translate.drift_policy(use_case, run.tenant, None)
    promised = serving.evidence.get("champion") or {}
    facts = RollbackFacts(
        version=serving.version,
        rung=serving.rung,
        metric=use_case.metric,
        low=promised.get("low"),
        live=found["value"],
        live_error=found["error"],
        baseline=found["baseline"],
        labels=found["labels"],
        measured_at=found["as_of"],
        minimum_labels=policy.minimum_rows,
        tolerance=policy.performance_drop,
        error_rate=policy.error_rate,
    )
    return roll_back_if_decayed(
        ref,
        use_case.name,
        facts,
        as_of=run.as_of,
        registry=run.platform.registry,
        fallback=best_baseline,
    )
