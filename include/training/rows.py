"""Labelled rows: features, label and what metrics need to know about each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.storage.canonical import TIMESTAMP
from include.use_cases.declaration import UseCase


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows; all columns have the same length and order."""

    features: pa.Table  #: numeric and text features, no keys
    label: npt.NDArray[np.float64]  #: 0 or 1, or an amount
    weight: npt.NDArray[np.float64]  #: how many rows this one stands for
    entity: npt.NDArray[np.str_]  #: tenant and entity: what the bootstrap resamples
    item: npt.NDArray[np.str_]  #: what is ranked; empty where nothing is
    group: npt.NDArray[np.str_]  #: entity and instant: one ranking
    relevant: npt.NDArray[np.int64]  #: items the group's outcome holds; 0 unless ranked
    tenant: npt.NDArray[np.str_]
    #: Of the snapshot, also where rows have instants of their own.
    as_of: npt.NDArray[np.datetime64]
    #: The group's outcome as a tuple of item ids, for models that answer with lists; else ().
    wanted: npt.NDArray[np.object_]
    sensitive: npt.NDArray[np.str_]  #: the entity's group where fairness is looked at; else empty

    def __len__(self) -> int:
        return len(self.label)

    def where(self, keep: npt.NDArray[np.bool_]) -> LabelledRows:
        """The rows for which `keep` is true."""
        return LabelledRows(
            self.features.filter(pa.array(keep)),
            *(getattr(self, name)[keep] for name in _ARRAYS),
        )

    def at(self, instants: Sequence[datetime]) -> LabelledRows:
        """The rows of some snapshots."""
        wanted = [np.datetime64(at.replace(tzinfo=None), "us") for at in instants]
        return self.where(np.isin(self.as_of, wanted))

    @classmethod
    def stacked(cls, parts: Sequence[LabelledRows]) -> LabelledRows:
        """The parts, of which there is at least one, below each other."""
        return cls(
            pa.concat_tables([part.features for part in parts]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS),
        )

    @classmethod
    def none(cls, use_case: UseCase) -> LabelledRows:
        """The shape of a use case's rows, without any."""
        types = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
        schema = pa.schema([(name, types[kind]) for name, kind in use_case.feature_columns.items()])
        whole, text = np.empty(0, np.int64), np.empty(0, np.str_)
        return cls(
            schema.empty_table(),
            np.empty(0),
            np.empty(0),
            text,
            text,
            text,
            whole,
            text,
            np.empty(0, "datetime64[us]"),
            np.empty(0, object),
            text,
        )

    @property
    def history(self) -> pa.Table:
        """What list models read: `entity_id` (the group), `item_id`, `as_of` and the features."""
        keys = {
            "entity_id": pa.array(self.group, pa.string()),
            "item_id": pa.array(self.item),
            "as_of": pa.array(self.as_of, TIMESTAMP),
        }
        return pa.table(keys | {name: self.features[name] for name in self.features.column_names})


def repeated(value: Any, count: int) -> npt.NDArray[np.object_]:
    """An array that holds the very object `value`, `count` times."""
    found = np.empty(count, object)
    found.fill(value)
    return found


#: The arrays of `LabelledRows`, in the order of its fields.
_ARRAYS: Final = (
    "label",
    "weight",
    "entity",
    "item",
    "group",
    "relevant",
    "tenant",
    "as_of",
    "wanted",
    "sensitive",
)
