"""Fits models that answer with lists, and the rules of thumb they must beat.

All that they learn from is over before the first holdout snapshot.
"""

from __future__ import annotations

import pyarrow as pa

from include.errors import QualityError
from include.models import association_fit, popularity
from include.models.association import AssociationSettings
from include.models.contributors import Contributors
from include.models.list_models import (
    AssociationPredictor,
    OwnHistoryPredictor,
    PopularityPredictor,
)
from include.models.model import Model
from include.models.popularity import Popularity, PopularitySettings
from include.training.estimators import Trials, list_estimator
from include.training.list_rows import (
    baskets_of,
    columns_of,
    had,
    history_of,
    instants_of,
    list_model,
    looked_at,
    wanted,
)
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import ESTIMATORS, UseCase


def fit_lists(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    parent: Model | None = None,
    contributors: Contributors | None = None,
) -> tuple[Model, Trials]:
    """The use case's list model, and what each setting reached on the inner window.

    Args:
        parent: the global model, to whose similarities those of the tenant are drawn.
        contributors: of a model that other tenants get: whom its items and pairs have to have.

    Raises:
        QualityError: there are no rows, or no items of enough contributors.
    """
    if not len(training):
        raise QualityError(f"there are no rows to learn {use_case.name} lists from")
    name = next(one for one in use_case.estimators if ESTIMATORS[one].lists)
    told = (use_case, training, windows, parent, contributors)
    return list_estimator(name).fit_lists(*told)


def list_baselines(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    contributors: Contributors | None = None,
) -> dict[str, Model]:
    """The use case's baselines by name, those that learn from rows fitted on them.

    Args:
        contributors: see `fit_lists`; a baseline that is left without items is none.
    """
    if not len(training):
        return {}
    until = looked_at(training, windows)[-1] + use_case.reach
    found: dict[str, Model] = {}
    for baseline in use_case.baselines:
        if baseline.name == "own_history":
            own = OwnHistoryPredictor(history_of(use_case).weight)
            found[baseline.name] = Model("own_history", columns_of(use_case), own, {})
            continue
        try:
            if baseline.name == "co_count":  # with no doubt, the share of baskets that hold both
                counted = AssociationSettings(strength=1e-6, size_power=0.0, trend=0.0)
                model = association_fit.fit(
                    baskets_of(training), counted, as_of=until, contributors=contributors
                )
                predictor: AssociationPredictor | PopularityPredictor = AssociationPredictor(model)
                found[baseline.name] = list_model(use_case, "bought_together", predictor)
            else:
                popular = _popular(use_case, training, windows, contributors)
                predictor = PopularityPredictor(popular)
                found[baseline.name] = list_model(use_case, "popularity", predictor)
        except QualityError:
            if contributors is None:
                raise
    return found


def _popular(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    contributors: Contributors | None,
) -> Popularity:
    """What was had lately: in the window of the last training snapshot, or by then."""
    at = looked_at(training, windows)[-1]
    last = training.at([at])
    if use_case.task == "association":
        lately = baskets_of(last).rename_columns(["entity_id", "item_id", "event_timestamp"])
    else:
        lately = wanted(last)
        lately = lately if lately.num_rows else had(last, history_of(use_case))
    stamped = pa.table(
        {
            "entity_id": lately["entity_id"],
            "item_id": lately["item_id"],
            "event_timestamp": instants_of(at, lately.num_rows),
        }
    )
    seen = "drop" if use_case.task == "association" else history_of(use_case).seen
    settings = PopularitySettings(days=0.0, seen=seen)
    until = at + use_case.reach
    return popularity.fit(stamped, settings, as_of=until, contributors=contributors)
