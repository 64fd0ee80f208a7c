"""The run of an interval comes after the retrains of earlier ones, and waits for none for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from include import wiring
from include.monitoring.retrains import RetrainRequest, to_wait_for
from include.pipeline.operators import DecidingOperator
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef
from tests.fleet import tenant_id, write_fleet

MINUTE = timedelta(minutes=1)
#: Use case, day of the retrain and its state; minutes that the run of churn, of days 2 to 8, has
#: waited; whether it goes on waiting.
CASES = """
    churn  2 requested  0 waits
    churn  2 requested  1 waits
    churn  2 requested  3 goes
    churn  2 triggered  3 waits
    churn  2 triggered 59 waits
    churn  2 triggered 61 goes
    churn  2 finished   0 goes
    churn  2 closed     0 goes
    churn  1 triggered  0 goes
    churn  5 triggered  0 waits
    churn  8 triggered  0 goes
    churn 15 triggered  0 goes
    demand 2 triggered  0 goes
"""


def day(number: int) -> datetime:
    """A day of January."""
    return datetime(2024, 1, number, tzinfo=UTC)


@pytest.mark.parametrize("line", CASES.strip().splitlines())
def test_what_a_run_waits_for(line: str) -> None:
    """For retrains of its own use case as of its start, each as long as it may take; one that is
    stuck from long ago holds up nobody."""
    use_case, number, state, minutes, told = line.split()
    request = RetrainRequest(use_case, day(int(number)), "retrain", "drift", {}, state)
    found = to_wait_for([request], "churn", day(2), day(8), int(minutes) * MINUTE)
    assert (found is not None) == (told == "waits")


def test_the_task_gives_its_slot_back_and_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes again some seconds later; once the retrain is over, or patience is, it goes on."""
    stores, owner = in_memory(), tenant_id(1)
    monkeypatch.setattr(wiring, "stores", lambda: stores)
    monkeypatch.setenv("TENANTRY_TENANTS", str(write_fleet(tmp_path / "tenants", 3)))
    tenant = TenantRef(owner, "us", "pool")
    about: dict[str, Any] = {"decision": "retrain", "reason": "drift", "details": {}}
    stores.retrains.record(tenant, "churn", day(1), **about)
    task = DecidingOperator(task_id="churn.features", stage="features", use_case="churn")
    now = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as again:
        task._after_earlier_retrains(owner, day(1), day(8), None)
    assert now < again.value.reschedule_date < datetime.now(UTC) + MINUTE
    task._after_earlier_retrains(owner, day(1), day(8), now - 3 * MINUTE)
    task._after_earlier_retrains(owner, day(8), day(15), None)
    stores.retrains.mark_triggered(tenant, "churn", day(1), "drift__1")
    with pytest.raises(AirflowRescheduleException):
        task._after_earlier_retrains(owner, day(1), day(8), now - 3 * MINUTE)
    stores.retrains.finish(tenant, "churn", day(1), "kept")
    task._after_earlier_retrains(owner, day(1), day(8), None)
