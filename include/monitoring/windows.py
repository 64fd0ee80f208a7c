"""The two windows that a verdict compares: bounded samples of columns, with their weights.

A row is rarely a fact of its own. The same users stand in every snapshot of a reference, and a
ranking repeats a user's features on each of the user's candidate items. A column that is constant
within a join key is therefore read once per value of that key and instant. What a column weighs is
never more than the number of different entities, as all of a tenant's columns are made by the same
users; where rows cannot be told apart, it is L. Kish's effective size (Survey Sampling, 1965), in
which an entity with many rows does not speak for many. That is conservative: windows that share
entities differ less than independent ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

PREDICTION: Final = "prediction"
AS_OF: Final = "as_of"


@dataclass(frozen=True)
class WindowSample:
    """Values of one column: floats with NaN for null, or an object array of texts with None."""

    values: npt.NDArray[Any]
    entities: int  #: what the values weigh as evidence

    @property
    def null_share(self) -> float:
        """Share of nulls among the values."""
        if self.values.dtype.kind == "f":
            return float(np.isnan(self.values).mean()) if len(self.values) else 0.0
        return sum(v is None for v in self.values) / max(len(self.values), 1)


@dataclass(frozen=True)
class WindowPair:
    """Both windows over the columns they share, and why other columns are left out."""

    reference: Mapping[str, WindowSample]
    current: Mapping[str, WindowSample]
    skipped: Mapping[str, str]  #: column → reason
    reference_entities: int
    current_entities: int


@dataclass(frozen=True)
class Read:
    """The columns of one table, and how they were read."""

    samples: Mapping[str, WindowSample]
    levels: Mapping[str, str]  #: column → join key that determines it, or empty
    entities: int


def with_prediction(features: pa.Table, scores: npt.NDArray[np.float64]) -> pa.Table:
    """A window's rows with the champion's prediction of each."""
    return features.append_column(PREDICTION, pa.array(scores, pa.float64()))


def bounded(table: pa.Table, rows: int, seed: int) -> pa.Table:
    """At most `rows` rows, a seeded sample in the table's order."""
    if table.num_rows <= rows:
        return table
    chosen = np.random.default_rng(seed).choice(table.num_rows, size=rows, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def read_samples(table: pa.Table, keys: Sequence[str], levels: Mapping[str, str]) -> Read:
    """Every feature column, each read at its level of `levels`, or else at the table's own."""
    rows = _Rows(table)
    found: dict[str, WindowSample] = {}
    used: dict[str, str] = {}
    for name in [n for n in table.column_names if n not in (*keys, AS_OF)]:
        level = levels[name] if name in levels else _level((rows,), name, keys)
        used[name] = level if level in table.column_names else ""
        everybody, effective = rows.weights(keys[0])
        found[name] = _sample(rows, name, used[name], everybody if used[name] else effective)
    return Read(found, used, rows.weights(keys[0])[0])


def align(reference: pa.Table, current: pa.Table, keys: Sequence[str]) -> WindowPair:
    """The columns of two tables of join keys, `as_of` and features, ready to be compared.

    A reference without the entity's key hides how often it repeats an entity; it is then taken to
    weigh no more than the current window does.
    """
    before_table, after_table = _Rows(reference), _Rows(current)
    after_all, after_rows = after_table.weights(keys[0])
    before_all, before_rows = before_table.weights(keys[0])
    if keys[0] not in reference.column_names:
        before_all, before_rows = min(before_all, after_all), min(before_rows, after_rows)
    skipped: dict[str, str] = {}
    before: dict[str, WindowSample] = {}
    after: dict[str, WindowSample] = {}
    for name in [n for n in current.column_names if n not in (*keys, AS_OF)]:
        if name not in reference.column_names:
            skipped[name] = "not in the reference"
            continue
        level = _level((before_table, after_table), name, keys)
        first = _sample(before_table, name, level, before_all if level else before_rows)
        second = _sample(after_table, name, level, after_all if level else after_rows)
        if not len(first.values) or not len(second.values):
            skipped[name] = "empty"
        elif first.null_share == 1:
            skipped[name] = "all null in the reference"
        elif first.values.dtype.kind != second.values.dtype.kind:
            skipped[name] = "numbers in one window, texts in the other"
        else:
            before[name], after[name] = first, second
    return WindowPair(before, after, skipped, before_all, after_all)


class _Rows:
    """A table whose rows are grouped by each key once, however many columns ask."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._groups: dict[str, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]] = {}
        self._weights: dict[str, tuple[int, int]] = {}

    def groups(self, key: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """First row and group number of every (key, as_of)."""
        if key not in self._groups:
            names = [key, AS_OF] if AS_OF in self.table.column_names else [key]
            codes = np.zeros(self.table.num_rows, dtype=np.int64)
            for name in names:
                encoded = self.table[name].combine_chunks().dictionary_encode()
                indices = encoded.indices.fill_null(0).to_numpy()
                codes = codes * max(len(encoded.dictionary), 1) + indices
            _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
            self._groups[key] = first, inverse.reshape(-1)
        return self._groups[key]

    def weights(self, key: str) -> tuple[int, int]:
        """Different entities, and the effective size of the rows; both the rows without the key."""
        if key not in self._weights:
            self._weights[key] = _weights(self.table, key)
        return self._weights[key]

    def determines(self, key: str, name: str) -> bool:
        """Whether a column is constant within the key and instant."""
        if key not in self.table.column_names:
            return False
        first, inverse = self.groups(key)
        if len(first) == self.table.num_rows:
            return True
        values = _values(self.table[name])
        expected = values[first][inverse]
        same = values == expected
        if values.dtype.kind == "f":
            same |= np.isnan(values) & np.isnan(expected)
        return bool(np.all(same))


def _level(tables: Sequence[_Rows], name: str, keys: Sequence[str]) -> str:
    """The join key that determines the column in all windows; empty when only all together do."""
    return next((k for k in keys if all(t.determines(k, name) for t in tables)), "")


def _sample(rows: _Rows, name: str, level: str, entities: int) -> WindowSample:
    """One value per `level` and instant, or every row where no key determines the column."""
    values = _values(rows.table[name])
    if not level:
        return WindowSample(values, entities)
    first, _ = rows.groups(level)
    return WindowSample(values[np.sort(first)], min(entities, rows.weights(level)[0]))


def _weights(table: pa.Table, key: str) -> tuple[int, int]:
    rows = int(table.num_rows)
    if rows == 0 or key not in table.column_names:
        return rows, rows
    counts = table.group_by(key).aggregate([(key, "count")])[f"{key}_count"].to_numpy()
    return len(counts), int(counts.sum() ** 2 / (counts.astype(np.float64) ** 2).sum())


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers = pc.cast(column, pa.float64()).to_numpy().astype(np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    return np.array(pc.cast(column, pa.string()).to_pylist(), dtype=object)
