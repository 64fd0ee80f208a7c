"""Settings of boosted trees that all models have; the same rows give the same trees, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from include.models.lightgbm_text import OBJECTIVES

SHARED: Final[Mapping[str, Any]] = {
    "learning_rate": 0.06,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
#: Settings of trees fitted to many rows: each tree sees a part of the rows and of the columns.
SAMPLED: Final[Mapping[str, Any]] = {
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    **SHARED,
}
#: Ranked are the items of one entity at one instant (LambdaMART; Burges 2010).
BY_TASK: Final[Mapping[str, Mapping[str, Any]]] = {
    "classification": {"objective": "binary"},
    "ranking": {"objective": "lambdarank", "lambdarank_truncation_level": 15},
}
#: Names and texts in the parameters of a model.
WORDS: Final = frozenset(
    {
        *("rounds", "num_leaves", "min_data_in_leaf", "objective"),
        *(setting for task in BY_TASK.values() for setting in task),
        *(objective.partition(" ")[0] for objective in OBJECTIVES),
        *SAMPLED,
    }
)
