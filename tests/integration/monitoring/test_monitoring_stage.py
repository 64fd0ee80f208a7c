from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.handoffs import Monitored
from include.monitoring import ledger
from include.monitoring.maturity import Equalized, Lengths, Maturity
from include.storage.postgres import tenant_transaction
from tests.integration.monitoring.conftest import POLICY, REACHES, Watched, features, predict, week

pytestmark = pytest.mark.integration


def test_a_quiet_week_is_stable(tenant: Watched) -> None:
    """The same distribution gives `stable` and no request; the numbers are kept."""
    found = tenant.monitor(tenant.score(week(1)))
    assert (found.verdict, found.decision) == ("stable", "wait")
    (row,) = tenant.state()["verdicts"]
    assert row["verdict"] == "stable"
    assert row["details"]["skipped"] == {
        "frequency__count_all": "grows with the length of history by construction"
    }
    assert "promoted without a measured interval" in row["details"]["unjudged"]["performance"]
    assert "evidently" not in row["details"]
    assert row["details"]["prediction"]["drifted"] is False
    assert {f["column"] for f in row["details"]["features"]} == {
        "spend__sum_amount_30d",
        "frequency__count_30d",
    }
    assert ledger.open_requests(tenant.config.ref) == []


def test_a_shift_asks_for_a_retrain_with_the_reason(tenant: Watched) -> None:
    """A feature that moved gives `drift`, an open request, the page and the JSON beside it."""
    found = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert (found.verdict, found.decision) == ("drift", "retrain")
    assert "spend__sum_amount_30d" in found.reason
    (request,) = ledger.open_requests(tenant.config.ref)
    assert (request.use_case, request.as_of, request.state) == ("churn", week(1), "requested")
    assert request.details["model_version"] == "1"
    state = tenant.state()
    (row,) = state["verdicts"]
    assert row["report_path"] == "reports/drift/churn/2024-01-08-v1.html"
    assert sorted(state["reports"]) == [
        "drift/churn/2024-01-08-v1.html",
        "drift/churn/2024-01-08-v1.json",
    ]
    stored = json.loads(state["reports"]["drift/churn/2024-01-08-v1.json"])
    assert stored == {"verdict": "drift", **row["details"]}
    assert stored["evidently"]["drifted"] == 1


@pytest.mark.parametrize(
    ("shift", "verdict", "told"),
    [
        (0.0, "stable", "as history grew from 12 days to 26 days"),
        (1.0, "drift", "features drifted"),
    ],
)
def test_a_filling_window_is_judged_at_equal_length(
    tenant: Watched, shift: float, verdict: str, told: str
) -> None:
    """What moves because history grew is no drift; what moves at equal length too is. The page
    of the window says which."""
    asked: list[datetime] = []

    def equalize(since: datetime) -> Equalized:
        asked.append(since)
        table = features(week(2), shift)
        lengths = Lengths(timedelta(days=12), timedelta(days=26))
        table = table.append_column("prediction", pa.array(predict(table)))
        return Equalized(table, dict.fromkeys(REACHES, lengths))

    found = tenant.monitor(
        tenant.score(week(2), shift=1.0),
        maturity=Maturity(REACHES, equalize),
        report=True,
        since=week(1),
    )
    assert found.verdict == verdict
    assert told in found.reason
    assert asked == [week(0)]
    (row,) = tenant.state()["verdicts"]
    page = tenant.state()["reports"][row["report_path"].removeprefix("reports/")].decode()
    for words in (told, "2024-01-08 00:00 to 2024-01-15 00:00 UTC", tenant.config.id):
        assert words in page
    assert page.index(told) < page.index("<script>var global")  # above what Evidently draws


def test_a_filling_window_is_not_judged_where_nothing_is_equal(tenant: Watched) -> None:
    """A reference of three days is no week: the column is left out, and the reason kept."""

    def equalize(_: datetime) -> Equalized:
        return Equalized(None, dict.fromkeys(REACHES, Lengths(timedelta(3), timedelta(17))))

    found = tenant.monitor(tenant.score(week(2), shift=1.0), maturity=Maturity(REACHES, equalize))
    assert found.verdict == "stable"
    (row,) = tenant.state()["verdicts"]
    assert row["details"]["skipped"]["spend__sum_amount_30d"] == (
        "reference made at 3 days of history, shorter than its 30d window; 17 days now"
    )
    assert "spend__sum_amount_30d" not in {f["column"] for f in row["details"]["features"]}


def test_a_rerun_changes_nothing(tenant: Watched) -> None:
    """Twice the same run leaves the same rows and the same bytes, and answers the same."""
    scored = tenant.score(week(1), shift=1.0)
    first, state = tenant.monitor(scored), tenant.state()
    assert tenant.monitor(scored) == first
    assert tenant.state() == state


@pytest.mark.parametrize("broken", ["verdicts.store", "ledger.record"])
def test_a_run_killed_between_its_writes_is_completed_by_the_next(
    tenant: Watched, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write the first attempt did not reach, the second ends as an undisturbed run."""
    scored = tenant.score(week(1), shift=1.0)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"include.monitoring.{broken}", die)
        with pytest.raises(KeyboardInterrupt):
            tenant.monitor(scored)
    killed = tenant.monitor(scored)
    state = tenant.state()
    assert killed.decision == "retrain"
    assert tenant.monitor(scored) == killed
    assert tenant.state() == state
    assert len(state["ledger"]) == len(state["verdicts"]) == 1


def test_data_loss_is_an_incident_and_no_reason_to_retrain(tenant: Watched) -> None:
    """However far the features moved, lost data is suppressed, and nothing is drawn."""
    found = tenant.monitor(tenant.score(week(1), shift=2.0), data_loss=True)
    assert (found.verdict, found.decision) == ("data_loss", "suppress")
    assert ledger.open_requests(tenant.config.ref) == []
    assert tenant.state()["reports"] == {}


def test_too_few_rows_are_not_judged(tenant: Watched) -> None:
    """Ten users whose features doubled are too few to conclude anything from."""
    found = tenant.monitor(tenant.score(week(1), shift=3.0, users=10))
    assert (found.verdict, found.decision) == ("too_few_rows", "wait")
    assert "10 entities in the current window" in found.reason


def test_no_entity_at_all_is_too_few(tenant: Watched) -> None:
    """An empty window is no error."""
    found = tenant.monitor(tenant.score(week(1), users=0))
    assert (found.verdict, found.decision) == ("too_few_rows", "wait")


def test_without_a_model_there_is_nothing_to_compare_with(tenant: Watched) -> None:
    """A tenant that nothing serves yet waits; its window is profiled for later ones."""
    found = tenant.monitor(tenant.score(week(1), version=""), champion=None)
    assert (found.verdict, found.decision) == ("no_model", "wait")
    assert [(p["kind"], p["model_version"]) for p in tenant.state()["profiles"]] == [("window", "")]


def test_the_reference_must_be_of_the_model_that_scored(tenant: Watched) -> None:
    """Comparing with another version's reference is refused, naming both."""
    with pytest.raises(ConfigError, match=r"version 1.*of version 2"):
        tenant.monitor(tenant.score(week(1)), champion=tenant.champion("2"))


def test_a_request_in_flight_then_the_cooldown_hold_the_next_one_back(tenant: Watched) -> None:
    """While drift lasts: one request, none while it runs, none in its cooldown, then another."""
    runs = {}
    for number in (1, 2):
        runs[number] = tenant.monitor(tenant.score(week(number), shift=1.0))
    assert ledger.finish(tenant.config.ref, "churn", week(1), "kept", before=0.8, after=0.8)
    runs[3] = tenant.monitor(
        tenant.score(week(3), shift=1.0), policy=replace(POLICY, cooldown=timedelta(days=21))
    )
    runs[4] = tenant.monitor(tenant.score(week(4), shift=1.0))
    assert [runs[n].decision for n in (1, 2, 3, 4)] == ["retrain", "wait", "wait", "retrain"]
    assert runs[2].reason.startswith("run in flight")
    assert runs[3].reason.startswith("cooldown")


def test_the_quota_counts_every_use_case_of_the_day(
    new_tenant: Callable[..., Watched],
) -> None:
    """A tenant allowed one training a day that has asked for one is refused the second."""
    tenant = new_tenant(quota={"trainings_per_day": 1})
    ledger.record(
        tenant.config.ref,
        "recommendation",
        week(1) + timedelta(hours=3),
        decision="retrain",
        reason="drift",
        details={},
    )
    found = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert (found.decision, found.reason[:6]) == ("suppress", "quota:")


def test_the_retrain_run_itself_asks_for_nothing(tenant: Watched) -> None:
    """Monitored again at the same instant, the model that drift brought opens no second request."""
    tenant.monitor(tenant.score(week(1), shift=1.0))
    ledger.mark_triggered(tenant.config.ref, "churn", week(1), "drift__churn")
    scored = tenant.score(week(1), version="2", shift=1.0)
    again = tenant.monitor(scored, champion=tenant.champion("2", as_of=week(1)))
    assert (again.verdict, again.decision) == ("drift", "wait")
    assert len(tenant.state()["ledger"]) == 1
    assert [v["model_version"] for v in tenant.state()["verdicts"]] == ["1", "2"]


def test_a_champion_that_has_just_withstood_a_training_is_not_retrained(tenant: Watched) -> None:
    """A scheduled training in the same run, whatever it decided, leaves nothing new to learn."""
    with tenant_transaction(tenant.config.ref) as connection:
        connection.execute(
            "INSERT INTO promotions (tenant_id, use_case, as_of, trigger, promoted, version, rung, "
            "incumbent_version, digest, reasons, evidence) "
            "VALUES (%s, 'churn', %s, 'scheduled', false, '1', 'own', '1', 'd', '[]', '{}')",
            [tenant.config.id, week(1)],
        )
    found = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert (found.verdict, found.decision) == ("drift", "wait")
    assert found.reason == "trained already as of 2024-01-08"
    assert tenant.monitor(tenant.score(week(2), shift=1.0)).decision == "retrain"


def test_the_page_is_drawn_for_drift_weekly_and_on_demand(tenant: Watched) -> None:
    """Of quiet windows one a week and one on demand are drawn, drifted ones always."""
    weekly = replace(POLICY, report_every=timedelta(days=7))
    days = ((1, False, 0.0), (2, True, 0.0), (5, False, 1.0), (8, False, 0.0), (12, False, 0.0))
    for day, report, shift in days:
        scored = tenant.score(week(1) + timedelta(days=day), shift=shift)
        tenant.monitor(scored, report=report, policy=weekly)
    tenant.monitor(tenant.score(week(9)))
    rows = tenant.state()["verdicts"]
    assert [v["report_path"][-4:] for v in rows] == ["json", "html", "html", "json", "html", "json"]
    assert rows[1]["details"]["evidently"]["drifted"] == 0
    assert rows[2]["details"]["evidently"]["drifted"] == 1
    assert "evidently" not in rows[3]["details"]


def test_the_reference_is_read_once_and_for_pages(tenant: Watched) -> None:
    """A champion that can read its reference is asked at its first window and for each page."""
    reads = []

    def reference() -> pa.Table:
        reads.append(1)
        return table

    table = tenant.champion().read()
    champion = tenant.champion(reference=reference)
    for number in (1, 2, 3):
        tenant.monitor(tenant.score(week(number)), champion=champion)
    assert len(reads) == 1
    tenant.monitor(tenant.score(week(4), shift=1.0), champion=champion)
    assert len(reads) == 2


def test_what_happens_every_year_is_no_drift(tenant: Watched) -> None:
    """The window of a year before explains the change, be it stored or built when asked for."""
    year = timedelta(days=364)

    def past(at: datetime) -> pa.Table | None:
        asked.append(at)
        table = features(at, shift=1.0, seed=5)
        return table.append_column("prediction", pa.array(predict(table))) if at < week(0) else None

    asked: list[datetime] = []
    found = tenant.monitor(tenant.score(week(1), shift=1.0), past=past)
    assert (found.verdict, found.decision) == ("stable", "wait")
    assert "1 changed as they should (as in the same weeks of 2023)" in found.reason
    assert week(1) - year in asked
    again = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert again == found
    assert tenant.monitor(tenant.score(week(30), shift=1.0)).verdict == "drift"


def test_a_calm_window_asks_for_no_past(tenant: Watched) -> None:
    """Only a breach makes anybody build features of a year ago."""

    def past(at: datetime) -> pa.Table | None:
        raise AssertionError("asked")

    assert tenant.monitor(tenant.score(week(1)), past=past).verdict == "stable"


def test_profiles_are_kept_for_a_little_over_a_year(tenant: Watched) -> None:
    """A window forgets those that nothing will be compared with, never its model's reference."""
    for number in (1, 2, 40, 64, 70):
        tenant.monitor(tenant.score(week(number)))
    kept = [(row["kind"], row["as_of"]) for row in tenant.state()["profiles"]]
    expected = [("window", week(40)), ("window", week(64)), ("window", week(70))]
    assert kept == [("reference", week(0)), *expected]


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
    assert ledger.open_requests(calm.config.ref) == []
    assert {v["tenant_id"] for v in calm.state()["verdicts"]} == {calm.config.id}
    assert loud.config.id not in str(calm.state())
