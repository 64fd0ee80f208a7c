from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from include.models.measures import (
    LISTS,
    ROWS,
    area_under_curve,
    difference,
    measure_lists,
    measure_rows,
)

Floats = npt.NDArray[np.float64]
BOTH_CLASSES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40
).filter(lambda rows: len({truth for truth, _ in rows}) == 2)


def measured(metric: str, outcome: Floats, score: Floats) -> tuple[float, float]:
    found = measure_rows(metric, [f"e{i}" for i in range(len(outcome))], outcome, score)
    assert found is not None
    return found.value, found.error


@given(rows=BOTH_CLASSES)
def test_areas_are_the_textbook_ones(rows: list[tuple[bool, int]]) -> None:
    """The areas under both curves agree with scikit-learn's, ties included."""
    truth = np.array([t for t, _ in rows])
    scores = np.array([s for _, s in rows], dtype=np.float64)
    assert abs(area_under_curve(truth, scores) - roc_auc_score(truth, scores)) < 1e-12
    outcome = truth.astype(np.float64)
    assert measured("auc", outcome, scores)[0] == pytest.approx(roc_auc_score(truth, scores))
    expected = average_precision_score(truth, scores)
    assert measured("average_precision", outcome, scores)[0] == pytest.approx(expected)


@pytest.mark.parametrize("metric", [m for m in ROWS if "@" not in m])
@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "ties"])
def test_an_influence_is_what_one_more_of_an_entity_would_do(metric: str, ties: bool) -> None:
    """Each entity's influence is the slope of the metric as that entity is repeated."""
    draw = np.random.default_rng(4)
    outcome = (draw.random(400) < 0.3).astype(np.float64)
    score = np.clip(0.3 + 0.3 * outcome + draw.normal(0, 0.25, 400), 0, 1)
    score = np.round(score, 1) if ties else score
    found = ROWS[metric](outcome, score)
    assert found is not None
    value, influence = found
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    for one in (0, 17, int(outcome.argmax()), int(score.argmax()), int(score.argmin())):
        more = ROWS[metric](np.append(outcome, outcome[one]), np.append(score, score[one]))
        assert more is not None
        assert more[0] - value == pytest.approx(
            influence[one], abs=2e-4 + 0.05 * abs(influence[one])
        )


@pytest.mark.parametrize("metric", list(ROWS))
def test_the_standard_error_is_the_spread_of_repetitions(metric: str) -> None:
    """Over fresh draws of 600 entities the metric spreads as its standard error says."""
    draw = np.random.default_rng(8)
    values, errors = [], []
    for _ in range(150):
        outcome = (draw.random(600) < 0.3).astype(np.float64)
        score = np.clip(0.3 + 0.2 * outcome + draw.normal(0, 0.3, 600), 0, 1)
        value, error = measured(metric, outcome, score)
        values.append(value)
        errors.append(error)
    assert 0.8 < np.mean(errors) / np.std(values) < 1.25


def test_two_models_on_the_same_entities_differ_by_less_than_their_errors_say() -> None:
    """The error of a paired difference is far below that of two independent figures."""
    draw = np.random.default_rng(2)
    names = [f"e{i}" for i in range(800)]
    outcome = (draw.random(800) < 0.4).astype(np.float64)
    old = outcome + draw.normal(0, 1, 800)
    new = old + 0.1 * draw.normal(0, 1, 800)
    ours, theirs = (
        measure_rows("auc", names, outcome, new),
        measure_rows("auc", names, outcome, old),
    )
    assert ours is not None
    assert theirs is not None
    gain = difference(ours, theirs)
    assert gain is not None
    assert gain[1] < 0.3 * ours.error
    assert difference(ours, measure_rows("auc", names[::-1], outcome, old) or ours) is None


def test_forecast_accuracy_by_hand() -> None:
    """Errors of 1, 2 and 1 on totals of 10: 1 − 4 / 10."""
    value, _ = measured("forecast_accuracy", np.array([2.0, 8.0, 0.0]), np.array([3.0, 6.0, 1.0]))
    assert value == pytest.approx(0.6)


def test_lists_are_judged_by_their_first_ten() -> None:
    """An item in tenth place counts, in eleventh not; nDCG agrees with scikit-learn's."""
    items = [f"i{n:02}" for n in range(12)]
    wanted = {"ann": {"i09"}, "bob": {"i10"}, "cat": set[str](), "dan": {"i00", "i04"}}
    lists = dict.fromkeys(["ann", "bob", "cat", "dan"], items)
    hit = measure_lists("hit@10", lists, {(who, who): items for who, items in wanted.items()})
    assert hit is not None
    assert (hit.value, hit.entities) == (2 / 3, ("ann", "bob", "dan"))
    truth = [[float(i in wanted["dan"]) for i in items]]
    expected = ndcg_score(truth, [list(range(12, 0, -1))], k=10)
    assert LISTS["ndcg@10"](items, wanted["dan"]) == pytest.approx(expected)


def test_items_of_a_basket_ask_each_for_its_own_list() -> None:
    """As when the version was promoted: the mean is over what was asked, the error over baskets."""
    lists = {"tea": ["ink"], "ink": ["tea"], "ale": ["ink"]}
    wanted = {
        ("x", "tea"): {"ink"},
        ("x", "ink"): {"tea"},
        ("y", "tea"): {"ale"},
        ("y", "ale"): {"tea"},
        ("z", "unknown"): {"tea"},
    }
    found = measure_lists("hit@10", lists, wanted)
    assert found is not None
    assert (found.value, found.entities) == (0.5, ("x", "y"))
    assert found.influence.tolist() == [0.25, -0.25]


@pytest.mark.parametrize("metric", list(ROWS))
@pytest.mark.parametrize("outcome", [[], [0.0], [0.0, 0.0]], ids=["none", "one", "alike"])
def test_what_cannot_be_measured_is_not(metric: str, outcome: list[float]) -> None:
    """Without outcomes, or with all of them 0, no metric has a value."""
    names = [f"e{i}" for i in range(len(outcome))]
    assert measure_rows(metric, names, np.array(outcome), np.zeros(len(outcome))) is None
