"""ECOD: tails of known values, added up; stored without pickle and read back with suspicion."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import IntegrityError
from include.models import arrays, ecod
from include.models.ecod import EcodPredictor
from include.models.model import Model
from include.models.serialise import from_bytes, to_bytes

Floats = npt.NDArray[np.float64]
COLUMNS = ("request__amount", "payment_velocity__count_1h", "never__known")
DRAW = np.random.default_rng(5)
KNOWN = np.column_stack(
    [DRAW.lognormal(size=500), DRAW.poisson(1.0, 500).astype(float), np.full(500, np.nan)]
)
KNOWN[DRAW.random(500) < 0.1, 0] = np.nan
MODEL = ecod.fit(KNOWN, COLUMNS, {})


def table(values: Floats) -> pa.Table:
    return pa.table({name: values[:, at] for at, name in enumerate(COLUMNS)})


def predictor(model: Model) -> EcodPredictor:
    assert isinstance(model.predictor, EcodPredictor)
    return model.predictor


def by_definition(value: float, known: Floats) -> float:
    """Minus the log of the share at least as far out as the value, which counts itself."""
    there = known[np.isfinite(known)]
    if not len(there) or not math.isfinite(value):
        return 0.0
    most = len(there) + 1
    left, right = (there <= value).sum() + 1, (there >= value).sum() + 1
    return -math.log(min(left, right, most) / most)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(range(500)), st.floats(-5, 50), st.integers(-2, 9))
def test_a_tail_is_what_its_definition_says(row: int, amount: float, count: int) -> None:
    """Known values, values in between, beyond and unknown: each as counted by hand."""
    rows = np.array([KNOWN[row], [amount, count, 1.0], [np.inf, np.nan, np.nan]])
    found = predictor(MODEL).contributions(table(rows))
    wanted = [[by_definition(rows[r, c], KNOWN[:, c]) for c in range(3)] for r in range(3)]
    assert np.allclose(found.values, wanted, rtol=1e-12, atol=1e-12)


def test_a_score_is_the_share_of_known_rows_that_were_less_unusual() -> None:
    """The median row scores about a half, and nothing reaches 1."""
    scores = MODEL.predict(table(KNOWN))
    assert ((scores > 0) & (scores < 1)).all()
    ranks = (scores[:, None] >= scores[None, :]).mean(axis=1)
    assert np.abs(scores - ranks).max() < 0.01


def test_scores_rise_beyond_everything_known() -> None:
    """Of two rows that are both further out than any other, the further one scores higher."""
    calm = [np.nanmedian(KNOWN[:, 0]), 1.0, np.nan]
    sums = predictor(MODEL).sums[-1] * np.array([0.5, 1.0, 1.5, 3.0, 1e6])
    levels = predictor(MODEL).levels(sums)
    assert (np.diff(levels) > 0).all()
    assert levels[-1] < 1
    assert MODEL.predict(table(np.array([calm])))[0] < 0.5


def test_nothing_known_says_nothing() -> None:
    """A row of nulls is as ordinary as can be, and is explained by nothing."""
    empty = table(np.full((1, 3), np.nan))
    assert MODEL.predict(empty)[0] < 0.02
    assert MODEL.details(empty, 3) == [{"reasons": []}]


def test_many_values_are_kept_as_few_without_losing_the_tails() -> None:
    """A hundred thousand values make a small model whose tails are still right."""
    values = np.random.default_rng(1).normal(size=(100_000, 1))
    model = ecod.fit(values, ("x",), {})
    assert len(to_bytes(model)) < 200_000
    asked = np.concatenate([np.sort(values[:, 0])[[0, 1, 2, -3, -1]], [-3.1, 0.01, 2.7]])
    found = predictor(model).contributions(pa.table({"x": asked})).values[:, 0]
    wanted = [by_definition(one, values[:, 0]) for one in asked]
    assert np.allclose(found, wanted, rtol=0.01, atol=0.001)


def test_it_comes_back_with_the_same_scores_and_bytes() -> None:
    """Fitting again, writing and reading change nothing."""
    content = to_bytes(MODEL)
    back = from_bytes(content)
    assert to_bytes(back) == content == to_bytes(ecod.fit(KNOWN, COLUMNS, {}))
    assert np.array_equal(back.predict(table(KNOWN)), MODEL.predict(table(KNOWN)))


def test_no_row_has_no_score() -> None:
    """An empty table is answered with nothing."""
    assert MODEL.predict(table(KNOWN[:0])).shape == (0,)


def _with(change: dict[str, Any]) -> bytes:
    document = json.loads(to_bytes(MODEL))
    kept = arrays.from_bytes(base64.b64decode(document["payload"]))
    document["payload"] = base64.b64encode(arrays.to_bytes({**kept, **change})).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"ends": np.array([1, 2, 99_999], "<i8")},
        {"ends": np.array([5, 2, 7], "<i8")},
        {"values": np.zeros(3)},
        {"sums": np.array([0.0, 2.0, 1.0]), "ranks": np.array([0.0, 1.0, 2.0])},
        {"sums": np.zeros(0), "ranks": np.zeros(0)},
        {"sums": np.array([0.0, np.inf]), "ranks": np.array([0.0, 1.0])},
        {"more": np.zeros(1)},
    ],
)
def test_a_tampered_model_is_refused(change: dict[str, Any]) -> None:
    """Arrays that fit neither the columns nor each other never become a model."""
    with pytest.raises(IntegrityError):
        from_bytes(_with(change))


@pytest.mark.parametrize("payload", ["", "not base64!", {}, "AAAA"])
def test_a_payload_that_is_no_arrays_is_refused(payload: Any) -> None:
    """Anything else where the arrays should be is refused."""
    document = json.loads(to_bytes(MODEL)) | {"payload": payload}
    with pytest.raises(IntegrityError):
        from_bytes(json.dumps(document).encode())
