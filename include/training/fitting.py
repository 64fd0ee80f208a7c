"""Fits a model of the tenant's own: a few settings, chosen on an inner window, seeds stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np

from include.models.contributors import Contributors
from include.models.model import Model
from include.training.contributors import without_extremes
from include.training.estimators import NAMES, Settings, row_estimator
from include.training.lists import fit_lists
from include.training.metrics import measure
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase

#: Estimator → the settings it is tried with; the first one is taken where nothing can choose.
SETTINGS: Final[Mapping[str, tuple[Settings, ...]]] = {
    name: row_estimator(name).SETTINGS for name in NAMES
}
#: The same for the rows of many tenants, which bear larger models.
GLOBAL_SETTINGS: Final[Mapping[str, tuple[Settings, ...]]] = {
    name: (*SETTINGS[name], *row_estimator(name).MORE_SETTINGS) for name in NAMES
}


@dataclass(frozen=True)
class Fitted:
    """The chosen model, and what every setting reached on the inner window."""

    model: Model
    trials: tuple[Mapping[str, Any], ...]


def fit_best(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    horizon: timedelta,
    tried: Mapping[str, tuple[Mapping[str, Any], ...]] = SETTINGS,
    contributors: Contributors | None = None,
) -> Fitted:
    """Choose estimator and setting on the inner window, then fit on all training rows.

    Args:
        tried: estimator → settings.
        contributors: of a model that other tenants get: whom what it keeps has to have.
    """
    if use_case.lists:
        return Fitted(*fit_lists(use_case, training, windows, contributors=contributors))
    earlier, last = windows.inner(horizon)
    trials: list[dict[str, Any]] = []
    for name in use_case.estimators:
        trials += [{"estimator": name, "settings": dict(s)} for s in tried[name]]
    chosen = trials[0]
    if last is not None and len(trials) > 1:
        inner, outer = training.at(earlier), training.at([last])
        if _both_classes(inner) and _both_classes(outer):
            for trial in trials:
                model = fit(use_case, trial["estimator"], trial["settings"], inner, contributors)
                scores = model.predict(outer.features)
                trial[use_case.metric] = measure(use_case.metric, outer, scores)
            reached = [trial[use_case.metric] for trial in trials]
            chosen = trials[int(np.argmax([-1.0 if r is None else r for r in reached]))]
    model = fit(use_case, chosen["estimator"], chosen["settings"], training, contributors)
    return Fitted(model, tuple(trials))


def fit(
    use_case: UseCase,
    estimator: str,
    settings: Mapping[str, Any],
    rows: LabelledRows,
    contributors: Contributors | None = None,
) -> Model:
    """One estimator on all of `rows`; the same rows give the same model, bit by bit.

    Args:
        contributors: see `fit_best`.
    """
    model = row_estimator(estimator).fit(use_case, settings, rows, contributors)
    return model if contributors is None else without_extremes(model)


def _both_classes(rows: LabelledRows) -> bool:
    return len(rows) > 0 and 0 < int(rows.label.sum()) < len(rows)
