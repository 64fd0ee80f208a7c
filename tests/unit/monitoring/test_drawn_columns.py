"""Which columns a page draws: enough to look at, and never so many that nobody does."""

from __future__ import annotations

import numpy as np
import pytest

from include.monitoring.drift_page import columns_to_draw
from include.monitoring.statistics import ColumnDrift
from include.monitoring.windows import WindowPair, WindowSample


def column(number: int, psi: float, limit: float = 0.2) -> ColumnDrift:
    """A column that drifted where its PSI reaches its limit."""
    return ColumnDrift(f"c{number}", psi, 0.5, limit, psi >= limit, 100, 100, 0.0, 0.0)


@pytest.mark.parametrize(("drifted", "drawn"), [(0, 12), (3, 12), (15, 15), (40, 24)])
def test_what_drifted_is_drawn_and_some_beside_it(drifted: int, drawn: int) -> None:
    """All that drifted, but for very many, and the nearest of the others."""
    judged = [column(n, 0.3 if n < drifted else n / 1_000) for n in range(60)]
    samples = {one.column: WindowSample(np.zeros(3), 3) for one in judged}
    chosen = columns_to_draw(judged, WindowPair(samples, samples, {}, 3, 3))
    assert len(chosen) == drawn
    assert sum(one.drifted for one in chosen) == min(drifted, 24)
    others = drawn - min(drifted, 24)
    nearest = sorted(one.psi for one in judged if not one.drifted)[60 - drifted - others :]
    assert sorted(one.psi for one in chosen if not one.drifted) == nearest


def test_a_column_that_one_window_lacks_is_not_drawn() -> None:
    """Nor does the order in which columns were judged change."""
    judged = [column(2, 0.1), column(1, 0.3), column(0, 0.2, limit=float("inf"))]
    samples = {name: WindowSample(np.zeros(3), 3) for name in ("c0", "c2")}
    chosen = columns_to_draw(judged, WindowPair(samples, samples, {}, 3, 3))
    assert [one.column for one in chosen] == ["c2", "c0"]
