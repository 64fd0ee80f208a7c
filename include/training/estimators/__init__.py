"""One module per estimator, named as in `use_cases.declaration.ESTIMATORS`, that fits it.

Estimators that score rows have `SETTINGS` and `fit`; those that answer with lists have `fit_lists`.
Neither reads the clock: the same rows give the same model, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from include.models.contributors import Contributors
from include.models.model import Model
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import ESTIMATORS, UseCase

Settings = Mapping[str, Any]
#: What each setting reached on the inner window.
Trials = tuple[Mapping[str, Any], ...]


class RowEstimator(Protocol):
    """The module of an estimator that scores rows."""

    SETTINGS: tuple[Settings, ...]  #: it is tried with; the first is taken where nothing can choose
    #: Further ones for the rows of many tenants, which bear larger models.
    MORE_SETTINGS: tuple[Settings, ...]

    def fit(
        self,
        use_case: UseCase,
        settings: Settings,
        rows: LabelledRows,
        contributors: Contributors | None = None,
    ) -> Model:
        """The model of all rows.

        Args:
            contributors: for a model that other tenants get: how many must share what it names.
        """


class ListEstimator(Protocol):
    """The module of an estimator that answers with lists."""

    def fit_lists(
        self,
        use_case: UseCase,
        training: LabelledRows,
        windows: TrainingWindows,
        parent: Model | None = None,
        contributors: Contributors | None = None,
    ) -> tuple[Model, Trials]:
        """The model, with settings chosen on the inner window, and what each of them reached.

        Args:
            parent: the global model, for estimators that draw a tenant's model towards it.
            contributors: for a model that other tenants get: how many must share its items.
        """


def row_estimator(name: str) -> RowEstimator:
    """The module of an estimator that scores rows."""
    return cast(RowEstimator, import_module(f"{__name__}.{name}"))


def list_estimator(name: str) -> ListEstimator:
    """The module of an estimator that answers with lists."""
    return cast(ListEstimator, import_module(f"{__name__}.{name}"))


#: Names of the estimators that score rows.
NAMES = tuple(name for name, one in ESTIMATORS.items() if not one.lists)
