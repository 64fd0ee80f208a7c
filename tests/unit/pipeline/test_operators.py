"""What operators hand to a stage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG

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
        lambda stage, run: found.update(run) or Materialized("acme", END, (), 0, 0),
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
