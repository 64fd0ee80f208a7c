from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from include.monitoring.live import area_under_curve


@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40).filter(
        lambda rows: len({truth for truth, _ in rows}) == 2
    )
)
def test_area_is_the_textbook_one(rows: list[tuple[bool, int]]) -> None:
    """The area agrees with scikit-learn's, ties included."""
    truth = np.array([t for t, _ in rows])
    scores = np.array([s for _, s in rows], dtype=np.float64)
    assert abs(area_under_curve(truth, scores) - roc_auc_score(truth, scores)) < 1e-12
