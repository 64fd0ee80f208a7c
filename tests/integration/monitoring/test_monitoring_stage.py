from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.handoffs import Monitored
from tests.integration.monitoring.conftest import Watched
from tests.watched import features, week

pytestmark = pytest.mark.integration


def test_a_shift_asks_for_a_retrain_with_the_reason(tenant: Watched) -> None:
    """A feature that moved gives `drift`, an open request, the page and the JSON beside it."""
    found = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert (found.verdict, found.decision) == ("drift", "retrain")
    assert "spend__sum_amount_30d" in found.reason
    (request,) = tenant.stores.retrains.open_requests(tenant.config.ref)
    assert (request.use_case, request.as_of, request.state) == ("churn", week(1), "requested")
    assert request.details["model_version"] == "1"
    state = tenant.state()
    (row,) = state["verdicts"]
    assert row["report_path"] == "reports/drift/churn/2024-01-08-v1.json"
    assert sorted(state["reports"]) == [
        "drift/churn/2024-01-08-v1.html",
        "drift/churn/2024-01-08-v1.json",
    ]
    stored = json.loads(state["reports"]["drift/churn/2024-01-08-v1.json"])
    assert stored == row["details"]
    assert [column["column"] for column in stored["features"] if column["drifted"]] == [
        "spend__sum_amount_30d"
    ]


def test_a_rerun_changes_nothing(tenant: Watched) -> None:
    """Twice the same run leaves the same rows and the same bytes, and answers the same."""
    scored = tenant.score(week(1), shift=1.0)
    first, state = tenant.monitor(scored), tenant.state()
    assert tenant.monitor(scored) == first
    assert tenant.state() == state


@pytest.mark.parametrize(
    "broken",
    ["drift_records.PostgresDriftRecords.store_verdict", "retrains.PostgresRetrains.record"],
)
def test_a_run_killed_between_its_writes_is_completed_by_the_next(
    tenant: Watched, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write the first attempt did not reach, the second ends as an undisturbed run."""
    scored = tenant.score(week(1), shift=1.0)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"include.stores.postgres.{broken}", die)
        with pytest.raises(KeyboardInterrupt):
            tenant.monitor(scored)
    killed = tenant.monitor(scored)
    state = tenant.state()
    assert killed.decision == "retrain"
    assert tenant.monitor(scored) == killed
    assert tenant.state() == state
    assert len(state["ledger"]) == len(state["verdicts"]) == 1


def test_hostile_columns_do_not_stop_the_stage(tenant: Watched) -> None:
    """Empty, infinite, constant and text columns are judged or listed, never fatal."""
    table = features(week(1))
    rows = table.num_rows
    for name, values in {
        "void__mean_amount_30d": pa.nulls(rows, pa.float64()),
        "wild__max_amount_30d": pa.array(np.where(np.arange(rows) % 2, np.inf, np.nan)),
        "flat__max_amount_30d": pa.array(np.ones(rows)),
        "text__last_item_id_30d": pa.array(["</script>'; DROP TABLE x; {{ 1 }}"] * rows),
    }.items():
        table = table.append_column(name, values)
    reference = table.append_column("prediction", pa.array(np.ones(rows)))
    found = tenant.monitor(
        tenant.score(week(1), table=table), champion=tenant.champion(reference=reference)
    )
    (row,) = tenant.state()["verdicts"]
    assert found.verdict == "drift", row["details"]
    assert "prediction" in found.reason
    assert row["details"]["skipped"]["void__mean_amount_30d"] == "all null in the reference"


def test_predictions_that_were_not_all_stored_are_not_judged(tenant: Watched) -> None:
    """A ranking keeps its best only; then the prediction is listed as skipped, or handed in."""
    scored = tenant.score(week(1))
    tenant.store(week(1), [("user-0000", 0.9)])
    tenant.monitor(scored)
    (row,) = tenant.state()["verdicts"]
    assert row["details"]["prediction"] is None
    assert row["details"]["skipped"]["prediction"] == "not stored for every row"
    tenant.monitor(scored, scores=np.full(scored.rows, 0.99))
    (row,) = tenant.state()["verdicts"]
    assert row["details"]["prediction"]["drifted"] is True
    with pytest.raises(ConfigError, match="3 predictions for 80 rows"):
        tenant.monitor(scored, scores=np.ones(3))


def test_one_tenants_drift_is_nobody_elses(new_tenant: Callable[..., Watched]) -> None:
    """Two tenants, one drifting: each sees its own verdict, request and files only."""
    loud, calm = new_tenant(), new_tenant()
    results: dict[str, Monitored] = {}
    for one, shift in ((loud, 1.0), (calm, 0.0)):
        results[one.config.id] = one.monitor(one.score(week(1), shift=shift))
    assert results[loud.config.id].decision == "retrain"
    assert results[calm.config.id].decision == "wait"
    assert calm.stores.retrains.open_requests(calm.config.ref) == []
    assert {v["tenant_id"] for v in calm.state()["verdicts"]} == {calm.config.id}
    assert loud.config.id not in str(calm.state())
