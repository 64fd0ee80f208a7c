"""The models of a tenant's own, from what it shares with all to what is its alone.

`residual` adds to the global model what the tenant's rows tell (see `updating`), `recalibrated`
brings the global model's level to the tenant's, and the estimators alone know nothing but the
tenant. In clinical prediction the same ladder is known as updating by closed testing (Vergouwe et
al. 2017). They stand in the order in which a promotion tests them, the one with the most power
first.

Whether one is better than who serves shows on later windows. A tenant's last ones alone are too few
rows to show it, so that training itself is gone through as time went by: each later window is
scored by a candidate fitted on nothing but what was known before it (rolling origin; Tashman 2000;
prequential, Dawid 1984). Other than that it is the very recipe by which the candidate proper is
fitted on all training rows. That one is judged on the holdout, beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np

from include.models import forecast
from include.models.model import Model, Scores
from include.registry.evidence import Comparison
from include.training import paired
from include.training.estimators.forecast import recorrected
from include.training.fitting import fit_best
from include.training.lists import fit_lists
from include.training.paired import PairedRows
from include.training.rows import LabelledRows
from include.training.updating import fit_recalibrated, fit_residual
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase

#: Blocks of later windows in training at most, each of which costs another fit.
BLOCKS: Final = 5
#: Share of the training windows, the oldest ones, that are only learnt from.
FIRST: Final = 0.25
#: Rows that it takes to fit on for a later window to be judged.
FEWEST_ROWS: Final = 50
FEWEST_POSITIVES: Final = 10
#: Training rows at most that are gone through as time went by: more fits of more rows cost much,
#: and what more entities would tell is told by the holdout; these are there for their windows.
ENOUGH_ROWS: Final = 20_000
#: Metrics that a recalibration changes; all others look at the order of scores only.
LEVEL_METRICS: Final = ("brier_skill",)


@dataclass(frozen=True)
class Parent:
    """The global model that own ones build on."""

    model: Model
    version: str  #: e.g. `global/churn@3`


@dataclass(frozen=True)
class Later:
    """Rows of later training windows, and what a candidate fitted before them says."""

    rows: LabelledRows
    scores: Scores


@dataclass(frozen=True)
class OwnModel:
    """One of the tenant's own models, and how its recipe did while time went by."""

    name: str
    model: Model
    parent_version: str
    trials: tuple[Any, ...]  #: what its settings reached on the inner window
    later: tuple[Later, ...]


@dataclass(frozen=True)
class _Recipe:
    """From rows and their windows to a model; None where there is nothing to be learnt."""

    name: str  #: empty where it is that of the kind of model
    fit: Callable[[LabelledRows, TrainingWindows], tuple[Model, tuple[Any, ...]] | None]
    parent_version: str = ""
    through_time: bool = True  #: whether it is worth the fits to judge it on training windows


def own_models(
    use_case: UseCase, training: LabelledRows, windows: TrainingWindows, parent: Parent | None
) -> tuple[OwnModel, ...]:
    """Every own model that can be fitted, in the order in which they are tested."""
    found = []
    for recipe in _recipes(use_case, parent):
        fitted = recipe.fit(training, windows)
        if fitted is not None:
            model, trials = fitted
            later = tuple(_later(use_case, recipe, training, windows))
            found.append(
                OwnModel(recipe.name or model.kind, model, recipe.parent_version, trials, later)
            )
    return tuple(found)


def compare(
    use_case: UseCase,
    one: OwnModel,
    against: Model,
    key: str,
    holdout: LabelledRows | None,
    since: datetime | None = None,
) -> Comparison:
    """An own model against another one, on later training windows and on the holdout.

    The other has often learnt from those training windows, which only makes it look better there
    than it is. That is no harm with a model of many tenants; with the tenant's own it would hide
    everything, so that only windows after its training count.

    Args:
        key: of the other model, e.g. `incumbent/lightgbm`.
        holdout: None where either model has learnt from its time.
        since: until when the other one learnt from the tenant alone; None where it did not.
    """
    parts = []
    for later in one.later:
        rows, scores = later.rows, later.scores
        if since is not None:
            fresh = rows.as_of >= np.datetime64(since.replace(tzinfo=None), "us")
            rows, scores = rows.where(fresh), scores[fresh]
        if len(rows):
            parts.append(PairedRows(rows, scores, against.predict(rows.features)))
    if holdout is not None and len(holdout):
        ours, theirs = one.model.predict(holdout.features), against.predict(holdout.features)
        parts.append(PairedRows(holdout, ours, theirs))
    found = paired.compare(use_case.metric, parts, use_case.reach)
    low, high = found.estimate.low, found.estimate.high
    return Comparison(
        f"own/{one.name}",
        key,
        found.estimate.value,
        low,
        high,
        entities=found.entities,
        windows=found.windows,
        uncertainty=found.estimate.uncertainty,
    )


def some_entities(rows: LabelledRows, seed: int) -> LabelledRows:
    """The rows of so many entities, drawn by lot, as make at most `ENOUGH_ROWS`; often of all."""
    if len(rows) <= ENOUGH_ROWS:
        return rows
    entities, of, count = np.unique(rows.entity, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(entities))
    kept = np.zeros(len(entities), dtype=bool)
    kept[order[np.cumsum(count[order]) <= ENOUGH_ROWS]] = True
    return rows.where(kept[of])


def blocks(
    instants: Sequence[datetime], horizon: timedelta
) -> tuple[tuple[tuple[datetime, ...], tuple[datetime, ...]], ...]:
    """Pairs of what is learnt from and what is judged later, no label in both.

    At most `BLOCKS`, even ones, and nothing of the first quarter is judged.
    """
    judged = [
        at for at in instants[int(np.ceil(FIRST * len(instants))) :] if instants[0] + horizon <= at
    ]
    cuts = np.unique(np.linspace(0, len(judged), BLOCKS + 1).round().astype(int)).tolist()
    parts = [tuple(judged[start:end]) for start, end in pairwise(cuts)]
    return tuple(
        (tuple(at for at in instants if at + horizon <= part[0]), part) for part in parts if part
    )


def _recipes(use_case: UseCase, parent: Parent | None) -> list[_Recipe]:
    horizon = use_case.reach

    def alone(rows: LabelledRows, windows: TrainingWindows) -> tuple[Model, tuple[Any, ...]]:
        fitted = fit_best(use_case, rows, windows, horizon)
        return fitted.model, fitted.trials

    if parent is None:
        return [_Recipe("", alone)]
    if use_case.lists:

        def shrunk(rows: LabelledRows, windows: TrainingWindows) -> tuple[Model, tuple[Any, ...]]:
            return fit_lists(use_case, rows, windows, parent.model)

        return [_Recipe("", shrunk, parent.version, through_time=False)]
    if parent.model.kind == forecast.KIND:  # whatever stands on it has to have its intervals

        def corrected(rows: LabelledRows, _: TrainingWindows) -> tuple[Model, tuple[Any, ...]]:
            return recorrected(use_case, parent.model, rows), ()

        return [
            _Recipe("recalibrated", corrected, parent.version),
            _Recipe("", alone, through_time=False),
        ]
    # Where rows are few, what knows nothing but them has no chance beside the residual.
    recipes = [_Recipe("", alone, through_time=False)]

    def recalibrated(rows: LabelledRows, _: TrainingWindows) -> tuple[Model, tuple[Any, ...]]:
        return fit_recalibrated(use_case, parent.model, rows), ()

    def residual(
        rows: LabelledRows, windows: TrainingWindows
    ) -> tuple[Model, tuple[Any, ...]] | None:
        model = fit_residual(use_case, parent.model, rows, windows, horizon)
        return None if model is None else (model, ())

    if use_case.metric in LEVEL_METRICS:
        recipes.insert(0, _Recipe("recalibrated", recalibrated, parent.version))
    return [_Recipe("residual", residual, parent.version), *recipes]


def _later(
    use_case: UseCase, recipe: _Recipe, training: LabelledRows, windows: TrainingWindows
) -> list[Later]:
    """What the recipe, fitted as time went by, said of later training windows."""
    if not (recipe.through_time and judged_by_rows(use_case, training)):
        return []
    found, training = [], some_entities(training, use_case.seed)
    for before, after in blocks(windows.training, use_case.reach):
        rows, judged = training.at(before), training.at(after)
        if not (_enough(use_case, rows) and len(judged)):
            continue
        cut = TrainingWindows(before, (), windows.known_until)
        fitted = recipe.fit(rows, cut)
        if fitted is not None:
            found.append(Later(judged, fitted[0].predict(judged.features)))
    return found


def judged_by_rows(use_case: UseCase, training: LabelledRows) -> bool:
    """Whether training windows can be judged like later ones: thinned rows are none as it was."""
    return not use_case.lists and use_case.task != "ranking" and bool((training.weight == 1).all())


def _enough(use_case: UseCase, rows: LabelledRows) -> bool:
    if use_case.task != "classification":
        return len(rows) >= FEWEST_ROWS
    positives = int((rows.label == 1).sum())
    return len(rows) >= FEWEST_ROWS and min(positives, len(rows) - positives) >= FEWEST_POSITIVES
