"""The ladder's benchmark: its truth is the truth, and its shares are shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.quality.ladder import expected_auc, play
from benchmarks.quality.ladder_figures import missed, share, shown, summary
from benchmarks.quality.tables import Table, TablePlan, draw_table


def outcome(**given: Any) -> dict[str, Any]:
    return {
        "seed": 0,
        "tenant": 0,
        "level": 0.0,
        "rows": 1_000,
        "retraining": 0,
        "chosen": "",
        "gain": 0.0,
        "best": 0.0,
        "gains": {"own/residual": 0.0},
        **given,
    }


def test_the_expected_auc_is_the_mean_over_labels() -> None:
    """What labels drawn from the true probabilities give on average, ties counted half."""
    table = draw_table(TablePlan(1, 200))
    scores = np.round(table.probability, 1)
    draw = np.random.default_rng(2)
    found = []
    for _ in range(400):
        label = draw.random(200) < table.probability
        pairs = scores[label][:, None] - scores[~label][None, :]
        found.append((np.sign(pairs) / 2 + 0.5).sum())
    certain = Table(table.features, table.label, table.probability, table.day)
    weight = table.probability[:, None] * (1 - table.probability)[None, :]
    np.fill_diagonal(weight, 0)
    assert np.mean(found) / weight.sum() == pytest.approx(expected_auc(certain, scores), rel=0.02)


def test_figures_count_what_was_promoted_and_what_it_was_worth() -> None:
    """Harm is among those that serve, the gain among all, and retrainings stand apart."""
    world = [
        outcome(seed=0, level=0.5, chosen="own/residual", gain=0.04, best=0.05),
        outcome(seed=1, level=0.5, chosen="own/residual", gain=-0.02, best=0.0),
        outcome(seed=1, level=0.5, best=0.01),
        outcome(seed=0, retraining=1),
        outcome(seed=0, retraining=2, chosen="own/residual", gain=-0.001),
        outcome(seed=1, retraining=1),
    ]
    report = summary(world)
    found = report["rows"]["1000"]
    assert found["tenants"] == 3
    assert found["promoted"][0] == pytest.approx(2 / 3)
    assert found["serving_and_worse"][0] == pytest.approx(1 / 2)
    assert found["captured"][0] == pytest.approx(0.02 / 0.06)
    assert report["retrained"]["tenants"] == 2
    assert report["retrained"]["ever_promoted_though_no_better"][0] == pytest.approx(1 / 2)
    assert "own/residual" in shown(report)
    assert len(missed(report, 1_000)) == 3  # false over retrainings, harm, and too little gain


def test_intervals_of_shares_hold_the_share() -> None:
    """Of nothing there is none."""
    assert share(0, 0) is None
    value, low, high = share(0, 50)  # type: ignore[misc]
    assert (value, low) == (0.0, pytest.approx(0.0, abs=1e-9))
    assert 0.05 < high < 0.1


def test_a_few_tenants_run_through_all_of_it() -> None:
    """Every size, and the retrainings of tenants without a deviation."""
    found = play(0, 1)
    assert {one.rows for one in found} == {300, 1_000, 5_000}
    assert any(one.retraining for one in found)
    assert all(one.best >= max(one.gain, 0.0) for one in found if not one.retraining)
