"""Matured labels meet earlier predictions: what is measured, what waits, and what is taken back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include import use_cases
from include.errors import IntegrityError
from include.handoffs import LostDays, pack
from include.monitoring.live import measure_live
from include.monitoring.live_metrics import LiveMetric
from include.pipeline import live_evidence
from include.registry.policy import Policy
from include.registry.port import ModelVersion
from include.registry.two_way import Swing
from include.storage.lake import Lake
from include.stores.memory import in_memory
from tests.trials import CASE, MONDAY, Shop, monday

DAY = timedelta(days=1)
FIGURES = {"value": 0.8, "low": 0.75, "high": 0.85}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """One whose first version serves from the first week on, and whose rows are in memory."""
    made = Shop(Lake(tmp_path), stores=in_memory())
    made.promote(made.add("fair"), MONDAY)
    return made


def history(shop: Shop) -> list[LiveMetric]:
    """All that was measured."""
    return shop.stores.live_metrics.history(shop.ref, CASE.name)


def measured(shop: Shop, week: int, *lost: LostDays, metric: str = CASE.metric) -> list[int]:
    """Weeks whose predictions have a live metric once that one was monitored."""
    run = replace(shop.run(monday(week)), use_case=replace(CASE, metrics=(metric,)))
    live_evidence.measure_matured(run, shop.score(week), lost)
    return sorted({(one.as_of - MONDAY).days // 7 for one in history(shop)})


@pytest.fixture
def no_retrains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was retrained, so no label says whether that helped."""
    monkeypatch.setattr(live_evidence, "settle_effects", lambda *_: None)


@pytest.mark.usefixtures("no_retrains")
def test_predictions_are_measured_once_their_labels_are_known(shop: Shop) -> None:
    """A horizon later, by what is known then, and not again; with the version that made them."""
    assert measured(shop, 0) == []
    assert measured(shop, 1) == [0]
    shop.promote(shop.add("good"), monday(1), "manual")
    assert measured(shop, 1) == [0]  # scored again by another version, and measured already
    assert measured(shop, 2) == [0, 1]
    first, second = history(shop)
    assert (first.version, first.labels, first.measured_as_of) == ("1", 300, monday(1))
    assert (second.version, second.labels, second.measured_as_of) == ("2", 300, monday(2))
    assert first.known
    assert 0.5 < first.value < 1


@pytest.mark.usefixtures("no_retrains")
def test_another_metric_is_measured_of_what_was_measured_before(shop: Shop) -> None:
    """A use case that is judged by something else now has a history of that, too."""
    shop.score(0)
    measured(shop, 1)
    measured(shop, 1, metric="average_precision")
    assert [one.metric for one in history(shop)] == ["auc", "average_precision"]


@pytest.mark.usefixtures("no_retrains")
def test_labels_of_lost_days_wait_until_they_are_sent_again(shop: Shop) -> None:
    """Neither what was predicted about a lost day is measured, nor what was scored after one."""
    shop.score(0)
    lost = LostDays("orders", monday(2) + DAY, monday(2) + 3 * DAY)
    for week in (1, 2, 3, 4, 5):
        found = measured(shop, week, lost)
    assert found == [0, 1, 4]
    assert measured(shop, 5) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("no_retrains")
def test_what_was_measured_before_a_loss_was_known_is_taken_back(shop: Shop) -> None:
    """A loss that is found late holds back what should never have been measured; a rerun of an
    earlier week leaves later ones alone."""
    for week in range(4):
        before = measured(shop, week)
    assert before == [0, 1, 2]
    lost = LostDays("orders", monday(1) + DAY, monday(1) + 3 * DAY)
    assert measured(shop, 1, lost) == [0, 2]
    assert measured(shop, 3, lost) == [0]


def test_live_metrics_do_not_mix_arms(shop: Shop) -> None:
    """The metric of a split week is the champion's, on the entities that saw it."""
    shop.begin(shop.add("bad"), Policy(share=0.4), monday(0))
    shop.score(0)
    served = shop.served(0)
    labels = {
        "entity_id": [row.entity_id for row in served],
        "label": [float(n % 2) for n in range(len(served))],
    }
    found = measure_live(
        shop.ref,
        CASE.name,
        served,
        pa.table(labels),
        metric="auc",
        as_of=monday(0),
        measured_as_of=monday(1),
        live_metrics=shop.stores.live_metrics,
    )
    assert found is not None
    ours = [row for row in served if row.arm == "champion"]
    assert (found.version, found.labels) == ("1", len(ours))
    assert 0 < found.labels < len(served)


def promoted(shop: Shop, **evidence: Any) -> ModelVersion:
    """The version that serves, by a later promotion with more evidence."""
    standing = shop.stores.promotions.champion_at(shop.ref, CASE.name)
    assert standing is not None
    decided = replace(
        standing,
        as_of=standing.as_of + timedelta(hours=1),
        evidence={**standing.evidence, **evidence},
    )
    shop.stores.promotions.record(shop.ref, decided)
    return shop.registry.get(shop.ref, CASE.name, standing.version)


def evaluation(shop: Shop, document: Mapping[str, Any]) -> dict[str, str]:
    """Where the evaluation of a training lies."""
    stored = shop.lake.put(shop.ref, "evaluation.json", json.dumps(document).encode())
    return {"path": stored.path, "digest": stored.digest}


def test_a_champion_is_judged_by_what_it_was_promoted_with(shop: Shop) -> None:
    """The metric with its interval, and how much it swings from window to window."""
    swing = {"metric": {"variance": 0.04, "freedom": 7}, "error": 0.02, "blocks": 3}
    version = promoted(shop, champion={**FIGURES, "swing": swing})
    found = live_evidence.champion(shop.run(monday(1)), version)
    assert (found.version, found.as_of, found.metric) == ("1", version.as_of, "auc")
    assert (found.value, found.low, found.high) == (0.8, 0.75, 0.85)
    assert (found.swing, found.error, found.blocks) == (Swing(0.04, 7), 0.02, 3)
    assert found.calibration_swing == Swing.read(None)
    assert found.reach == CASE.reach


@pytest.mark.parametrize("figures", [None, {}, {**FIGURES, "low": None}])
def test_a_champion_without_an_interval_is_not_judged_by_its_metric(
    shop: Shop, figures: dict[str, Any] | None
) -> None:
    """As one that was promoted without a window to measure it on."""
    found = live_evidence.champion(shop.run(monday(1)), promoted(shop, champion=figures))
    assert found.metric == ""
    assert all(map(math.isnan, (found.value, found.low, found.high, found.outcome_rate)))


def test_what_never_served_was_judged_on_nothing(shop: Shop) -> None:
    """A version that no decision promoted has neither figures nor windows."""
    version = shop.registry.get(shop.ref, CASE.name, shop.add("good"))
    assert live_evidence.champion(shop.run(monday(1)), version).metric == ""
    assert live_evidence.judged_on(shop.run(monday(1)), version) == ([version.as_of], ())


def test_monitoring_takes_no_swapped_reference_window(shop: Shop) -> None:
    """Drift is measured against the window that the ledger recorded, not the registry."""
    version = shop.registry.get(shop.ref, CASE.name, "1")
    promoted(shop, reference_digest=version.reference_digest)
    assert live_evidence.champion(shop.run(monday(1)), version).version == "1"
    with pytest.raises(IntegrityError, match="is not the one that was promoted"):
        live_evidence.champion(shop.run(monday(1)), replace(version, reference_digest="0" * 64))


def test_the_rate_of_outcomes_is_that_of_the_holdout(shop: Shop) -> None:
    """Where scores are probabilities, and there was a holdout."""
    rows = {"holdout": 200, "holdout_positives": 50}
    version = promoted(shop, champion=FIGURES, evaluation=evaluation(shop, {"rows": rows}))
    run = shop.run(monday(1))
    assert live_evidence.champion(run, version).outcome_rate == 0.25
    ranking = replace(run, use_case=replace(use_cases.get("recommendation"), name=CASE.name))
    assert math.isnan(live_evidence.champion(ranking, version).outcome_rate)
    empty = evaluation(shop, {"rows": {"holdout": 0, "holdout_positives": 0}})
    standing = shop.stores.promotions.champion_at(shop.ref, CASE.name)
    assert standing is not None
    for hours, changes in ((2, {"rung": "baseline"}), (3, {"evidence": {"evaluation": empty}})):
        later = replace(standing, as_of=standing.as_of + timedelta(hours=hours), **changes)
        shop.stores.promotions.record(shop.ref, later)
        assert math.isnan(live_evidence.champion(run, version).outcome_rate)


def test_a_reference_knows_its_instants_and_what_was_lost(shop: Shop) -> None:
    """As the training's evaluation has it; without a holdout there is its own instant alone."""
    lost = LostDays("orders", monday(0), monday(0) + DAY)
    others = LostDays("carts", monday(0), monday(0) + DAY)
    windows = [monday(-2).isoformat(), monday(-1).isoformat()]
    document = {
        "windows": {"holdout": windows},
        "lost": {shop.ref.id: [pack(lost)], "emil": [pack(others)]},
    }
    version = promoted(shop, evaluation=evaluation(shop, document))
    run = shop.run(monday(1))
    assert live_evidence.judged_on(run, version) == ([monday(-2), monday(-1)], (lost,))
    none = evaluation(shop, {"windows": {"holdout": []}})
    standing = shop.stores.promotions.champion_at(shop.ref, CASE.name)
    assert standing is not None
    later = replace(standing, as_of=monday(1), evidence={"evaluation": none})
    shop.stores.promotions.record(shop.ref, later)
    assert live_evidence.judged_on(run, version) == ([version.as_of], ())


def test_of_an_evaluation_that_retention_took_only_the_training_is_known(shop: Shop) -> None:
    """Its instant, and no rate of outcomes."""
    there = evaluation(shop, {"rows": {"holdout": 2, "holdout_positives": 1}})
    version = promoted(shop, champion=FIGURES, evaluation=there)
    shop.lake.file_path(shop.ref, there["path"]).unlink()
    run = shop.run(monday(1))
    assert live_evidence.judged_on(run, version) == ([version.as_of], ())
    assert math.isnan(live_evidence.champion(run, version).outcome_rate)
