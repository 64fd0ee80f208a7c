"""Sparse matrices of which each row is a short list, in memory and from arrays at rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from include.errors import IntegrityError
from include.models.arrays import Arrays
from include.models.interactions import Codes, Matrix


def stored(name: str, arrays: Arrays, values: str, width: int) -> sparse.csr_array:
    """The rows in `{name}_ends`, `{name}_items` and the array of values, `(rows, width)`.

    Raises:
        IntegrityError: an item is outside, or the items of a row do not rise.
    """
    ends = arrays[f"{name}_ends"].astype(np.int64)
    columns, data = arrays[f"{name}_items"].astype(np.int64), arrays[values].astype(np.float64)
    starts = np.concatenate([[0], ends])
    if (np.diff(starts) < 0).any() or not starts[-1] == len(columns) == len(data):
        raise IntegrityError(f"the rows of {name!r} do not end where they should")
    if len(columns) and not 0 <= columns.min() <= columns.max() < width:
        raise IntegrityError(f"the rows of {name!r} name items that there are not")
    keys = np.repeat(np.arange(len(ends)), np.diff(starts)) * max(width, 1) + columns
    if (np.diff(keys) <= 0).any():
        raise IntegrityError(f"the items of {name!r} are not in order")
    return sparse.csr_array((data, columns, starts), shape=(len(ends), width))


def stacked(rows: list[tuple[Codes, npt.NDArray[Any]]], width: int) -> sparse.csr_array:
    """A matrix of rows, each given as its columns and their values."""
    ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([np.empty(0, np.int64), *(columns for columns, _ in rows)])
    values = np.concatenate([np.empty(0), *(values for _, values in rows)])
    found = sparse.csr_array((values, columns, ends), shape=(len(rows), width))
    found.sort_indices()
    return found


def beyond(
    scores: sparse.csr_array, fallback: sparse.csr_array, parent: Codes, doubt: Matrix
) -> sparse.csr_array:
    """What must be added to `doubt × fallback[parent]` to give the scores where these are stored.

    Args:
        scores: `(rows, width)`, for the first of the rows that have a parent.

    Returns:
        `(rows with a parent, width)`; nothing for rows without scores.
    """
    width = max(scores.shape[1], 1)
    cells, lists = scores.tocoo(), fallback.tocoo()
    keys = lists.row.astype(np.int64) * width + lists.col
    asked = parent[cells.row] * width + cells.col
    place = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    expected = np.zeros(len(asked))
    if len(keys):
        listed = keys[place] == asked
        expected[listed] = doubt[cells.row[listed]] * lists.data[place[listed]]
    shape = (len(parent), scores.shape[1])
    return sparse.csr_array((cells.data - expected, (cells.row, cells.col)), shape=shape)
