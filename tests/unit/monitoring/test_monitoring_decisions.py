from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.monitoring.drift_page import draw
from include.monitoring.judgement import judged
from include.monitoring.maturity import Equalized, Lengths, Maturity
from include.monitoring.windows import with_prediction
from include.registry.promotions import Promotion
from tests.watched import POLICY, REACHES, Watched, features, predict, week


def test_a_quiet_week_is_stable(tenant: Watched) -> None:
    """The same distribution gives `stable` and no request; the numbers are kept."""
    found = tenant.monitor(tenant.score(week(1)))
    assert (found.verdict, found.decision) == ("stable", "wait")
    (verdict,) = tenant.verdicts()
    assert (verdict.verdict, verdict.report_path[-5:]) == ("stable", ".json")
    figures = tenant.figures()
    assert figures["skipped"] == {
        "frequency__count_all": "grows with the length of history by construction"
    }
    assert "promoted without a measured interval" in figures["unjudged"]["performance"]
    assert not tenant.page(verdict).exists()
    assert figures["prediction"]["drifted"] is False
    assert {f["column"] for f in figures["features"]} == {
        "spend__sum_amount_30d",
        "frequency__count_30d",
    }
    assert tenant.stores.retrains.open_requests(tenant.config.ref) == []


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
    (judged,) = tenant.verdicts()
    page = tenant.page(judged).read_text()
    for words in (told, "2024-01-08 00:00 UTC to 2024-01-15 00:00 UTC", tenant.config.id):
        assert words in page
    assert page.index(told) < page.index("<script>var global")  # above what Evidently draws


def test_a_filling_window_is_not_judged_where_nothing_is_equal(tenant: Watched) -> None:
    """A reference of three days is no week: the column is left out, and the reason kept."""

    def equalize(_: datetime) -> Equalized:
        return Equalized(None, dict.fromkeys(REACHES, Lengths(timedelta(3), timedelta(17))))

    found = tenant.monitor(tenant.score(week(2), shift=1.0), maturity=Maturity(REACHES, equalize))
    assert found.verdict == "stable"
    figures = tenant.figures()
    assert figures["skipped"]["spend__sum_amount_30d"] == (
        "reference made at 3 days of history, shorter than its 30d window; 17 days now"
    )
    assert "spend__sum_amount_30d" not in {f["column"] for f in figures["features"]}


def test_data_loss_is_an_incident_and_no_reason_to_retrain(tenant: Watched) -> None:
    """However far the features moved, lost data is suppressed, and nothing is drawn."""
    found = tenant.monitor(tenant.score(week(1), shift=2.0), data_loss=True)
    assert (found.verdict, found.decision) == ("data_loss", "suppress")
    assert tenant.stores.retrains.open_requests(tenant.config.ref) == []
    (verdict,) = tenant.verdicts()
    assert verdict.report_path == ""


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
    windows = tenant.stores.drift.windows(tenant.config.ref, "churn", week(0), week(9))
    assert [(one.as_of, one.model_version) for one in windows] == [(week(1), "")]


def test_the_reference_must_be_of_the_model_that_scored(tenant: Watched) -> None:
    """Comparing with another version's reference is refused, naming both."""
    with pytest.raises(ConfigError, match=r"version 1.*of version 2"):
        tenant.monitor(tenant.score(week(1)), champion=tenant.champion("2"))


def test_a_request_in_flight_then_the_cooldown_hold_the_next_one_back(tenant: Watched) -> None:
    """While drift lasts: one request, none while it runs, none in its cooldown, then another."""
    runs = {}
    for number in (1, 2):
        runs[number] = tenant.monitor(tenant.score(week(number), shift=1.0))
    assert tenant.stores.retrains.finish(tenant.config.ref, "churn", week(1), "kept")
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
    tenant.stores.retrains.record(
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
    tenant.stores.retrains.mark_triggered(tenant.config.ref, "churn", week(1), "drift__churn")
    scored = tenant.score(week(1), version="2", shift=1.0)
    again = tenant.monitor(scored, champion=tenant.champion("2", as_of=week(1)))
    assert (again.verdict, again.decision) == ("drift", "wait")
    assert len(tenant.stores.retrains.history(tenant.config.ref)) == 1
    assert [verdict.model_version for verdict in tenant.verdicts()] == ["1", "2"]


def test_a_champion_that_has_just_withstood_a_training_is_not_retrained(tenant: Watched) -> None:
    """A scheduled training in the same run, whatever it decided, leaves nothing new to learn."""
    withstood = Promotion(
        tenant=tenant.config.id,
        use_case="churn",
        as_of=week(1),
        trigger="scheduled",
        promoted=False,
        version="1",
        rung="own",
        digest="d",
        incumbent_version="1",
        reasons=(),
        evidence={},
    )
    tenant.stores.promotions.record(tenant.config.ref, withstood)
    found = tenant.monitor(tenant.score(week(1), shift=1.0))
    assert (found.verdict, found.decision) == ("drift", "wait")
    assert found.reason == "trained already as of 2024-01-08"
    assert tenant.monitor(tenant.score(week(2), shift=1.0)).decision == "retrain"


def test_a_page_is_drawn_for_drift_for_a_promotion_and_on_demand(tenant: Watched) -> None:
    """Of quiet windows that of the promotion and one on demand are drawn, drifted ones always."""
    windows = ((0, False, 0.0), (1, False, 0.0), (2, True, 0.0), (3, False, 1.0), (9, False, 0.0))
    for number, report, shift in windows:
        tenant.monitor(tenant.score(week(number), shift=shift), report=report)
    drawn = [tenant.page(verdict).exists() for verdict in tenant.verdicts()]
    assert drawn == [True, False, True, True, False]
    assert {verdict.report_path[-5:] for verdict in tenant.verdicts()} == {".json"}


def test_a_page_drawn_later_is_the_one_that_the_run_would_have_drawn(tenant: Watched) -> None:
    """The figures of a window name all that its page is made of."""
    for number in (1, 2):
        scored, champion = tenant.score(week(number), shift=number - 1.0), tenant.champion()
        tenant.monitor(scored, champion=champion, report=True, since=week(number - 1))
        verdict = tenant.verdicts()[-1]
        judgement = judged(tenant.figures())
        rows = tenant.lake.get_table(tenant.config.ref, judgement.features)
        window = with_prediction(rows, predict(rows))
        later = draw(tenant.config, "churn", judgement, champion.read(), window, ("user_id",))
        assert later == tenant.page(verdict).read_text()


def test_a_page_goes_with_the_figures_that_it_was_drawn_from(tenant: Watched) -> None:
    """A rerun that judges as before leaves it; one that does not, as rows came late, takes it
    away, so that nobody reads another verdict than the one on record."""
    scored = tenant.score(week(1))
    tenant.monitor(scored)
    page = tenant.page(tenant.verdicts()[0])
    page.write_text("as it was judged first")
    tenant.monitor(scored)
    assert page.exists()
    tenant.monitor(tenant.score(week(1), users=70))
    assert not page.exists()


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
    ref, drift = tenant.config.ref, tenant.stores.drift
    kept = [one.as_of for one in drift.windows(ref, "churn", week(0), week(99))]
    assert kept == [week(40), week(64), week(70)]
    assert drift.reference(ref, "churn", "1") is not None


def test_drift_that_is_the_platforms_is_suppressed(new_tenant: Callable[..., Watched]) -> None:
    """The fourth tenant of a storm hears of the incident; a window later it retrains."""
    fleet = [new_tenant() for _ in range(4)]
    found = [one.monitor(one.score(week(1), shift=1.0)) for one in fleet]
    assert [one.decision for one in found] == ["retrain", "retrain", "suppress", "suppress"]
    last = fleet[-1]
    assert found[-1].reason == "platform incident churn/2024-01-08"
    (request,) = last.stores.retrains.history(last.config.ref, "churn")
    assert request.details["incident"] == "churn/2024-01-08"
    assert last.monitor(last.score(week(1), shift=1.0)) == found[-1]
    for calm in fleet[:3]:
        calm.monitor(calm.score(week(2)))
    assert last.monitor(last.score(week(2), shift=1.0)).decision == "retrain"
