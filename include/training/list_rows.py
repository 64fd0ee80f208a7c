"""Turns labelled rows into the tables that list models learn from.

These are the items that entities had by the last training snapshot, the items they had in the
window after it, and baskets. Snapshots without rows are passed over.
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
    """The training snapshots that have rows, oldest first."""
    attended = set(np.unique(rows.as_of).tolist())
    return [at for at in windows.training if at.replace(tzinfo=None) in attended]


def liked(*tables: pa.Table) -> bool:
    """Whether any item has a positive weight, without which EASE has nothing to learn from."""
    return any((table[WEIGHT].to_numpy() > 0).any() for table in tables)


def had(rows: LabelledRows, history: ItemHistory) -> pa.Table:
    """The items that each entity had: `entity_id, item_id, weight, recency`."""
    table = rows.history
    weight, recency = np.full(table.num_rows, _ONCE), np.zeros(table.num_rows)
    if history.weight:
        weight = pc.fill_null(table[history.weight].cast(pa.float64()), 0.0).to_numpy()
    if history.recency:
        recency = pc.fill_null(table[history.recency].cast(pa.float64()), np.inf).to_numpy()
    return (
        table.select(["entity_id", "item_id", *_named(history.category)])
        .append_column(WEIGHT, pa.array(weight))
        .append_column(RECENCY, pa.array(recency))
    )


def wanted(rows: LabelledRows) -> pa.Table:
    """The items that each entity had in the window that followed, in the same columns."""
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
    """The baskets: `group_id, item_id, event_timestamp`, the latter that of the snapshot."""
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
    """The category of each item that has a category; of several the last."""
    if not history.category:
        return {}
    categories = rows.features[history.category].to_pylist()
    if contributors is not None:
        categories = known_categories(rows, categories, contributors)
    pairs = zip(rows.item.tolist(), categories, strict=True)
    return dict(sorted({item: category for item, category in pairs if category}.items()))


def history_of(use_case: UseCase) -> ItemHistory:
    assert use_case.history is not None  # the declaration checks it
    return use_case.history


def columns_of(use_case: UseCase) -> tuple[str, ...]:
    """The features that list models read: the weight, else the first, as one is required."""
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
