"""Scores as lists: the best items per entity, and how good such lists turn out to be.

Equal scores are ordered by item id. A list may be short, and an entity without any item that can
be said to suit it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from scipy import sparse

from include.errors import ConfigError
from include.models.interactions import Codes, Mask, Matrix, codes_of, interactions

LISTS: Final = pa.schema(
    [
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
SEEN: Final = ("drop", "keep")
#: Scores that are in memory at a time.
_CELLS: Final = 4_000_000


@dataclass(frozen=True)
class Ranked:
    """Chosen cells of a matrix of scores, best first per row."""

    rows: Codes
    columns: Codes
    scores: Matrix


def best(scores: Matrix, top: int) -> Ranked:
    """The `top` highest cells of each row; equal ones by column; `-inf` is never chosen.

    Args:
        scores: of shape `(rows, columns)`, without NaN.
    """
    width = scores.shape[1]
    if not scores.size or top < 1:
        none = np.empty(0, dtype=np.int64)
        return Ranked(none, none, np.empty(0))
    if top < width:
        bound = np.partition(scores, width - top, axis=1)[:, width - top, None]
        chosen = scores > bound
        tied = scores == bound
        # of those that tie for the last places, the first by column
        room = top - np.count_nonzero(chosen, axis=1)[:, None]
        rows, columns = np.nonzero(tied)
        place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(scores)))[rows]
        last = place < room[rows, 0]
        chosen[rows[last], columns[last]] = True
        chosen &= scores > -np.inf
    else:
        chosen = scores > -np.inf
    rows, columns = np.nonzero(chosen)
    values = scores[rows, columns] + 0.0  # -0.0 and 0.0 are one place
    order = np.lexsort((columns, -values, rows))
    return Ranked(rows[order], columns[order], values[order])


def best_stored(scores: sparse.csr_array, top: int) -> Ranked:
    """The same of a sparse matrix, of whose cells only those stored can be chosen."""
    cells = scores.tocoo()
    values = cells.data + 0.0
    order = np.lexsort((cells.col, -values, cells.row))
    rows = cells.row[order].astype(np.int64)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = order[place < top]
    return Ranked(rows[place < top], cells.col[kept].astype(np.int64), values[kept])


def lists_of(
    entities: Sequence[str],
    items: Sequence[str],
    scores: Callable[[slice], Matrix],
    top: int,
    *,
    blocked: sparse.csr_array | None = None,
    among: Mask | None = None,
) -> pa.Table:
    """Lists of `LISTS`, made a few rows at a time.

    Args:
        scores: scores of a slice of the entities, `(rows, items)`; an array of its own each time.
        blocked: `(entities, items)`; whatever is stored there is not listed.
        among: items that may be listed.
    """
    if top < 1:
        raise ConfigError(f"a list of {top} items; ask for at least 1")
    parts: list[pa.Table] = []
    for part in _slices(len(entities), len(items)):
        block = scores(part)
        if among is not None:
            block[:, ~among] = -np.inf
        if blocked is not None:
            own = blocked[part].tocoo()
            block[own.row, own.col] = -np.inf
        found = best(block, top)
        parts.append(table_of(entities[part], items, found))
    return pa.concat_tables(parts) if parts else LISTS.empty_table()


def table_of(entities: Sequence[str], items: Sequence[str], found: Ranked) -> pa.Table:
    """Chosen cells as `LISTS`."""
    return pa.table(
        [
            pa.array(entities, pa.string()).take(pa.array(found.rows)),
            pa.array(items, pa.string()).take(pa.array(found.columns)),
            pa.array(found.scores, pa.float64()),
        ],
        schema=LISTS,
    )


def hit_matrix(lists: pa.Table, later: pa.Table, top: int) -> tuple[Codes, Mask]:
    """Per entity of `later`, sorted: how many items it then had, and which places hit one.

    Args:
        later: `entity_id`, `item_id`: what was had afterwards. Negative weights are not looked at.

    Returns:
        items had `(entities,)` and hits `(entities, top)`; all places of an entity without a list
        are misses.
    """
    had = interactions(later)
    hits = np.zeros((len(had.entities), top), dtype=bool)
    rows = codes_of(lists["entity_id"].to_pylist(), had.entities)
    columns = codes_of(lists["item_id"].to_pylist(), had.items)
    place = np.zeros(len(rows), dtype=np.int64)
    if len(rows):
        starts = np.ones(len(rows), dtype=bool)
        entity = lists["entity_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        starts[1:] = entity[1:] != entity[:-1]
        at = np.arange(len(rows))
        place = at - np.maximum.accumulate(np.where(starts, at, 0))
    valid = (rows >= 0) & (columns >= 0) & (place < top)
    keys = had.rows * max(len(had.items), 1) + had.columns
    asked = rows[valid] * max(len(had.items), 1) + columns[valid]
    found = np.searchsorted(keys, asked)
    hit = keys[np.minimum(found, len(keys) - 1)] == asked if len(keys) else asked < 0
    hits[rows[valid][hit], place[valid][hit]] = True
    return np.bincount(had.rows, minlength=len(had.entities)), hits


def ndcg(lists: pa.Table, later: pa.Table, top: int) -> Matrix:
    """Normalised discounted cumulative gain per entity of `later`, sorted by id.

    Relevance is binary, the discount of place r is 1 / log2(r + 1), and the ideal list holds as
    many of the entity's items as fit (Järvelin and Kekäläinen, TOIS 20, 2002).
    """
    had, hits = hit_matrix(lists, later, top)
    discount = 1.0 / np.log2(np.arange(2, top + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(had, top)]
    return np.asarray(hits @ discount / np.where(ideal > 0, ideal, 1.0))


def _slices(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
