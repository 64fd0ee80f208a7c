"""What a retrain without a single active entity comes to, and who is named in its decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest

from include.errors import TenantryError
from include.handoffs import FeaturesBuilt
from include.monitoring.retrains import standing
from include.pipeline import steps
from include.pipeline.report import explain
from include.storage import audit
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.retrains import PostgresRetrains
from tests.trials import CASE, WEEK, Shop, monday

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]

PROMOTIONS: Final = PostgresPromotions()
RETRAINS: Final = PostgresRetrains()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop with a model that serves."""
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path))
    shop = Shop(Lake(tmp_path), customers=20, weeks=2)
    shop.promote(shop.add("good"), monday(0))
    return shop


def asked(shop: Shop) -> None:
    """A request of the drift sensor's, taken up."""
    RETRAINS.record(
        shop.ref, CASE.name, monday(1), decision="retrain", reason="drift", details={"share": 0.5}
    )
    RETRAINS.mark_triggered(shop.ref, CASE.name, monday(1), "drift__1")


def nobody_active(shop: Shop) -> FeaturesBuilt:
    """What the features stage leaves where nobody came in the window."""
    built = shop.features(1)
    empty = shop.lake.put_table(shop.ref, "features/empty.parquet", pa.table({"user_id": []}))
    return replace(built, features=empty)


@pytest.mark.parametrize("by_drift", [True, False])
def test_a_retrain_without_active_entities_ends_with_a_reason(shop: Shop, by_drift: bool) -> None:
    """The request is closed as untrained, who serves goes on serving, and the task succeeds."""
    if by_drift:
        asked(shop)
    run = replace(shop.run(monday(1)), trigger="drift" if by_drift else "manual")
    before = PROMOTIONS.history(shop.ref, CASE.name)
    for _ in range(2):
        done = steps.outcome(run, nobody_active(shop))
        assert (done.promoted, done.version, done.rung) == (False, "1", "own")
        assert "Nobody was active" in done.reason
    assert PROMOTIONS.history(shop.ref, CASE.name) == before
    if by_drift:
        (entry,) = RETRAINS.history(shop.ref, CASE.name)
        assert (entry.state, entry.outcome) == ("finished", "untrained")
        assert entry.outcome_details["reasons"] == [done.reason]
        assert RETRAINS.open_requests(shop.ref) == []
        assert [
            row["outcome"] for row in explain(shop.config, CASE.name, in_postgres())["retrains"]
        ] == ["untrained"]
    assert audit.verify(shop.ref).findings == ()


def test_it_holds_up_no_later_retrain(shop: Shop) -> None:
    """Nothing was trained, so no cooldown counts from it, and none is in flight."""
    asked(shop)
    steps.outcome(replace(shop.run(monday(1)), trigger="drift"), nobody_active(shop))
    known = standing(RETRAINS.history(shop.ref), CASE.name, monday(1) + WEEK)
    assert (known.last_retrain_at, known.in_flight) == (None, None)


def test_a_retrain_that_ended_without_a_decision_still_failed(shop: Shop) -> None:
    """With active entities, or before anybody looked for them, there is an error to find."""
    asked(shop)
    for features in (None, shop.features(1)):
        with pytest.raises(TenantryError, match="failed task's log says why"):
            steps.outcome(replace(shop.run(monday(1)), trigger="drift"), features)
    (entry,) = RETRAINS.history(shop.ref, CASE.name)
    assert entry.outcome == "failed"
