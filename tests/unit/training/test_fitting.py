"""Fitting: what the rows of many bear, and what a tenant's few add to a model of theirs."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from benchmarks.quality.ladder import START, STEP, TableCase, plan, rows_of, table_case
from benchmarks.quality.tables import draw_table
from include import use_cases
from include.models.residual import ResidualPredictor
from include.training.fitting import GLOBAL_SETTINGS, SETTINGS, fit, fit_best
from include.training.metrics import measure
from include.training.rows import LabelledRows
from include.training.updating import fit_residual
from include.training.windows import TrainingWindows

INSTANTS = tuple(START + STEP * number for number in range(10))
WINDOWS = TrainingWindows(INSTANTS, (), INSTANTS[-1] + STEP)
CASE = table_case()
LIGHTGBM = SETTINGS["lightgbm"][0]


def drawn(rows: int, level: float = 0.0) -> LabelledRows:
    return rows_of(draw_table(plan(4, 1, rows, sample=0, level=level)), 1)


def relabelled(rows: LabelledRows, seed: int, bent: float) -> LabelledRows:
    """Labels that follow from a product of two features, which nothing linear sees."""
    values = [rows.features[name].to_numpy() for name in ("f0", "f4")]
    margin = bent * np.sign(values[0] - np.median(values[0])) * np.sign(values[1])
    label = np.random.default_rng(seed).random(len(rows)) < 1 / (1 + np.exp(-margin))
    return LabelledRows(**{**vars(rows), "label": label.astype(float)})


def ranking() -> TableCase:
    """A ranking over the same columns."""
    given = {f.name: getattr(use_cases.get("recommendation"), f.name) for f in fields(TableCase)}
    return TableCase(**{**given, "metrics": ("ndcg@10", "hit@10")})


def ranked(rows: LabelledRows) -> LabelledRows:
    """The rows as rankings of forty items each, at their instants."""
    group = np.array([f"{at}/{n // 40:05}" for n, at in enumerate(rows.as_of.astype(str))])
    _, codes = np.unique(group, return_inverse=True)
    relevant = np.bincount(codes, rows.label)[codes].astype(int)
    return LabelledRows(**{**vars(rows), "group": group, "entity": group, "relevant": relevant})


def test_the_setting_is_chosen_on_a_later_window_and_every_trial_is_kept() -> None:
    """Estimators and settings that lost are on record with what they reached."""
    found = fit_best(CASE, drawn(1_500), WINDOWS, STEP)
    reached = [(trial["auc"], trial["estimator"]) for trial in found.trials]
    assert len(reached) == len(SETTINGS["logistic"]) + len(SETTINGS["lightgbm"])
    assert max(reached)[1] == found.model.kind


def test_the_rows_of_many_tenants_are_tried_with_larger_trees() -> None:
    """They are taken where they do better on the inner window, and bear more than a tenant's."""
    found = fit_best(CASE, drawn(12_000), WINDOWS, STEP, GLOBAL_SETTINGS)
    assert len(found.trials) == 1 + sum(len(SETTINGS[name]) for name in CASE.estimators)
    assert found.model.parameters["rounds"] == 240


def test_a_bend_that_nothing_linear_sees_is_learnt_by_trees() -> None:
    """Where the inner window shows that they help."""
    base = fit(CASE, "lightgbm", LIGHTGBM, drawn(2_000))
    model = fit_residual(CASE, base, relabelled(drawn(3_000), 1, 1.5), WINDOWS, STEP)
    assert model is not None
    assert isinstance(model.predictor, ResidualPredictor)
    assert model.predictor.trees is not None
    assert model.parameters["rounds"] == model.predictor.trees.num_trees() > 0
    test = relabelled(draw_again(), 2, 1.5)
    assert (measure("auc", test, model.predict(test.features)) or 0) > 0.7


def draw_again() -> LabelledRows:
    return rows_of(draw_table(plan(4, 1, 2_000, sample=9, level=0.0)), 1)


@pytest.mark.parametrize("rows", [99, 600])
def test_trees_that_would_not_clearly_help_are_left_away(rows: int) -> None:
    """Too few rows for one, or nothing to be bent: the linear part remains."""
    base = fit(CASE, "lightgbm", LIGHTGBM, drawn(4_000))
    model = fit_residual(CASE, base, relabelled(drawn(rows), 3, 0.0), WINDOWS, STEP)
    assert model is not None
    assert isinstance(model.predictor, ResidualPredictor)
    assert model.predictor.trees is None
    assert model.predictor.linear is not None


def test_a_rankings_residual_is_trees_alone_and_ranks_better() -> None:
    """Boosted by lambdarank from the global margin; None where they bring nothing."""
    case = ranking()
    base = fit(case, "lightgbm", LIGHTGBM, ranked(drawn(4_000)))
    theirs = ranked(drawn(6_000, 1.0))
    model = fit_residual(case, base, theirs, WINDOWS, STEP)
    assert model is not None
    assert isinstance(model.predictor, ResidualPredictor)
    assert model.predictor.linear is None
    test = ranked(rows_of(draw_table(plan(4, 1, 4_000, sample=9, level=1.0)), 1))
    ours, before = (measure("ndcg@10", test, m.predict(test.features)) for m in (model, base))
    assert (ours or 0) > (before or 0)
    assert fit_residual(case, base, ranked(drawn(90)), WINDOWS, STEP) is None
