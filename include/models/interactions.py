"""Who has had what, as codes and sparse matrices: what every item model reads.

A history is a table of `entity_id` and `item_id`, a row per thing had. Codes follow the order of
ids, and pairs that stand in several rows are summed in one order, so that the same rows in another
order give the same bits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from include.errors import ConfigError, QualityError, UnknownNameError

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interactions:
    """Distinct (entity, item) pairs with their weights, ordered by entity, then item."""

    entities: tuple[str, ...]  #: sorted
    items: tuple[str, ...]
    rows: Codes
    columns: Codes
    weights: Matrix
    unknown: int = 0  #: rows of the table left out because their item is none of `items`

    def matrix(self) -> sparse.csr_array:
        """Weights of shape `(entities, items)`; a pair of weight 0 is kept as such."""
        shape = (len(self.entities), len(self.items))
        ends = np.searchsorted(self.rows, np.arange(shape[0] + 1))
        return sparse.csr_array((self.weights, self.columns, ends), shape=shape)

    def support(self) -> Codes:
        """Entities that each item has a positive weight for, of shape `(items,)`."""
        return np.bincount(self.columns[self.weights > 0], minlength=len(self.items))


def interactions(
    history: pa.Table, weight: str = "", *, items: Sequence[str] | None = None
) -> Interactions:
    """The pairs of a history.

    Args:
        history: `entity_id`, `item_id` and, where named, the weight.
        weight: column whose values are summed per pair, negative where the entity turned the item
            down; without one, a pair weighs 1 however many rows it has.
        items: what the columns stand for; by default the items of the history, sorted.

    Raises:
        UnknownNameError: a column is missing.
        QualityError: an id is missing, or a weight is missing or not finite.
    """
    entity_ids, rows = _codes(_column(history, "entity_id"))
    found, columns = _codes(_column(history, "item_id"))
    known = found if items is None else tuple(items)
    place = np.append(codes_of(found, known), -1)  # something to index where there are no items
    columns = place[columns]
    keep = columns >= 0
    values = np.ones(len(rows))
    if weight:
        values = np.asarray(_column(history, weight).cast(pa.float64()).to_numpy())
        if not np.isfinite(values).all():
            raise QualityError(f"the history has weights in {weight!r} that are not finite")
    return Interactions(
        entity_ids,
        known,
        *_summed(rows[keep], columns[keep], values[keep], len(known), summing=bool(weight)),
        unknown=int(np.count_nonzero(~keep)),
    )


def codes_of(ids: Sequence[str], known: Sequence[str]) -> Codes:
    """Place of each id among the sorted known ones, -1 where it is none of them."""
    places = pc.index_in(pa.array(ids, pa.string()), pa.array(known, pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def among_mask(items: Sequence[str], among: Collection[str] | None) -> Mask:
    """Which of the items are among the others; all of them where there are no others."""
    if among is None:
        return np.ones(len(items), dtype=bool)
    return codes_of(items, sorted(among)) >= 0


def category_levels(categories: pa.Table | None, items: Sequence[str]) -> list[list[str]]:
    """Per level, coarsest first, the category of each item, empty where it has none.

    Args:
        categories: `item_id`, once per item, and a text column per level, coarsest first. The
            same word below two different categories stands for two.

    Raises:
        ConfigError: an item stands there twice.
    """
    if categories is None:
        return []
    ids = _column(categories, "item_id").to_pylist()
    if len(set(ids)) < len(ids):
        raise ConfigError("the table of categories holds an item twice; keep its latest category")
    levels = [name for name in categories.column_names if name != "item_id"]
    place = codes_of(items, ids)
    paths = [""] * len(items)
    found: list[list[str]] = []
    for name in levels:
        words = [*categories[name].to_pylist(), None]
        own = [words[at] for at in place.tolist()]
        # below an unknown category nothing is known either
        above = [True] * len(items) if not found else [bool(path) for path in paths]
        paths = [
            f"{path}\x1f{word}" if word and known else ""
            for path, word, known in zip(paths, own, above, strict=True)
        ]
        found.append(paths)
    return found


def _summed(
    rows: Codes, columns: Codes, values: Matrix, width: int, *, summing: bool
) -> tuple[Codes, Codes, Matrix]:
    keys = rows * max(width, 1) + columns
    order = np.lexsort((values, keys)) if summing else np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(first)
    kept = values[order]
    total = np.add.reduceat(kept, starts) if summing and len(starts) else kept[starts]
    return rows[order][starts], columns[order][starts], total


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UnknownNameError("column", name, table.column_names, "the history")
    column = table[name]
    if column.null_count:
        raise QualityError(f"{column.null_count} rows of the history have no {name}")
    return column


def _codes(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Codes]:
    """Sorted distinct texts, and the place of each row's among them."""
    if not len(column):
        return (), np.empty(0, dtype=np.int64)
    encoded = pa.chunked_array(column.cast(pa.string())).combine_chunks().dictionary_encode()
    order = np.asarray(pc.sort_indices(encoded.dictionary).to_numpy()).astype(np.int64)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    texts = tuple(encoded.dictionary.take(pa.array(order)).to_pylist())
    return texts, place[encoded.indices.to_numpy()]
