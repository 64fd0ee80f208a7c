"""What models that answer with lists learn from: labelled rows as what was had, wanted, together.

What entities had by the last training snapshot, and what they had in its window. Snapshots at which
nobody was there are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.models.contributors import Contributors
from include.models.model import ListPredictor, Model
from include.storage.canonical import TIMESTAMP
from include.training.contributors import known_categories
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import ItemHistory, UseCase

WEIGHT: Final = "weight"
RECENCY: Final = "recency"
#: What an item weighs that was had, where nothing says how much.
_ONCE: Final = 1.0


def looked_at(rows: LabelledRows, windows: TrainingWindows) -> list[datetime]:
    """The training snapshots at which somebody was there, oldest first."""
    known = set(np.unique(rows.as_of).tolist())
    return [at for at in windows.training if at.replace(tzinfo=None) in known]


def liked(*tables: pa.Table) -> bool:
    """Whether anybody liked anything, which EASE has to have to learn from."""
    return any((table[WEIGHT].to_numpy() > 0).any() for table in tables)


def had(rows: LabelledRows, history: ItemHistory) -> pa.Table:
    """What each entity had: `entity_id, item_id, weight, recency`."""
    found = rows.history
    weight, recency = np.full(found.num_rows, _ONCE), np.zeros(found.num_rows)
    if history.weight:
        weight = pc.fill_null(found[history.weight].cast(pa.float64()), 0.0).to_numpy()
    if history.recency:
        recency = pc.fill_null(found[history.recency].cast(pa.float64()), np.inf).to_numpy()
    return (
        found.select(["entity_id", "item_id", *_named(history.category)])
        .append_column(WEIGHT, pa.array(weight))
        .append_column(RECENCY, pa.array(recency))
    )


def wanted(rows: LabelledRows) -> pa.Table:
    """What each entity had in the window that followed, likewise."""
    _, first = np.unique(rows.group, return_index=True)
    pairs = [(str(rows.group[row]), item) for row in first.tolist() for item in rows.wanted[row]]
    return pa.table(
        {
            "entity_id": pa.array([pair[0] for pair in pairs], pa.string()),
            "item_id": pa.array([pair[1] for pair in pairs], pa.string()),
            WEIGHT: pa.array(np.full(len(pairs), _ONCE)),
            RECENCY: pa.array(np.zeros(len(pairs))),
        }
    )


def baskets_of(rows: LabelledRows) -> pa.Table:
    """What lay together: `group_id, item_id, event_timestamp`, the latter that of its snapshot."""
    return pa.table(
        {
            "group_id": pa.array(rows.entity, pa.string()),
            "item_id": pa.array(rows.item, pa.string()),
            "event_timestamp": pa.array(rows.as_of, TIMESTAMP),
        }
    )


def categories_of(
    rows: LabelledRows, history: ItemHistory, contributors: Contributors | None
) -> dict[str, str]:
    """The category of each item that has one, the latest told."""
    if not history.category:
        return {}
    told = rows.features[history.category].to_pylist()
    if contributors is not None:
        told = known_categories(rows, told, contributors)
    pairs = zip(rows.item.tolist(), told, strict=True)
    return dict(sorted({item: category for item, category in pairs if category}.items()))


def history_of(use_case: UseCase) -> ItemHistory:
    assert use_case.history is not None  # the declaration checks it
    return use_case.history


def columns_of(use_case: UseCase) -> tuple[str, ...]:
    """Features that the models read: the weight, else the first, as a model has to read some."""
    history = history_of(use_case)
    return (history.weight,) if history.weight else use_case.columns[:1]


def list_model(
    use_case: UseCase,
    kind: str,
    predictor: ListPredictor,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    return Model(kind, columns_of(use_case), predictor, dict(settings or {}))


def instants_of(at: datetime, count: int) -> pa.Array:
    return pa.array([at] * count, TIMESTAMP)


def _named(column: str) -> list[str]:
    return [column] if column else []
