"""What operators hand to a stage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun, DagRunType
from airflow.sdk.exceptions import AirflowFailException

from include.errors import ConfigError
from include.handoffs import Interval, Materialized
from include.pipeline import runs, steps
from include.pipeline.operators import StageOperator

START = datetime(2024, 3, 4, tzinfo=UTC)
END = START + timedelta(days=7)


class _Task:
    """Stands for Airflow's task instance."""

    def xcom_pull(self, **_: Any) -> None:
        return None

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed = (key, value)


@pytest.mark.parametrize("scheduled", [True, False])
def test_stages_see_instants_of_the_standard_library(
    scheduled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage calculates with its interval, and pendulum's instants calculate differently."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(runs, "open_pipeline", lambda *_, **given: given)
    monkeypatch.setattr(
        steps,
        "execute",
        lambda stage, run, received: found.update(run) or Materialized("acme", END, (), 0, 0),
    )
    with DAG("acme.pipeline", schedule=None, start_date=START) as dag:
        operator = StageOperator(task_id="materialization", stage="materialization")
    context: dict[str, Any] = {
        "dag": dag,
        "ti": _Task(),
        "params": {},
        "dag_run": SimpleNamespace(run_after=pendulum.instance(END), run_id="manual"),
    }
    if scheduled:
        context |= {
            "data_interval_start": pendulum.instance(START).in_timezone("Europe/Vienna"),
            "data_interval_end": pendulum.instance(END).in_timezone("Europe/Vienna"),
        }
    operator.execute(context)  # type: ignore[arg-type]
    assert (found["start"], found["end"]) == (START if scheduled else None, END)
    assert type(found["end"]) is datetime
    if scheduled:
        assert type(Interval(found["start"], found["end"]).start) is datetime


@pytest.mark.parametrize(
    ("run_type", "run_id", "user", "trigger", "by"),
    [
        ("manual", "manual__2024-03-11", "ada", "manual", "ada"),
        ("manual", "drift__churn__2024-03-11", "ada", "manual", "ada"),
        ("manual", "manual__2024-03-11", None, "manual", "system"),
        ("operator_triggered", "drift__churn__2024-03-11", None, "drift", "system"),
        ("operator_triggered", "drift__churn__2024-03-11", "ada", "drift", "system"),
        ("operator_triggered", "another", None, "manual", "system"),
    ],
)
def test_a_retrain_knows_who_asked_for_it(
    run_type: str,
    run_id: str,
    user: str | None,
    trigger: str,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand it is the user Airflow knows; a run with an id like drift's is still by hand."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(runs, "open_retrain", lambda *_, **given: given)
    monkeypatch.setattr(
        steps,
        "execute",
        lambda stage, run, received: found.update(run) or Materialized("acme", END, (), 0, 0),
    )
    with DAG("acme.retrain", schedule=None, start_date=START) as dag:
        operator = StageOperator(task_id="outcome", stage="outcome")
    run = DagRun.model_construct(
        run_id=run_id, run_type=DagRunType(run_type), triggering_user_name=user
    )
    operator.execute(
        {  # type: ignore[arg-type]
            "dag": dag,
            "ti": _Task(),
            "params": {"use_case": "churn", "as_of": None, "reason": "the sale"},
            "dag_run": run,
        }
    )
    assert (found["trigger"], found["by"], found["reason"]) == (trigger, by, "the sale")


@pytest.mark.parametrize("kind", ["retrain", "pipeline", "global"])
def test_what_cannot_be_asked_for_is_not_tried_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first task fails at once with the reason; a stage's own failure is tried again."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConfigError("no retrain of acme/churn as of 1999-01-01")

    def fail(*_: Any) -> Any:
        raise ConfigError("the stage itself")

    dag_id, opener, executor = {
        "retrain": ("acme.retrain", "open_retrain", "execute"),
        "pipeline": ("acme.pipeline", "open_pipeline", "execute"),
        "global": ("global.churn", "open_global", "execute_global"),
    }[kind]
    with DAG(dag_id, schedule=None, start_date=START) as dag:
        operator = StageOperator(task_id="training", stage="training", use_case="churn")
    run = DagRun.model_construct(run_id="manual__1", run_type=DagRunType("manual"))
    context: dict[str, Any] = {
        "dag": dag,
        "ti": _Task(),
        "params": {"use_case": "churn", "as_of": "1999-01-01T00:00:00Z", "reason": "so"},
        "dag_run": run,
        "data_interval_start": START,
        "data_interval_end": END,
    }
    monkeypatch.setattr(runs, opener, refuse)
    with pytest.raises(AirflowFailException, match="no retrain of acme/churn as of 1999"):
        operator.execute(context)  # type: ignore[arg-type]
    monkeypatch.setattr(runs, opener, lambda *_, **__: None)
    monkeypatch.setattr(steps, executor, fail)
    with pytest.raises(ConfigError, match="the stage itself"):
        operator.execute(context)  # type: ignore[arg-type]
