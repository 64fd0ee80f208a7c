from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.monitoring.profiles import Profile, WindowProfile, profile, profile_window
from include.monitoring.statistics import comparable, distance
from include.monitoring.windows import WindowSample

AT = datetime(2024, 5, 4, tzinfo=UTC)  # a Saturday
NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan")) | st.sampled_from([0.0, 1.0, 2.0, 0.1])


def of(values: npt.NDArray[np.float64]) -> Profile:
    return profile(WindowSample(values, len(values)))


def stored(found: WindowProfile) -> WindowProfile:
    return WindowProfile.from_json(json.loads(json.dumps(found.to_json())))


@given(values=arrays(np.float64, st.integers(0, 400), elements=NUMBERS))
def test_a_sketch_loses_no_row(values: npt.NDArray[np.float64]) -> None:
    """Every row is at a cut, between two, or null; and half of nothing is up to minus infinity."""
    found = of(values)
    assert found.rows == len(values)
    assert found.nulls == np.isnan(values).sum()
    assert len(found.cuts) <= 61
    assert (np.diff(found.cuts) > 0).all()
    ends = found.up_to(np.array([-2e6, 2e6]))
    assert ends.tolist() == [0, len(values) - found.nulls]


@pytest.mark.parametrize("shape", ["lognormal", "zeros", "counts"])
def test_the_share_below_any_value_is_off_by_a_sixtieth_at_most(shape: str) -> None:
    """Whatever the shape, an edge that was not foreseen is right to within one cell."""
    draw = np.random.default_rng(3)
    values = {
        "lognormal": draw.lognormal(0, 2, 5_000),
        "zeros": np.where(draw.random(5_000) < 0.7, 0.0, draw.lognormal(size=5_000)),
        "counts": draw.poisson(300, 5_000).astype(float),
    }[shape]
    edges = np.quantile(values, np.linspace(0.003, 0.997, 89)) * 1.003 + 1e-4
    exact = np.array([(values <= edge).mean() for edge in edges])
    assert np.abs(of(values).up_to(edges) / 5_000 - exact).max() <= 1 / 60


def test_a_heavy_value_is_exact() -> None:
    """A third of the rows at 1.0 are not spread over the values before it."""
    values = np.concatenate([np.linspace(0, 0.5, 400), np.ones(300), np.linspace(2, 3, 200)])
    found = of(values)
    assert found.exactly(np.array([1.0, 0.7])).tolist() == [300, 0]
    assert found.up_to(np.array([0.99, 1.0])).tolist() == pytest.approx([400, 700], abs=1)


def test_a_sketch_survives_being_kept_as_json() -> None:
    """What is read back compares as what was stored: no distance at all, and the same weekdays."""
    draw = np.random.default_rng(1)
    table = pa.table(
        {
            "user_id": [f"u{i}" for i in range(300)],
            "as_of": pa.array([AT] * 300, pa.timestamp("us", tz="UTC")),
            "spend": draw.lognormal(size=300),
            "visits": draw.poisson(2, 300),
            "city": pa.array([None if i % 7 == 0 else f"city {i % 80}" for i in range(300)]),
            "void": pa.nulls(300, pa.float64()),
        }
    )
    found = profile_window(table, ("user_id",))
    again = stored(found)
    assert again.to_json() == found.to_json()
    assert (again.entities, again.weekdays, again.keyed) == (300, frozenset({5}), True)
    for name in ("spend", "visits", "city"):
        assert distance(again.columns[name], found.columns[name]).psi == 0
        assert again.columns[name].level == "user_id"
    assert comparable(again.columns, found.columns)[1] == {"void": "all null in the reference"}


def test_no_text_of_the_data_is_kept() -> None:
    """A profile holds digests: two windows can be compared, but nobody's city can be read."""
    sample = WindowSample(np.array(["Ann Arbor"] * 30 + ["Boston"] * 20 + [None], dtype=object), 51)
    kept = json.dumps(profile(sample).to_json())
    assert "Boston" not in kept
    assert "Ann" not in kept


def test_the_mean_is_close_enough_to_judge_rates_by() -> None:
    """The mean of a sketch is that of the values, to a hundredth of their spread."""
    draw = np.random.default_rng(6)
    values = draw.beta(2, 8, 5_000)
    assert of(values).mean == pytest.approx(values.mean(), abs=0.01 * values.std())
    assert np.isnan(of(np.full(5, np.nan)).mean)
    assert of(np.array([0.0, 1.0, 1.0, np.nan])).mean == pytest.approx(2 / 3)


@given(
    numbers=arrays(np.float64, st.integers(1, 60), elements=NUMBERS),
    texts=st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=60),
)
def test_any_two_columns_can_be_compared(
    numbers: npt.NDArray[np.float64], texts: list[str | None]
) -> None:
    """Numbers, texts, nulls and mixtures of kinds: a finite distance or a reason."""
    sides = {
        "n": of(numbers),
        "t": profile(WindowSample(np.array(texts, dtype=object), len(texts))),
    }
    for before in sides.values():
        for after in (*sides.values(), of(np.full(4, np.nan))):
            names, skipped = comparable({"x": before}, {"x": after})
            assert len(names) + len(skipped) == 1
            if names:
                assert np.isfinite(distance(before, after).psi)
