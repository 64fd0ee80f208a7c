"""How Airflow runs a stage: read references, call one step, return a handoff."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator

from include.tenants.namespace import split_dag_id

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom key of a handoff. Not `return_value`, which a branch needs for its own answer.
HANDOFF: Final = "handoff"

#: The handoffs a stage reads. One that was skipped, or is not in the DAG, reads as None.
READS: Final = {
    "ingestion": (),
    "quality": ("ingestion",),
    "features": ("quality",),
    "training": ("features",),
    "registry": ("features", "training"),
    "scoring": ("features",),
    "monitoring": ("quality", "scoring"),
    "outcome": (),
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
    from include.pipeline import connections, steps

    tenant_id, kind = split_dag_id(context["dag"].dag_id)
    params = context["params"]
    ti = context["ti"]
    received = {
        stage: ti.xcom_pull(task_ids=_sibling(operator.task_id, stage), key=HANDOFF)
        for stage in READS[operator.stage]
    }
    use_case = operator.use_case or params.get("use_case", "")
    open_run = steps.open_retrain if kind == "retrain" else steps.open_pipeline
    run = open_run(
        tenant_id,
        use_case,
        start=context.get("data_interval_start"),
        end=params.get("as_of") or context.get("data_interval_end"),
        reason=params.get("reason", ""),
        received={stage: handoff for stage, handoff in received.items() if handoff is not None},
        connect=connections.through_airflow,
    )
    result = steps.STEPS[operator.stage](run)
    ti.xcom_push(HANDOFF, result)
    return result


def _sibling(task_id: str, stage: str) -> str:
    """Id of another stage: in the same group, but for the two that come before all groups."""
    group, dot, _ = task_id.rpartition(".")
    return stage if stage in ("ingestion", "quality") else f"{group}{dot}{stage}"
