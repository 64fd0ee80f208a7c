"""EASE: the closed form is what it says, drawn to a prior, and every score can be taken apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from include.errors import ConfigError, IntegrityError, QualityError, UnknownNameError
from include.models import arrays, ease
from include.models.ease import Ease, EaseSettings

Matrix = npt.NDArray[np.float64]
PLAIN = EaseSettings(ridge=2.0)


def table(matrix: Matrix, *, weight: bool = True) -> pa.Table:
    rows, columns = np.nonzero(matrix)
    return pa.table(
        {
            "entity_id": [f"u{row}" for row in rows],
            "item_id": [f"i{column:02}" for column in columns],
            **({"w": matrix[rows, columns]} if weight else {}),
        }
    )


def random_matrix(seed: int, users: int = 40, items: int = 8) -> Matrix:
    """Users of two tastes, so that items of one half go together."""
    generator = np.random.default_rng(seed)
    taste = generator.random(users) < 0.5
    first = np.arange(items) < items // 2
    likely = np.where(taste[:, None] == first[None], 0.6, 0.1)
    matrix = (generator.random((users, items)) < likely).astype(np.float64)
    matrix[0] = 1.0  # everything has been had by somebody
    return matrix


def loss(effects: Matrix, matrix: Matrix, ridge: float, pull: float, prior: Matrix) -> float:
    residual = matrix - matrix @ effects
    away = effects - prior
    return float((residual**2).sum() + ridge * (effects**2).sum() + pull * (away**2).sum())


def test_without_a_prior_it_is_the_published_closed_form() -> None:
    """B is −P_ij / P_jj of the inverse of the ridged Gram matrix, and 0 on the diagonal."""
    matrix = random_matrix(1)
    inverse = np.linalg.inv(matrix.T @ matrix + 2.0 * np.eye(8))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = ease.fit(table(matrix), replace(PLAIN, weight="w"))
    assert found.effects == pytest.approx(expected, abs=1e-3)
    assert not found.effects.diagonal().any()


@pytest.mark.parametrize("pull", [0.5, 5.0, 500.0])
def test_with_a_prior_nothing_near_the_solution_is_better(pull: float) -> None:
    """The gradient of the loss vanishes off the diagonal, where nothing is constrained."""
    matrix = random_matrix(2)
    prior = ease.fit(table(random_matrix(3)), PLAIN)
    found = ease.fit(table(matrix), replace(PLAIN, shrinkage=pull), prior)
    ridge = PLAIN.ridge
    gradient = (
        -matrix.T @ (matrix - matrix @ found.effects)
        + ridge * found.effects
        + pull * (found.effects - prior.effects)
    )
    np.fill_diagonal(gradient, 0.0)
    # half precision moves an effect by 0.0005 of itself, and the gradient with it
    assert np.abs(gradient).max() < 0.002 * (np.abs(matrix.T @ matrix).max() + pull)
    best = loss(found.effects, matrix, ridge, pull, prior.effects)
    generator = np.random.default_rng(0)
    for _ in range(20):
        step = generator.normal(scale=0.02, size=(8, 8))
        np.fill_diagonal(step, 0.0)
        assert loss(found.effects + step, matrix, ridge, pull, prior.effects) > best


def test_shrinkage_goes_from_own_to_the_prior() -> None:
    """None of it gives the tenant's own effects, a great deal of it those of the global model."""
    prior = ease.fit(table(random_matrix(3)), PLAIN)
    history = table(random_matrix(2))
    own = ease.fit(history, PLAIN)
    away = []
    for pull in (0.0, 1.0, 100.0, 1e7):
        found = ease.fit(history, replace(PLAIN, shrinkage=pull), prior)
        away.append(float(np.abs(found.effects - prior.effects).max()))
        if not pull:
            assert (found.effects == own.effects).all()
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-3


def test_a_prior_of_other_items_counts_where_it_knows_them() -> None:
    """Items are matched by id; what only the prior knows does not enter the tenant's model."""
    prior = ease.fit(table(random_matrix(3, items=12)), PLAIN)
    mine = table(random_matrix(2, items=8))
    renamed = pa.table(
        {
            "entity_id": mine["entity_id"],
            "item_id": [
                f"z{item}" if item < "i04" else item for item in mine["item_id"].to_pylist()
            ],
        }
    )
    found = ease.fit(renamed, replace(PLAIN, shrinkage=1e7), prior)
    assert found.items == ("i04", "i05", "i06", "i07", "zi00", "zi01", "zi02", "zi03")
    assert found.effects[:4, :4] == pytest.approx(prior.effects[4:8, 4:8], abs=1e-3)
    assert np.abs(found.effects[4:]).max() < 1e-3


def test_dropout_weighs_the_diagonal_by_its_odds() -> None:
    """A dropout of one half doubles the diagonal of the Gram matrix."""
    matrix = random_matrix(4)
    gram = matrix.T @ matrix
    inverse = np.linalg.inv(gram + 2.0 * np.eye(8) + np.diag(np.diag(gram)))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = ease.fit(table(matrix), replace(PLAIN, dropout=0.5))
    assert found.effects == pytest.approx(expected, abs=1e-3)


def test_lists_leave_out_what_was_seen_unless_told_to_keep_it() -> None:
    """The rule for items seen decides whether an item comes again."""
    history = table(random_matrix(5))
    own = {user: {item for u, item in pairs(history) if u == user} for user, _ in pairs(history)}
    model = ease.fit(history, PLAIN)
    dropped = model.recommend(history, 8)
    assert all(item not in own[user] for user, item in pairs(dropped))
    assert "u0" not in dropped["entity_id"].to_pylist()  # it has had everything
    kept = replace(model, settings=replace(PLAIN, seen="keep")).recommend(history, 8)
    assert kept.num_rows == 8 * len(own)


def pairs(lists: pa.Table) -> list[tuple[str, str]]:
    return list(zip(lists["entity_id"].to_pylist(), lists["item_id"].to_pylist(), strict=True))


def test_a_skipped_item_pulls_down_what_goes_with_it() -> None:
    """A negative weight turns what an item adds round."""
    model = ease.fit(table(random_matrix(6, users=400)), EaseSettings(weight="w"))
    liked = pa.table({"entity_id": ["a"], "item_id": ["i00"], "w": [1.0]})
    skipped = liked.set_column(2, "w", pa.array([-1.0]))
    above, below = (
        {row["item_id"]: row["score"] for row in model.recommend(had, 20).to_pylist()}["i01"]
        for had in (liked, skipped)
    )
    assert above > 0
    assert below == -above


def test_items_beyond_the_bound_are_left_out_and_named() -> None:
    """The items that most entities had are kept, equal ones by id, and the model says which not."""
    matrix = np.zeros((4, 4))
    matrix[:4, 2], matrix[:3, 0], matrix[:1, 1], matrix[:1, 3] = 1, 1, 1, 1
    model = ease.fit(table(matrix), replace(PLAIN, most_items=3))
    assert model.items == ("i00", "i01", "i02")
    assert model.support.tolist() == [3, 1, 4]
    assert model.left_out == ("i03",)


def test_what_the_model_does_not_know_is_passed_over() -> None:
    """Unknown items add nothing, and an entity that had nothing else gets no list."""
    model = ease.fit(table(random_matrix(7)), PLAIN)
    history = pa.table({"entity_id": ["a", "a", "b"], "item_id": ["i00", "new", "new"]})
    lists = model.recommend(history, 3)
    assert set(lists["entity_id"].to_pylist()) == {"a"}
    assert lists["score"].to_pylist() == sorted(lists["score"].to_pylist(), reverse=True)
    assert model.recommend(history.slice(2), 3).num_rows == 0


def test_a_shared_model_lists_only_what_the_tenant_has() -> None:
    """`among` bounds the lists before they are cut, so that they stay as long as can be."""
    model = ease.fit(table(random_matrix(8)), PLAIN)
    history = pa.table({"entity_id": ["a"], "item_id": ["i00"]})
    lists = model.recommend(history, 3, among=["i05", "i06", "i07", "foreign", "i00"])
    assert sorted(lists["item_id"].to_pylist()) == ["i05", "i06", "i07"]


def test_the_order_of_rows_changes_nothing() -> None:
    """The same rows in another order give the same bytes."""
    history = table(random_matrix(9) * np.random.default_rng(1).random((40, 8)))
    shuffled = history.take(pa.array(np.random.default_rng(2).permutation(history.num_rows)))
    one, other = (ease.fit(rows, EaseSettings(weight="w")) for rows in (history, shuffled))
    assert arrays.to_bytes(one.arrays()) == arrays.to_bytes(other.arrays())


def test_a_model_comes_back_with_the_same_lists() -> None:
    """Through bytes and back nothing changes, and the bytes do not either."""
    history = table(random_matrix(10))
    model = ease.fit(history, replace(PLAIN, novelty=0.1, most_items=7))
    content = arrays.to_bytes(model.arrays())
    again = Ease.from_arrays(dict(model.header()), arrays.from_bytes(content))
    assert again.recommend(history, 5).equals(model.recommend(history, 5))
    assert again.left_out == model.left_out != ()
    assert arrays.to_bytes(again.arrays()) == content


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("effects", np.zeros((8, 7), dtype="<f2")),
        ("effects", np.ones((8, 8), dtype="<f2")),
        ("support", np.ones(3, dtype="<i8")),
        ("support", np.full(8, -1, dtype="<i8")),
        ("items_utf8", np.frombuffer(b"i00" * 8, dtype=np.uint8)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, values: Any) -> None:
    """Shapes, signs, a diagonal and ids that no fit gives raise."""
    model = ease.fit(table(random_matrix(11)), PLAIN)
    with pytest.raises(IntegrityError):
        Ease.from_arrays(model.header(), {**model.arrays(), name: values})


def test_choosing_fits_before_and_looks_later() -> None:
    """The best candidate by nDCG of what was not yet seen is chosen, and every figure is told."""
    matrix = random_matrix(12, users=200)
    generator = np.random.default_rng(0)
    later = matrix * (generator.random(matrix.shape) < 0.3)
    before = matrix - later
    candidates = (EaseSettings(ridge=5.0), EaseSettings(ridge=1e9, novelty=2.0))
    found = ease.choose(table(before), table(later), candidates, top=3)
    assert set(found.ndcg) == set(candidates)
    assert found.settings == candidates[0]
    assert found.ndcg[candidates[0]] > found.ndcg[candidates[1]]
    with pytest.raises(ConfigError):
        ease.choose(table(before), table(later), ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"ridge": -1.0},
        {"ridge": 0.0},
        {"dropout": 1.0},
        {"novelty": float("nan")},
        {"most_items": 0},
        {"most_items": 5_001},
        {"seen": "perhaps"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Amounts below 0, a certain dropout, no items and an unknown rule are errors."""
    with pytest.raises(ConfigError):
        EaseSettings(**wrong)


def test_nothing_to_learn_from_is_an_error_that_says_so() -> None:
    """An empty history, one of nothing but refusals, odd weights and missing ids raise."""
    empty = pa.table({"entity_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    with pytest.raises(QualityError, match="nothing can be learnt"):
        ease.fit(empty, PLAIN)
    skipped = pa.table({"entity_id": ["a"], "item_id": ["i"], "w": [-1.0]})
    with pytest.raises(QualityError):
        ease.fit(skipped, replace(PLAIN, weight="w"))
    with pytest.raises(QualityError, match="not finite"):
        ease.fit(skipped.set_column(2, "w", pa.array([np.inf])), replace(PLAIN, weight="w"))
    with pytest.raises(QualityError, match="have no item_id"):
        ease.fit(pa.table({"entity_id": ["a"], "item_id": pa.array([None], pa.string())}), PLAIN)
    with pytest.raises(UnknownNameError, match="known: entity_id, item_id"):
        ease.fit(skipped.select(["entity_id", "item_id"]), replace(PLAIN, weight="w"))
