"""How Airflow runs a stage: read references, call one step, return a handoff."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator

from include.handoffs import instant, pack, unpack
from include.tenants.namespace import GLOBAL, split_dag_id

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom key of a handoff. Not `return_value`, which a branch needs for its own answer.
HANDOFF: Final = "handoff"

#: How ids of the retrain runs begin that `drift_watch` triggers.
DRIFT_RUN: Final = "drift__"

#: The handoffs a stage reads. One that was skipped, or is not in the DAG, reads as None.
READS: Final = {
    "ingestion": (),
    "quality": ("ingestion",),
    "materialization": ("quality",),
    "features": ("quality",),
    "training": ("features",),
    "registry": ("features", "training"),
    "scoring": ("features",),
    "monitoring": ("quality", "scoring"),
    "skew": ("scoring",),
    "outcome": ("features", "registry"),
}


class StageOperator(BaseOperator):
    """One stage of one tenant, and of one use case where the stage has one."""

    ui_color = "#e8f4ec"

    def __init__(self, *, stage: str, use_case: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.use_case = use_case

    def execute(self, context: Context) -> None:
        """Run the stage and hand its result on."""
        _run_stage(self, context)


class RetentionOperator(BaseOperator):
    """Forgets, for every tenant, what its retention says is too old."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Returns the tenants of which something was forgotten."""
        from include.pipeline.steps import expire_all

        at = _interval(context)[1]
        done = [asdict(one) for one in expire_all(at)]
        for one in done:
            self.log.info("retention: %s", one)
        return [one for one in done if any(v for k, v in one.items() if k != "tenant")]


class FeaturesOperator(BaseBranchOperator):
    """The features stage, which also says whether training is due in this run."""

    ui_color = "#e8f4ec"

    def __init__(self, *, use_case: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = "features"
        self.use_case = use_case

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Training when it is due, else straight to scoring; nothing where the run excludes it."""
        chosen = context["params"].get("use_cases")
        if chosen is not None and self.use_case and self.use_case not in chosen:
            return None
        built = _run_stage(self, context)
        if built.features.rows == 0:
            self.log.info("no active entity at %s: nothing to train on or to score", built.as_of)
            return None
        return _sibling(self.task_id, "training" if built.training_due else "scoring")


def _run_stage(operator: StageOperator | FeaturesOperator, context: Context) -> Any:
    from include.pipeline import runs, steps
    from include.pipeline.connections import through_airflow

    owner, kind = split_dag_id(context["dag"].dag_id)
    ti, params = context["ti"], context["params"]
    packed = {
        stage: ti.xcom_pull(task_ids=_sibling(operator.task_id, stage), key=HANDOFF)
        for stage in READS[operator.stage]
    }
    found = {stage: unpack(handoff) for stage, handoff in packed.items() if handoff is not None}
    shared: dict[str, Any] = {
        "received": found,
        "connect": through_airflow,
    }
    # The first task of a run settles an open `as_of`; the others follow it.
    settled = [handoff.as_of for handoff in found.values() if hasattr(handoff, "as_of")]
    asked_for = instant(params["as_of"]) if params.get("as_of") else None
    as_of = settled[0] if settled else asked_for
    if owner == GLOBAL.id:
        run = runs.open_global(operator.use_case, as_of=as_of or _interval(context)[1], **shared)
        result = steps.execute_global(operator.stage, run)
    elif kind == "retrain":
        run_id = context["dag_run"].run_id
        result = steps.execute(
            operator.stage,
            runs.open_retrain(
                owner,
                params["use_case"],
                as_of=as_of,
                trigger="drift" if run_id.startswith(DRIFT_RUN) else "manual",
                run_id=run_id,
                **shared,
            ),
        )
    else:
        started, ended = _interval(context)
        result = steps.execute(
            operator.stage,
            runs.open_pipeline(
                owner,
                operator.use_case,
                start=started,
                end=ended,
                report=bool(params.get("report")),
                **shared,
            ),
        )
    ti.xcom_push(HANDOFF, pack(result))
    return result


def _interval(context: Context) -> tuple[datetime | None, datetime]:
    """The run's data interval; one without any ends when the run was to begin.

    Airflow's instants are pendulum's, which do not calculate as the standard library's do.
    """
    start = context.get("data_interval_start")
    end = context.get("data_interval_end") or context["dag_run"].run_after
    return start and _plain(start), _plain(end)


def _plain(at: datetime) -> datetime:
    return datetime.fromisoformat(at.isoformat()).astimezone(UTC)


def _sibling(task_id: str, stage: str) -> str:
    """Id of another stage: in the same group, but for those that come before all groups."""
    group, dot, _ = task_id.rpartition(".")
    return stage if stage in ("ingestion", "quality") else f"{group}{dot}{stage}"
