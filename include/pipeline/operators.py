"""How Airflow runs a stage: read references, call one step, return a handoff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from include.handoffs import instant, pack, unpack
from include.pipeline.stages import (
    GLOBAL_STAGES,
    OF_A_TENANT,
    TENANT_STAGES,
    USE_CASE_STAGES,
    Stage,
    following,
    riding_along,
    stage_named,
)
from include.tenants.namespace import GLOBAL, global_ref, split_dag_id

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.pipeline.runs import Run

#: XCom key of a handoff. Not `return_value`, which a branch needs for its own answer.
HANDOFF: Final = "handoff"

#: How soon a task that waits for a retrain looks again.
_COME_BACK: Final = timedelta(seconds=10)
#: How ids of the retrain runs begin that `drift_watch` triggers.
DRIFT_RUN: Final = "drift__"


class StageOperator(BaseOperator):
    """One stage of one tenant or of one global model, and of one use case where it has one."""

    ui_color = "#e8f4ec"

    def __init__(
        self, *, stage: str, use_case: str = "", models_of: str = GLOBAL.id, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage  #: its name
        self.use_case = use_case
        self.models_of = models_of  #: owner of the global models that a global stage is about

    def execute(self, context: Context) -> None:
        """Run the stage and hand its result on."""
        _run_stage(self, context)


class RetentionOperator(BaseOperator):
    """Forgets, of everybody there is data of, what retention says is too old."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Returns of whom something was forgotten."""
        from include.pipeline.retention import expire_all

        done = expire_all(_interval(context)[1])
        for expired in done:
            self.log.info("retention: %s", expired)
        return [asdict(expired) for expired in done if expired.anything]


class LakeUpkeepOperator(BaseOperator):
    """Compacts and vacuums the tables of the tenants whose turn it is."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Returns what was done, and for whom."""
        from include.pipeline.upkeep import keep_lake

        done = [asdict(kept) for kept in keep_lake(_interval(context)[1])]
        for kept in done:
            self.log.info("upkeep: %s", kept)
        return done


class TaskHistoryOperator(BaseOperator):
    """Deletes runs in Airflow, their XCom and logs, that are older than the operator's setting."""

    def execute(self, context: Context) -> dict[str, int]:
        """Returns how many went."""
        from include.pipeline.retention import expire_task_history

        return expire_task_history(datetime.now(UTC))


class CheckpointOperator(BaseOperator):
    """Writes down how far every audit chain has come, outside the database that holds them."""

    def execute(self, context: Context) -> str:
        """Returns the checkpoint as one line, so that Airflow's database keeps a copy."""
        from include import use_cases
        from include.pipeline.audit import checkpoint, line_of
        from include.tenants.loader import load_fleet, tenants_folder

        fleet = load_fleet(tenants_folder(), use_cases.names())
        written, _ = checkpoint(fleet.tenants.values(), datetime.now(UTC))
        return f"{written.name}, {line_of(written)}"


class ConsentOperator(BaseOperator):
    """Withdraws whatever was made of data that is not consented to any more."""

    def __init__(self, *, use_case: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_case = use_case  #: only this one; all where empty

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Returns what was withdrawn, and who serves instead."""
        from include import wiring
        from include.pipeline.connections import through_airflow
        from include.pipeline.consent import reach_all

        platform = wiring.platform(through_airflow)
        cases = [self.use_case] if self.use_case else None
        done = [asdict(effect) for effect in reach_all(platform, cases)]
        for effect in done:
            self.log.info("consent: %s", effect)
        return [effect for effect in done if effect["outcome"] != "done before"]


class DecidingOperator(BaseBranchOperator):
    """A stage of one tenant and use case whose handoff says whether training is due in this run."""

    ui_color = "#e8f4ec"

    def __init__(self, *, stage: str, use_case: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.use_case = use_case

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Training when it is due, else straight to scoring; nothing where the run excludes it."""
        chosen = context["params"].get("use_cases")
        if chosen is not None and self.use_case and self.use_case not in chosen:
            return None
        owner, kind = split_dag_id(context["dag"].dag_id)
        if kind == "pipeline":
            began = context["ti"].get_first_reschedule_date(context)
            start, end = _interval(context)
            self._after_earlier_retrains(owner, start or end, end, began and _plain(began))
        built = _run_stage(self, context)
        if built.features.rows == 0:
            self.log.info("no active entity at %s: nothing to train on or to score", built.as_of)
            return None
        chosen_stage = following(self.stage, USE_CASE_STAGES, training_due=built.training_due)
        return _sibling(self.task_id, chosen_stage)

    def _after_earlier_retrains(
        self, owner: str, start: datetime, end: datetime, began: datetime | None
    ) -> None:
        """Come back later where the retrain of the interval before has not decided who serves.

        Without that, which version scores an interval would depend on seconds. The task gives its
        slot back meanwhile.

        Args:
            began: when it came back first; None if never.
        """
        from include import use_cases, wiring
        from include.monitoring.retrains import to_wait_for
        from include.tenants.loader import find_tenant, tenants_folder
        from include.wall_clock import local

        tenant, now = find_tenant(tenants_folder(), owner, use_cases.names()), datetime.now(UTC)
        requests = wiring.stores().retrains.history(tenant.ref, self.use_case)
        earlier = to_wait_for(requests, self.use_case, start, end, now - (began or now))
        if earlier is not None:
            at = local(earlier.as_of, tenant.timezone)
            self.log.info("the retrain as of %s comes first: %s", at, earlier.state)
            raise AirflowRescheduleException(now + _COME_BACK)  # type: ignore[no-untyped-call]


def _run_stage(operator: StageOperator | DecidingOperator, context: Context) -> Any:
    from include.pipeline.memory import bounded_memory, first_in_line

    with first_in_line(), bounded_memory(f"task {operator.task_id} of {context['dag'].dag_id}"):
        return _run_stage_bounded(operator, context)


def _run_stage_bounded(operator: StageOperator | DecidingOperator, context: Context) -> Any:
    from include.pipeline import runs, steps
    from include.pipeline.connections import through_airflow

    owner, kind = split_dag_id(context["dag"].dag_id)
    ti, params = context["ti"], context["params"]
    stage = stage_named(operator.stage, GLOBAL_STAGES if owner == GLOBAL.id else OF_A_TENANT)
    packed = {
        name: ti.xcom_pull(task_ids=_sibling(operator.task_id, name), key=HANDOFF)
        for name in stage.reads
    }
    received = {name: unpack(handoff) for name, handoff in packed.items() if handoff is not None}
    # The first task of a run settles an open `as_of`; the others follow it.
    settled = [handoff.as_of for handoff in received.values() if hasattr(handoff, "as_of")]
    asked_for = instant(params["as_of"]) if params.get("as_of") else None
    as_of = settled[0] if settled else asked_for
    if owner == GLOBAL.id and isinstance(operator, StageOperator):
        with _refused_for_good():
            run = runs.open_global(
                operator.use_case,
                as_of=as_of or _interval(context)[1],
                owner=global_ref(operator.models_of),
                asked=asked_for is not None and not received,
                connect=through_airflow,
            )
        result = steps.execute_global(stage, run, received)
    elif kind == "retrain":
        with _refused_for_good():
            retrain = runs.open_retrain(
                owner,
                params["use_case"],
                as_of=as_of,
                trigger="drift" if _asked_by_drift(context["dag_run"]) else "manual",
                run_id=context["dag_run"].run_id,
                by=_asked_by(context["dag_run"]),
                reason=params.get("reason") or "",
                begun=bool(received),
                connect=through_airflow,
            )
        result = _with_what_rides_along(stage, retrain, received)
    else:
        started, ended = _interval(context)
        with _refused_for_good():
            pipeline = runs.open_pipeline(
                owner,
                operator.use_case,
                start=started,
                end=ended,
                report=bool(params.get("report")),
                connect=through_airflow,
            )
        result = _with_what_rides_along(stage, pipeline, received)
    ti.xcom_push(HANDOFF, pack(result))
    return result


def _with_what_rides_along(stage: Stage, run: Run, received: Mapping[str, Any]) -> Any:
    """The stage's handoff, after the stages that are done in its task, too."""
    from include.pipeline import steps

    result = steps.execute(stage, run, received)
    for other in riding_along(stage.name):
        steps.execute(other, run, {**received, stage.name: result})
    return result


@contextmanager
def _refused_for_good() -> Iterator[None]:
    """What nobody can be asked for is not tried again: the task fails with the reason at once."""
    from include.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        raise AirflowFailException(str(error)) from None


def _asked_by_drift(run: Any) -> bool:
    """Whether `drift_watch` triggered the run; an id like those of its runs, anybody can give."""
    triggered = getattr(run, "run_type", None) == "operator_triggered"
    return triggered and str(run.run_id).startswith(DRIFT_RUN)


def _asked_by(run: Any) -> str:
    """The user who triggered a run, as Airflow knows who was logged in."""
    by_hand = getattr(run, "run_type", None) == "manual"
    return (by_hand and getattr(run, "triggering_user_name", None)) or "system"


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
    """Id of another stage's task: in the same group, but for those that come before all groups."""
    group, dot, _ = task_id.rpartition(".")
    before = any(stage == declared.name for declared in TENANT_STAGES)
    return stage if before else f"{group}{dot}{stage}"
