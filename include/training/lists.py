"""Fits models that answer with lists, and the rules of thumb they must beat.

What entities had by the last training snapshot, and what they had in its window: settings are
chosen by how well lists from the former hold the latter, and the model then learns from both. All
of that is over before the first holdout snapshot. Snapshots at which nobody was there are passed
over, and where nobody liked anything, lists hold what is about lately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import QualityError
from include.models import association_fit, ease, popularity
from include.models.association import GRID as ASSOCIATIONS
from include.models.association import AssociationSettings
from include.models.diversity import Variety
from include.models.ease import Ease
from include.models.item_lists import ndcg
from include.models.list_models import (
    AssociationPredictor,
    EasePredictor,
    OwnHistoryPredictor,
    PopularityPredictor,
)
from include.models.model import Model
from include.models.playlist import BLENDS, TREND, Columns, experts
from include.models.popularity import Popularity, PopularitySettings
from include.storage.canonical import TIMESTAMP
from include.training.rows import Rows
from include.training.windows import Windows
from include.use_cases.declaration import TOP, History, UseCase

Trials = tuple[Mapping[str, Any], ...]
NO_TRIALS: Final[Trials] = ()
#: Strengths by which a tenant's item similarities are drawn to the global ones.
SHRINKAGES: Final = (0.0, 30.0, 300.0)
#: What an item weighs that was had, where nothing says how much.
_ONCE: Final = 1.0


def fit_lists(
    use_case: UseCase, training: Rows, windows: Windows, parent: Model | None = None
) -> tuple[Model, Trials]:
    """The use case's list model, and what each setting reached on the inner window.

    Args:
        parent: the global model, to whose similarities those of the tenant are drawn.

    Raises:
        QualityError: there are no rows.
    """
    if not len(training):
        raise QualityError(f"there are no rows to learn {use_case.name} lists from")
    if use_case.task == "association":
        return _bought_together(use_case, training, windows)
    prior = (
        parent.predictor.ease if parent and isinstance(parent.predictor, EasePredictor) else None
    )
    return _ease(use_case, training, windows, prior)


def list_baselines(use_case: UseCase, training: Rows, windows: Windows) -> dict[str, Model]:
    """The use case's baselines by name, those that learn from rows fitted on them."""
    if not len(training):
        return {}
    until = _looked_at(training, windows)[-1] + use_case.reach
    found: dict[str, Model] = {}
    for baseline in use_case.baselines:
        if baseline.name == "own_history":
            own = OwnHistoryPredictor(_history(use_case).weight)
            found[baseline.name] = Model("own_history", _columns(use_case), own, {})
        elif baseline.name == "co_count":  # with no doubt, the share of baskets that hold both
            counted = AssociationSettings(strength=1e-6, size_power=0.0, trend=0.0)
            model = association_fit.fit(_baskets(training), counted, as_of=until)
            found[baseline.name] = _model(use_case, "bought_together", AssociationPredictor(model))
        else:
            popular = PopularityPredictor(_popular(use_case, training, windows))
            found[baseline.name] = _model(use_case, "popularity", popular)
    return found


def _ease(
    use_case: UseCase, training: Rows, windows: Windows, prior: Ease | None
) -> tuple[Model, Trials]:
    history = _history(use_case)
    looked = _looked_at(training, windows)
    last = training.at(looked[-1:])
    before, later = _had(last, history), _wanted(last)
    grid = [
        replace(one, weight=_WEIGHT, seen=history.seen, shrinkage=shrinkage)
        for one, shrinkage in product(ease.GRID, SHRINKAGES if prior else (0.0,))
        if one.novelty == 0  # how much popularity counts is the blend's
    ]
    settings, blend, trials = grid[0], BLENDS[0], NO_TRIALS
    lately = use_case.reach / timedelta(days=1)
    if later.num_rows and _liked(before):
        chosen = ease.choose(before, later, grid, prior=prior)
        settings = chosen.settings
        # EASE will be older than the histories it is asked about; the blend has to know that
        earlier = [at for at in looked if at + use_case.reach <= looked[-1]]
        older = _had(training.at(earlier[-1:]), history)
        fitted = ease.fit(older if _liked(older) else before, settings, prior)
        columns = Columns(_WEIGHT, _RECENCY, history.category, lately)
        found = experts(before, columns, fitted)
        drop = history.seen == "drop"
        reached = {
            one: ndcg(found.lists(one, TOP, drop_seen=drop), later, TOP).mean() for one in BLENDS
        }
        blend = max(reached, key=lambda one: reached[one])
        trials = (
            *({"settings": asdict(s), "ndcg@10": v} for s, v in chosen.ndcg.items()),
            *({"blend": asdict(one), "ndcg@10": float(v)} for one, v in reached.items()),
        )
    both = [table.select(["entity_id", "item_id", _WEIGHT]) for table in (before, later)]
    if _liked(*both):
        fitted = ease.fit(pa.concat_tables(both), settings, prior)
    else:
        fitted, blend = Ease(settings, (), np.empty(0, np.int64), np.empty((0, 0)), ()), TREND
    predictor = EasePredictor(
        replace(fitted, settings=replace(settings, weight=history.weight)),
        blend,
        Columns(history.weight, history.recency, history.category, lately),
        Variety(history.relevance, history.novelty, history.chance, use_case.seed),
    )
    return _model(use_case, "ease", predictor, {**asdict(settings), **asdict(blend)}), trials


def _bought_together(use_case: UseCase, training: Rows, windows: Windows) -> tuple[Model, Trials]:
    looked = _looked_at(training, windows)
    baskets, until = _baskets(training), looked[-1] + use_case.reach
    known = _categories(training, _history(use_case))
    categories = None
    if known:
        categories = pa.table({"item_id": list(known), "category": list(known.values())})
    settings, trials = ASSOCIATIONS[0], NO_TRIALS
    if len(looked) > 1:
        chosen = association_fit.choose(
            baskets, ASSOCIATIONS, window=use_case.reach, as_of=until, categories=categories
        )
        settings = chosen.settings
        trials = tuple({"settings": asdict(s), "hit@10": v} for s, v in chosen.hit_rate.items())
    fitted = association_fit.fit(baskets, settings, as_of=until, categories=categories)
    predictor = AssociationPredictor(fitted)
    return _model(use_case, "bought_together", predictor, asdict(settings)), trials


def _popular(use_case: UseCase, training: Rows, windows: Windows) -> Popularity:
    """What was had lately: in the window of the last training snapshot, or by then."""
    at = _looked_at(training, windows)[-1]
    last = training.at([at])
    if use_case.task == "association":
        lately = _baskets(last).rename_columns(["entity_id", "item_id", "event_timestamp"])
    else:
        lately = _wanted(last)
        lately = lately if lately.num_rows else _had(last, _history(use_case))
    stamped = pa.table(
        {
            "entity_id": lately["entity_id"],
            "item_id": lately["item_id"],
            "event_timestamp": _instants(at, lately.num_rows),
        }
    )
    seen = "drop" if use_case.task == "association" else _history(use_case).seen
    settings = PopularitySettings(days=0.0, seen=seen)
    return popularity.fit(stamped, settings, as_of=at + use_case.reach)


def _looked_at(rows: Rows, windows: Windows) -> list[datetime]:
    """The training snapshots at which somebody was there, oldest first."""
    known = set(np.unique(rows.as_of).tolist())
    return [at for at in windows.training if at.replace(tzinfo=None) in known]


def _liked(*tables: pa.Table) -> bool:
    """Whether anybody liked anything, which EASE has to have to learn from."""
    return any((table[_WEIGHT].to_numpy() > 0).any() for table in tables)


_WEIGHT: Final = "weight"
_RECENCY: Final = "recency"


def _had(rows: Rows, history: History) -> pa.Table:
    """What each entity had: `entity_id, item_id, weight, recency`."""
    found = rows.history
    weight, recency = np.full(found.num_rows, _ONCE), np.zeros(found.num_rows)
    if history.weight:
        weight = pc.fill_null(found[history.weight].cast(pa.float64()), 0.0).to_numpy()
    if history.recency:
        recency = pc.fill_null(found[history.recency].cast(pa.float64()), np.inf).to_numpy()
    return (
        found.select(["entity_id", "item_id", *_named(history.category)])
        .append_column(_WEIGHT, pa.array(weight))
        .append_column(_RECENCY, pa.array(recency))
    )


def _named(column: str) -> list[str]:
    return [column] if column else []


def _wanted(rows: Rows) -> pa.Table:
    """What each entity had in the window that followed, likewise."""
    _, first = np.unique(rows.group, return_index=True)
    pairs = [(str(rows.group[row]), item) for row in first.tolist() for item in rows.wanted[row]]
    return pa.table(
        {
            "entity_id": pa.array([pair[0] for pair in pairs], pa.string()),
            "item_id": pa.array([pair[1] for pair in pairs], pa.string()),
            _WEIGHT: pa.array(np.full(len(pairs), _ONCE)),
            _RECENCY: pa.array(np.zeros(len(pairs))),
        }
    )


def _baskets(rows: Rows) -> pa.Table:
    """What lay together: `group_id, item_id, event_timestamp`, the latter that of its snapshot."""
    return pa.table(
        {
            "group_id": pa.array(rows.entity, pa.string()),
            "item_id": pa.array(rows.item, pa.string()),
            "event_timestamp": pa.array(rows.as_of, TIMESTAMP),
        }
    )


def _categories(rows: Rows, history: History) -> dict[str, str]:
    """The category of each item that has one, the latest told."""
    if not history.category:
        return {}
    told = rows.features[history.category].to_pylist()
    pairs = zip(rows.item.tolist(), told, strict=True)
    return dict(sorted({item: category for item, category in pairs if category}.items()))


def _history(use_case: UseCase) -> History:
    assert use_case.history is not None  # the declaration checks it
    return use_case.history


def _columns(use_case: UseCase) -> tuple[str, ...]:
    """Features that the models read: the weight, else the first, as a model has to read some."""
    history = _history(use_case)
    return (history.weight,) if history.weight else use_case.columns[:1]


def _model(
    use_case: UseCase,
    kind: str,
    predictor: EasePredictor | AssociationPredictor | PopularityPredictor,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    return Model(kind, _columns(use_case), predictor, dict(settings or {}))


def _instants(at: datetime, count: int) -> pa.Array:
    return pa.array([at] * count, TIMESTAMP)
