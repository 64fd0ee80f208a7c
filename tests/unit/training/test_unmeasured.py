"""Why a holdout decides nothing: the real cause is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from include import use_cases
from include.training.evaluation import unmeasured


def holdout(labels: list[int]) -> Any:
    """As much of a holdout as is asked about."""

    class Rows(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.label)

    return Rows(label=np.array(labels))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0] * 80, "all 80 outcomes of the holdout are of one class (negative)"),
        ([1] * 80, "all 80 outcomes of the holdout are of one class (positive)"),
        ([0] * 79 + [1], ""),
        ([], "the holdout has no rows"),
    ],
)
def test_a_holdout_of_one_class_is_called_that(labels: list[int], said: str) -> None:
    """Eighty entities are not too few: it is their outcomes that tell nothing apart."""
    assert unmeasured(use_cases.get("churn"), holdout(labels)) == said
