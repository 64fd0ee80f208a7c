"""Feature tables with known truth: what they say about themselves is so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.quality.tables import Drift, Table, TablePlan, draw_table, true_probability
from include.errors import ConfigError

PLAN = TablePlan(seed=3, rows=20_000, positive_rate=0.2)


def after(table: Table, day: int = 90) -> NDArray[np.bool_]:
    """Rows of that day or a later one."""
    return table.day >= day


def far(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many standard errors the columns' means lie apart."""
    errors = np.sqrt(left.var(axis=0) / len(left) + right.var(axis=0) / len(right))
    return np.abs(left.mean(axis=0) - right.mean(axis=0)) / errors


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    rows=st.integers(0, 300),
    deviation=st.floats(0, 1),
    features=st.integers(1, 40),
    rate=st.floats(0.001, 0.999),
    kind=st.sampled_from(["covariate", "concept", "prior", "seasonal"]),
    at=st.integers(-20, 250),
    over=st.sampled_from([0, 1, 30]),
)
def test_any_plan_gives_a_well_formed_table_twice_the_same(
    seed: int,
    rows: int,
    deviation: float,
    features: int,
    rate: float,
    kind: str,
    at: int,
    over: int,
) -> None:
    """Every plan in range is drawn with its rows and columns, and again with the same bytes."""
    drift = Drift(kind, at, 0.7, over)  # type: ignore[arg-type]
    plan = TablePlan(seed, rows, deviation, features, rate, drift)
    table = draw_table(plan)
    again = draw_table(plan)
    assert table.features.column_names == [f"f{i}" for i in range(features)]
    assert table.features.num_rows == len(table.label) == len(table.day) == rows
    assert np.isfinite(table.matrix).all()
    assert set(np.unique(table.label)) <= {0, 1}
    assert (np.diff(table.day) >= 0).all()
    assert ((table.probability >= 0) & (table.probability <= 1)).all()
    assert table.features.equals(again.features)
    assert table.label.tobytes() == again.label.tobytes()
    assert table.probability.tobytes() == again.probability.tobytes()


@pytest.mark.parametrize(
    "drift",
    [
        None,
        Drift("covariate", 90),
        Drift("concept", 90, 0.8),
        Drift("prior", 90, 1.2, over=40),
        (Drift("prior", 90, -1.0), Drift("covariate", 60)),
        Drift("seasonal", 0, over=7),
    ],
)
def test_labels_come_as_often_as_the_true_probability_says(
    drift: Drift | tuple[Drift, ...] | None,
) -> None:
    """In every tenth of the true probability, before and after drift, the labels keep to it."""
    table = draw_table(replace(PLAN, rows=60_000, deviation=0.3, drift=drift))
    for part in (after(table), ~after(table)):
        p, y = table.probability[part], table.label[part]
        for tenth in np.array_split(np.argsort(p), 10):
            error = np.sqrt((p[tenth] * (1 - p[tenth])).sum()) / len(tenth)
            assert abs(y[tenth].mean() - p[tenth].mean()) < 4 * error


def test_the_positive_rate_is_the_one_asked_for() -> None:
    """Whatever the tenant's deviation, the mean probability is the plan's rate."""
    for rate in (0.01, 0.2, 0.7):
        for tenant, deviation in enumerate((0.0, 0.4, 1.0)):
            table = draw_table(
                TablePlan(9, 40_000, deviation, positive_rate=rate, tenant=tenant, signal=1.0)
            )
            assert table.probability.mean() == pytest.approx(rate, rel=0.12)


def test_no_deviation_means_one_mechanism() -> None:
    """With deviation 0 two tenants answer the same features with the same probabilities."""
    table = draw_table(replace(PLAN, tenant="a"))
    exposed = table.matrix.T
    other = true_probability(replace(PLAN, tenant="b"), exposed, table.day)
    assert np.array_equal(other, table.probability)
    assert not draw_table(replace(PLAN, tenant="b")).features.equals(table.features)


def test_the_deviation_is_the_share_of_variance_that_is_a_tenants_own() -> None:
    """The true log odds of a tenant correlate with the global ones by √(1 − deviation)."""

    def log_odds(plan: TablePlan, table: Table) -> NDArray[np.float64]:
        p = true_probability(plan, table.matrix.T, table.day)
        return np.log(p / (1 - p))

    for deviation in (0.1, 0.5, 0.9):
        found = []
        for tenant in range(30):
            table = draw_table(TablePlan(5, 2_000, deviation, tenant=tenant))
            mine = log_odds(TablePlan(5, 2_000, deviation, tenant=tenant), table)
            everyones = log_odds(TablePlan(5, 2_000, 0.0), table)
            found.append(np.corrcoef(mine, everyones)[0, 1])
        assert found == pytest.approx([np.sqrt(1 - deviation)] * 30, abs=0.12)
        assert np.mean(found) == pytest.approx(np.sqrt(1 - deviation), abs=0.01)


def test_the_truth_beats_a_model_and_another_tenants_truth() -> None:
    """The true probability ranks better than a fitted line and than the global mechanism."""
    plan = replace(PLAN, deviation=0.5)
    train, test = draw_table(plan), draw_table(replace(plan, sample=1))
    line = LogisticRegression(max_iter=1_000).fit(train.matrix, train.label)
    everyones = true_probability(replace(plan, deviation=0.0), test.matrix.T, test.day)
    best = roc_auc_score(test.label, test.probability)
    assert best > roc_auc_score(test.label, line.predict_proba(test.matrix)[:, 1]) + 0.02
    assert best > roc_auc_score(test.label, everyones) + 0.02


def test_no_signal_leaves_nothing_to_learn() -> None:
    """With signal 0 every row has the base rate as its probability."""
    table = draw_table(replace(PLAN, signal=0.0))
    assert table.probability == pytest.approx(0.2, abs=1e-6)


def test_before_its_day_a_drift_changes_nothing() -> None:
    """Rows before the onset are those of the plan without drift, byte for byte."""
    plain = draw_table(PLAN)
    early = ~after(plain)
    for kind, size in (("covariate", 2.0), ("concept", 1.0)):
        table = draw_table(replace(PLAN, drift=Drift(kind, 90, size)))  # type: ignore[arg-type]
        assert np.array_equal(table.matrix[early], plain.matrix[early])
        assert np.array_equal(table.probability[early], plain.probability[early])
        assert np.array_equal(table.label[early], plain.label[early])
    prior = draw_table(replace(PLAN, drift=Drift("prior", 90, 1.0)))
    assert np.array_equal(prior.matrix[early], plain.matrix[early])


def test_covariate_drift_moves_features_and_leaves_the_mechanism() -> None:
    """A third of the features move, the others don't, and labels follow features as before."""
    drifted = replace(PLAN, drift=Drift("covariate", 90, 1.0))
    table = draw_table(drifted)
    late = after(table)
    moved = far(table.matrix[late], table.matrix[~late]) > 8
    assert moved.sum() == 4
    assert (far(table.matrix[late], table.matrix[~late])[~moved] < 4).all()
    assert np.array_equal(true_probability(PLAN, table.matrix.T, table.day), table.probability)


def test_concept_drift_changes_the_mechanism_and_leaves_features() -> None:
    """Features are those of the plan without drift; what they mean is another thing after it."""
    plain = draw_table(PLAN)
    table = draw_table(replace(PLAN, drift=Drift("concept", 90, 0.8)))
    assert table.features.equals(plain.features)
    late = after(table)
    assert np.corrcoef(plain.probability[late], table.probability[late])[0, 1] < 0.75


def test_prior_drift_leaves_what_positives_look_like() -> None:
    """The odds rise by the factor named, while the features within each label stay alike."""
    plan = replace(PLAN, rows=60_000, drift=Drift("prior", 90, 1.0))
    table = draw_table(plan)
    late = after(table)
    rate = table.label[late].mean()
    assert np.log(rate / (1 - rate)) == pytest.approx(np.log(0.25) + 1.0, abs=0.06)
    for outcome in (0, 1):
        of = table.label == outcome
        assert (far(table.matrix[late & of], table.matrix[~late & of]) < 4).all()
    assert np.allclose(true_probability(plan, table.matrix.T, table.day), table.probability)


def test_a_gradual_drift_comes_in_equal_steps() -> None:
    """Half of a gradual change has come at half of its days, all of it at the end."""
    days = np.array([0, 89, 90, 109, 129, 130, 400])
    gradual = Drift("covariate", 90, over=40).strength(days)
    assert gradual.tolist() == [0, 0, 1 / 40, 0.5, 1, 1, 1]
    assert Drift("prior", 90).strength(days).tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_a_season_returns() -> None:
    """A season is drift from one half year to the next, and none from year to year."""
    plan = replace(PLAN, rows=40_000, days=730, drift=Drift("seasonal", 0, 1.0))
    table = draw_table(plan)
    part = table.day // 91
    summer, next_summer, winter = (table.matrix[part == number] for number in (2, 6, 4))
    assert (far(summer, winter) > 8).sum() == 4
    assert (far(summer, next_summer) < 4).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drift("gradual", 3),  # type: ignore[arg-type]
        lambda: Drift("concept", 3, 1.5),
        lambda: Drift("prior", 3, over=-1),
        lambda: TablePlan(1, -1),
        lambda: TablePlan(1, 5, deviation=1.1),
        lambda: TablePlan(1, 5, positive_rate=0.0),
        lambda: TablePlan(1, 5, features=0),
    ],
)
def test_impossible_plans_are_refused(make: object) -> None:
    """A plan that cannot be drawn is an error that names the value."""
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]
