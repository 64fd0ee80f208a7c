"""A tenant's own models: what they build on, what judges them, and what they leave alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from benchmarks.quality.draws import Draws
from benchmarks.quality.ladder import STEP, TableCase, expected_auc, plan, rows_of, table_case
from benchmarks.quality.tables import draw_table
from include.errors import IntegrityError
from include.models.model import Model
from include.models.serialise import from_bytes, to_bytes
from include.training import paired
from include.training.candidates import OwnModel, Parent, blocks, compare, own_models
from include.training.fitting import fit_best
from include.training.paired import PairedRows
from include.training.rows import LabelledRows
from include.training.updating import fit_recalibrated, fit_residual
from include.training.windows import TrainingWindows

CASE = table_case()
START = datetime(2025, 1, 1, tzinfo=UTC)
INSTANTS = tuple(START + STEP * number for number in range(12))
TRAINING = TrainingWindows(INSTANTS[:10], INSTANTS[10:], INSTANTS[-1] + STEP)


def drawn(rows: int, level: float, sample: int, tenant: int = 1) -> LabelledRows:
    return rows_of(draw_table(plan(3, tenant, rows, sample=sample, level=level)), tenant)


@lru_cache(maxsize=1)
def parent() -> Parent:
    """A global model of the mechanism that all tenants share."""
    return Parent(fit_best(CASE, drawn(4_000, 0.0, 5, 0), TRAINING, STEP).model, "global/churn@1")


@lru_cache(maxsize=4)
def own(rows: int, level: float) -> tuple[OwnModel, ...]:
    training = drawn(rows, level, 0).at(INSTANTS[:10])
    return own_models(CASE, training, TRAINING, parent())


def probabilities(model: Model, features: pa.Table) -> np.ndarray:
    found = model.predict(features)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    return found


def gain(model: Model, level: float) -> float:
    fresh = draw_table(plan(3, 1, 4_000, sample=1, level=level))
    base = expected_auc(fresh, parent().model.predict(fresh.features))
    return expected_auc(fresh, probabilities(model, fresh.features)) - base


def test_a_tenant_that_deviates_gains_by_a_residual_and_one_that_does_not_loses_little() -> None:
    """The residual is shrunk: a few hundred rows bring much where there is much to learn."""
    assert gain(own(1_200, 0.5)[0].model, 0.5) > 0.03
    assert gain(own(360, 0.0)[0].model, 0.0) > -0.015


def test_own_models_name_their_parent_and_come_in_the_order_of_testing() -> None:
    """What knows nothing but the tenant comes last and has no parent."""
    found = own(1_200, 0.5)
    assert [(one.name, one.parent_version) for one in found] == [
        ("residual", "global/churn@1"),
        (found[1].model.kind, ""),
    ]
    assert found[1].model.kind in CASE.estimators


def test_without_a_global_model_a_tenant_has_only_what_is_its_alone() -> None:
    """And that is then gone through time by itself."""
    training = drawn(600, 0.5, 0).at(INSTANTS[:10])
    (alone,) = own_models(CASE, training, TRAINING, None)
    assert alone.parent_version == ""
    assert alone.later


def test_later_windows_are_scored_by_what_was_known_before_them() -> None:
    """Labels that come later change nothing that was said of a window."""
    training = drawn(600, 0.5, 0).at(INSTANTS[:10])
    first, *_ = own_models(CASE, training, TRAINING, parent())[0].later
    cut = first.rows.as_of.min()
    turned = np.where(training.as_of >= cut, 1 - training.label, training.label)
    changed = LabelledRows(**{**vars(training), "label": turned})
    again, *_ = own_models(CASE, changed, TRAINING, parent())[0].later
    assert np.array_equal(first.scores, again.scores)
    assert not np.array_equal(first.rows.label, again.rows.label)


def test_the_same_rows_give_the_same_own_models() -> None:
    """Bit by bit, trees included."""
    training = drawn(600, 0.5, 0).at(INSTANTS[:10])
    ours, theirs = (own_models(CASE, training, TRAINING, parent()) for _ in range(2))
    assert [to_bytes(one.model) for one in ours] == [to_bytes(one.model) for one in theirs]


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 30))
def test_blocks_never_judge_by_a_label_that_was_learnt_from(
    count: int, horizon: int, every: int
) -> None:
    """Whatever is learnt from is known when the judged window begins; each is judged once."""
    instants = [START + timedelta(days=every * number) for number in range(count)]
    reach = timedelta(days=horizon)
    found = blocks(instants, reach)
    judged = [at for _, after in found for at in after]
    assert judged == sorted(set(judged))
    assert len(found) <= 5
    for before, after in found:
        assert before
        assert after
        assert max(before) + reach <= min(after)


def test_a_comparison_rests_on_all_later_windows_and_the_holdout() -> None:
    """Of a tenant of 1,000 rows the holdout alone has 200, all later windows together 900."""
    one, holdout = own(1_200, 0.5)[0], drawn(1_200, 0.5, 0).at(INSTANTS[10:])
    model = parent().model
    whole = compare(CASE, one, model, "incumbent/lightgbm", holdout)
    later = compare(CASE, one, model, "incumbent/lightgbm", None)
    short = compare(CASE, one, model, "incumbent/lightgbm", holdout, INSTANTS[10])
    assert whole.entities is not None
    assert whole.entities > 4 * len(holdout)
    assert (whole.windows, later.windows, short.windows) == (9, 7, 2)
    assert short.entities == len(holdout)
    assert whole.high - whole.low < short.high - short.low  # type: ignore[operator]


def parts(seed: int, rows: int = 400, better: float = 0.0) -> list[PairedRows]:
    """Two windows, two models that are right by the same amount, unless one is better."""
    draw = np.random.default_rng(seed)
    table = drawn(6 * rows, 0.0, 0)
    found = []
    for at in INSTANTS[:2]:
        one = table.at([at])
        truth = draw.normal(size=len(one))
        label = (truth + draw.normal(size=len(one)) > 1).astype(float)
        noise = draw.normal(size=(2, len(one)))
        rows_ = LabelledRows(**{**vars(one), "label": label})
        found.append(PairedRows(rows_, truth + (1 - better) * noise[0], truth + noise[1]))
    return found


def test_of_two_equally_good_models_neither_is_reliably_better() -> None:
    """The interval is wrong about twice 2.5 % of the time, on small samples too."""
    found = [paired.compare("auc", parts(seed, 60), STEP).estimate for seed in range(400)]
    above = sum(one.low > 0 for one in found if one.low is not None)
    below = sum(one.high < 0 for one in found if one.high is not None)
    assert above + below <= 32  # 8 %
    assert above >= 1  # neither is it so wide as to mean nothing


def test_the_exact_interval_is_about_the_bootstraps() -> None:
    """Of one window both say the same, up to the bootstrap's noise."""
    (one, _) = parts(1, 4_000, better=0.2)
    exact = paired.compare("auc", [one], STEP).estimate

    def better(weights: npt.NDArray[np.float64]) -> float:
        ours, theirs = (
            roc_auc_score(one.rows.label, scores, sample_weight=weights)
            for scores in (one.ours, one.theirs)
        )
        return float(ours - theirs)

    drawn_ = Draws(one.rows.entity, 1).interval(better)
    assert exact.value == pytest.approx(drawn_.value)
    assert exact.low == pytest.approx(drawn_.low, abs=0.015)
    assert exact.high == pytest.approx(drawn_.high, abs=0.015)


def test_rows_of_one_entity_count_as_one() -> None:
    """Showing the same rows twice makes nothing more certain."""
    once, twice = parts(2), parts(2) * 2
    ours, theirs = (paired.compare("auc", one, STEP).estimate for one in (once, twice))
    assert ours.value == pytest.approx(theirs.value)
    assert ours.low == pytest.approx(theirs.low, abs=1e-3)


def test_windows_are_compared_within_themselves() -> None:
    """A model whose scores jump between windows is not worse for it."""
    first, second = parts(3)
    moved = [first, PairedRows(second.rows, second.ours + 100, second.theirs)]
    before, after = (paired.compare("auc", one, STEP) for one in ([first, second], moved))
    assert before == after


def test_nothing_to_compare_gives_no_interval() -> None:
    """No rows, or one class only."""
    (one, _) = parts(1)
    assert paired.compare("auc", [], STEP).estimate.value is None
    alike = PairedRows(
        LabelledRows(**{**vars(one.rows), "label": one.rows.label * 0}), one.ours, one.theirs
    )
    assert paired.compare("auc", [alike], STEP).estimate.value is None


def shifted(level: float) -> tuple[LabelledRows, np.ndarray]:
    """Rows whose positives are twice as frequent as the global model believes."""
    table = draw_table(plan(3, 1, 3_000, sample=0, level=0.0))
    odds = table.probability / (1 - table.probability) * level
    truth = odds / (1 + odds)
    rows = rows_of(table, 1)
    label = (np.random.default_rng(1).random(len(truth)) < truth).astype(float)
    return LabelledRows(**{**vars(rows), "label": label}), truth


def test_recalibration_brings_probabilities_to_the_tenants_level() -> None:
    """And leaves their order as it is."""
    rows, truth = shifted(3.0)
    base = parent().model
    model = fit_recalibrated(CASE, base, rows)
    before, after = base.predict(rows.features), probabilities(model, rows.features)
    assert abs(after.mean() - truth.mean()) < 0.02 < abs(before.mean() - truth.mean())
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) >= -1e-12).all()


@pytest.mark.parametrize("rows", [0, 3])
def test_next_to_no_rows_leave_a_model_nearly_as_it_is(rows: int) -> None:
    """What is learnt is shrunk towards the model it starts from."""
    some = drawn(600, 0.5, 0)
    few = some.where(np.arange(len(some)) < rows)
    base = parent().model.predict(some.features)
    for model in (
        fit_recalibrated(CASE, parent().model, few),
        fit_residual(CASE, parent().model, few, TRAINING, STEP),
    ):
        assert model is not None
        found = probabilities(model, some.features)
        assert np.corrcoef(base, found)[0, 1] > 0.99


def on_top() -> dict[str, Model]:
    rows = drawn(1_200, 0.5, 0)
    residual = fit_residual(CASE, parent().model, rows, TRAINING, STEP)
    assert residual is not None
    return {"residual": residual, "recalibrated": fit_recalibrated(CASE, parent().model, rows)}


@pytest.mark.parametrize("kind", ["residual", "recalibrated"])
def test_models_on_top_come_back_from_their_bytes(kind: str) -> None:
    """The same predictions, the same bytes, and reasons that add up to the margin."""
    model, features = on_top()[kind], drawn(300, 0.5, 1).features
    content = to_bytes(model)
    back = from_bytes(content)
    assert to_bytes(back) == content
    found = probabilities(back, features)
    assert np.array_equal(found, model.predict(features))
    assert model.predict(features.slice(0, 0)).shape == (0,)
    told = back.predictor.contributions(features)  # type: ignore[union-attr]
    margin = told.base + told.values.sum(axis=1)
    assert np.allclose(margin, np.log(found / (1 - found)), atol=1e-6)
    holes = pa.table({name: pa.array([None, np.inf], pa.float64()) for name in CASE.columns})
    probabilities(back, holes)


def payloads() -> dict[str, Any]:
    """Ways to spoil a document of a model on top."""
    return {
        "no base": {"base": None},
        "a base on top": {"base": json.loads(to_bytes(on_top()["residual"]))},
        "a list as base": {"base": [1]},
        "an unknown link": {"link": "probit", "falling": "probit"},
        "another part": {"code": "import os"},
        "text for a number": {"offset": "1", "linear": {"intercept": "1"}},
        "not a number": {"offset": float("nan"), "linear": float("inf")},
        "too few weights": {"linear": {"weight": [1.0]}, "rising": None},
        "trees that are none": {"trees": "tree\nversion=v9", "falling": True},
        "other features": {"features": ["a"], "offset": None},
        "features twice": {"features": [1, 2], "rising": "x"},
    }


@pytest.mark.parametrize("kind", ["residual", "recalibrated"])
@pytest.mark.parametrize("name", list(payloads()))
def test_hostile_models_on_top_are_refused(kind: str, name: str) -> None:
    """Whatever is not what was written is an integrity error."""
    document = json.loads(to_bytes(on_top()[kind]))
    for part, value in payloads()[name].items():
        if part in document["payload"] or part == "code":
            old = document["payload"].get(part)
            merged = (
                {**old, **value}
                if isinstance(old, dict) and part == "linear" and isinstance(value, dict)
                else value
            )
            document["payload"][part] = merged
    content = json.dumps(document).encode()
    with pytest.raises(IntegrityError):
        from_bytes(content)


def test_columns_that_contradict_the_parts_are_refused() -> None:
    """The document's columns are what the base and the residual read, no more and no less."""
    document = json.loads(to_bytes(on_top()["residual"]))
    document["columns"] = [*document["columns"], "more"]
    with pytest.raises(IntegrityError, match="columns"):
        from_bytes(json.dumps(document).encode())


def test_the_case_of_the_benchmark_is_churn() -> None:
    """What is simulated is trained by the declaration that is shipped, columns aside."""
    assert isinstance(CASE, TableCase)
    assert CASE.name == "churn"
    assert CASE.metric == "auc"
