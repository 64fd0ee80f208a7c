"""Fits what a tenant's rows add to another's model: a recalibration, or a residual.

Both are shrunk towards the model they start from, by a fixed amount: with nothing to learn they
leave it nearly as it is, so that what is learnt from a few hundred rows does little harm (van
Houwelingen and Le Cessie 1990; Steyerberg et al. 2004, "Validation and updating of predictive
logistic regression models").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from include.models.boosting import SHARED
from include.models.estimators import matrix, signed_log
from include.models.model import Model, Scores
from include.models.recalibrated import (
    Link,
    RecalibratedPredictor,
    log_halves,
    margin_of,
    sigmoid,
)
from include.models.residual import LinearPart, ResidualPredictor, raw_scores
from include.training.metrics import measure
from include.training.rows import LabelledRows
from include.training.trees import boosted
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Penalty of a standardised feature's weight, in rows; that of the stretch, and of the intercept.
PENALTY: Final = 60.0
STRETCH_PENALTY: Final = 1.0
INTERCEPT_PENALTY: Final = 0.01
#: Penalty of a recalibration's parameters for leaving 1, 1 and 0.
RECALIBRATION_PENALTY: Final = (10.0, 10.0, 0.01)
#: Rows per tree at least: a tenant of 1,000 rows gets ten.
ROWS_PER_TREE: Final = 100
MOST_TREES: Final = 200
#: Shares of the most trees at which the inner window is looked at.
STOPS: Final = (0.25, 0.5, 0.75, 1.0)
#: Standard errors by which trees must have improved it, or there are none (Breiman et al. 1984).
ERRORS: Final = 1.0
TREES: Final[Mapping[str, Any]] = {
    "num_leaves": 4,
    "min_data_in_leaf": 30,
    **SHARED,
}
#: Length of the gradient below which a fit has converged.
_CONVERGED: Final = 1e-8
#: Spread below which a feature has none.
_NO_SPREAD: Final = 1e-8


def link_of(use_case: UseCase) -> Link:
    """How margins follow from scores: classifiers answer with probabilities, rankings with any."""
    return "log_odds" if use_case.task == "classification" else "identity"


def fit_recalibrated(use_case: UseCase, base: Model, rows: LabelledRows) -> Model:
    """The base, a classifier, with its level and slope brought to the rows' outcomes."""
    penalty, ideal = np.array(RECALIBRATION_PENALTY), np.array([1.0, 1.0, 0.0])
    halves = log_halves(base.predict(rows.features))
    design = np.column_stack([*halves, np.ones(len(rows))])
    fitted = ideal + _logistic(design, design @ ideal, rows, penalty)
    rising, falling, offset = fitted.tolist()
    predictor = RecalibratedPredictor(base, max(rising, 0.0), max(falling, 0.0), offset)
    settings = {"penalty": list(RECALIBRATION_PENALTY), "seed": use_case.seed}
    return Model("recalibrated", base.columns, predictor, settings)


def fit_residual(
    use_case: UseCase, base: Model, rows: LabelledRows, windows: TrainingWindows, horizon: timedelta
) -> Model | None:
    """The base with a shrunken linear part and a few trees on top; None where neither is fitted.

    The number of trees is the one that did best on the inner window, none included.
    """
    link = link_of(use_case)
    values = matrix(rows.features, use_case.columns)
    margin = margin_of(base, rows.features, link)
    rounds = _rounds(use_case, rows, values, margin, windows, horizon)
    linear = _linear(use_case, values, margin, rows)
    trees = _trees(use_case, rows, values, _plus(linear, values, margin), rounds)
    if linear is None and trees is None:
        return None
    predictor = ResidualPredictor(use_case.columns, base, link, linear, trees)
    extra = [name for name in base.columns if name not in use_case.columns]
    settings = {"penalty": PENALTY, **TREES, "rounds": rounds, "seed": use_case.seed}
    return Model("residual", (*use_case.columns, *extra), predictor, settings)


def _rounds(
    use_case: UseCase,
    rows: LabelledRows,
    values: Matrix,
    margin: Scores,
    windows: TrainingWindows,
    horizon: timedelta,
) -> int:
    """How many trees, by early stopping on the last window whose labels come later."""
    earlier, last = windows.inner(horizon)
    most = min(MOST_TREES, len(rows) // ROWS_PER_TREE)
    if last is None or most == 0:
        return 0
    before, after = _taken_at(rows, earlier), _taken_at(rows, [last])
    inner, outer = rows.where(before), rows.where(after)
    if not (_varied(inner) and _varied(outer)):
        return 0
    linear = _linear(use_case, values[before], margin[before], inner)
    start = _plus(linear, values, margin)
    trees = _trees(use_case, inner, values[before], start[before], most)
    assert trees is not None  # at least one was asked for
    stops = sorted({max(1, round(most * share)) for share in STOPS})
    without = _losses(use_case, outer, start[after])
    best, lowest, clear = 0, 0.0, False
    for stop in stops:
        margins = start[after] + raw_scores(trees, values[after], stop)
        change = _losses(use_case, outer, margins) - without
        if change.mean() < lowest:
            best, lowest = stop, float(change.mean())
            clear = bool(-lowest > ERRORS * change.std() / np.sqrt(len(change)))
    return best if clear else 0


def _losses(use_case: UseCase, rows: LabelledRows, margin: Scores) -> Vector:
    """The loss on the inner window, per row; for a ranking one figure, the metric's negative."""
    if use_case.task == "ranking":
        return np.array([-(measure(use_case.metric, rows, margin) or 0.0)])
    return np.asarray((np.logaddexp(0, margin) - rows.label * margin) * rows.weight)


def _linear(
    use_case: UseCase, values: Matrix, margin: Scores, rows: LabelledRows
) -> LinearPart | None:
    """Ridge regression with the base's margin as offset; none for rankings."""
    if use_case.task == "ranking":
        return None
    logs = signed_log(values)
    present = ~np.isnan(logs)
    count = np.maximum(present.sum(axis=0), 1)
    centre = np.where(present, logs, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(present, logs - centre, 0.0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > _NO_SPREAD, spread, 1.0)
    empty = tuple(np.zeros(values.shape[1]).tolist())
    part = LinearPart(0.0, 0.0, tuple(centre.tolist()), tuple(scale.tolist()), empty)
    design = np.column_stack([np.ones(len(rows)), margin, part.standardised(values)])
    penalty = np.full(design.shape[1], PENALTY)
    penalty[:2] = INTERCEPT_PENALTY, STRETCH_PENALTY
    intercept, stretch, *weight = _logistic(design, margin, rows, penalty).tolist()
    return LinearPart(intercept, stretch, part.centre, part.scale, tuple(weight))


def _logistic(design: Matrix, offset: Vector, rows: LabelledRows, penalty: Vector) -> Vector:
    """Penalised logistic regression with an offset: the minimum of a convex loss."""
    label, weight = rows.label, rows.weight

    def loss(at: Vector) -> tuple[float, Vector]:
        margin = offset + design @ at
        losses = weight * (np.logaddexp(0, margin) - label * margin)
        gradient = design.T @ (weight * (sigmoid(margin) - label)) + penalty * at
        return float(losses.sum() + 0.5 * (penalty * at**2).sum()), gradient

    def hessian(at: Vector) -> Matrix:
        chance = sigmoid(offset + design @ at)
        curvature = weight * chance * (1 - chance)
        return np.asarray((design * curvature[:, None]).T @ design + np.diag(penalty))

    start = np.zeros(design.shape[1])
    minimum = minimize(
        loss, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": _CONVERGED}
    )
    return np.asarray(minimum.x)


def _trees(
    use_case: UseCase, rows: LabelledRows, values: Matrix, start: Scores, rounds: int
) -> lightgbm.Booster | None:
    if rounds == 0:
        return None
    return boosted(use_case, rows, values, use_case.columns, TREES, rounds, start)


def _plus(linear: LinearPart | None, values: Matrix, margin: Scores) -> Scores:
    return margin if linear is None else margin + linear.added(values, margin)


def _taken_at(rows: LabelledRows, instants: Sequence[datetime]) -> npt.NDArray[np.bool_]:
    wanted = [np.datetime64(at.replace(tzinfo=None), "us") for at in instants]
    return np.isin(rows.as_of, wanted)


def _varied(rows: LabelledRows) -> bool:
    """Whether the rows have more than one label."""
    return len(rows) > 0 and bool((rows.label != rows.label[0]).any())
