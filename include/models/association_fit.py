"""Fits and chooses `association` models, and says how often their lists hit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from include.errors import ConfigError, QualityError
from include.models.association import GRID, Association, AssociationSettings
from include.models.contributors import Contributors, owners
from include.models.cooccurrence import Category, Counts, Family, walk
from include.models.interactions import (
    Codes,
    Interactions,
    Mask,
    Matrix,
    category_levels,
    codes_of,
    interactions,
)
from include.models.item_lists import best
from include.models.sparse_rows import stacked
from include.wall_clock import PLATFORM, local

#: Baskets' worth of doubt about whether an item's recent rise or fall is one.
_STEADY = 20.0
_Row = tuple[Codes, npt.NDArray[Any]]


def fit(
    baskets: pa.Table,
    settings: AssociationSettings,
    *,
    as_of: datetime,
    categories: pa.Table | None = None,
    contributors: Contributors | None = None,
) -> Association:
    """The model of what was bought before an instant.

    Args:
        baskets: `group_id`, `item_id`, `event_timestamp`: a row per thing bought; rows at and after
            `as_of` are left out.
        categories: `item_id` and a text column per level, coarsest first.
        contributors: of a model that other tenants get: whom each item and pair has to have. An
            item's recent baskets are no news unless they have them, too.

    Raises:
        QualityError: nothing was bought before.
    """
    bought, recent = _before(baskets, settings, as_of, contributors)
    support = bought.support()
    order = np.lexsort((np.arange(len(support)), -support))[: settings.most_items]
    kept = np.sort(order)
    matrix = bought.matrix()[:, kept]
    items = tuple(bought.items[place] for place in kept)
    if contributors is not None and categories is not None:  # an item is known here or not at all
        categories = categories.filter(pc.is_in(categories["item_id"], pa.array(bought.items)))
    others = _others(categories, items)
    levels = category_levels(categories, (*items, *others))
    coded = [np.unique(level[: len(items)], return_inverse=True) for level in levels]
    counts = Counts(
        matrix,
        _weights(matrix, settings.size_power),
        tuple(_known_codes(words, codes) for words, codes in coded),
        None if contributors is None else contributors.pairs(matrix, owners(bought.entities)),
    )
    trend = _trend(matrix, recent, settings.trend)
    if contributors is not None:
        trend = np.where(_recently_known(contributors, bought, recent)[kept], trend, 1.0)
    built = _Lists(settings, counts, trend)
    parent, doubt = np.zeros(len(items) + len(others), np.int64), np.ones(len(items) + len(others))
    for node in walk(counts, settings.strength):
        if isinstance(node, Category):
            built.add_category(node)
        else:
            parent[node.items] = built.add_family(node)
    doubt[: len(items)] = settings.strength / (counts.held + settings.strength)
    known = [{str(word): code for code, word in enumerate(words)} for words, _ in coded]
    for at in range(len(items), len(parent)):
        path: tuple[int, ...] = ()
        for codes, level in zip(known, levels, strict=True):
            if not level[at] or level[at] not in codes:
                break
            path = (*path, codes[level[at]])
        parent[at] = built.place[path]
    width = len(items)
    return Association(
        settings,
        matrix.shape[0],
        items,
        others,
        np.asarray(matrix.sum(axis=0)).astype(np.int64),
        parent,
        doubt,
        stacked(built.fallback, width),
        stacked([built.pairs[at] for at in range(width)], width),
        stacked([built.shared[at] for at in range(width)], width),
    )


class _Lists:
    """The best of each category and item, collected along the walk."""

    def __init__(self, settings: AssociationSettings, counts: Counts, trend: Matrix) -> None:
        self.settings, self.counts, self.trend = settings, counts, trend
        self.place: dict[tuple[int, ...], int] = {}
        self.fallback: list[_Row] = []
        self.pairs: dict[int, _Row] = {}
        self.shared: dict[int, _Row] = {}

    def add_category(self, node: Category) -> None:
        scores = node.expected * self.trend
        found = best(scores[None, :], self.settings.neighbours)
        self.place[node.path] = len(self.fallback)
        self.fallback.append((found.columns, _single(found.scores)))

    def add_family(self, node: Family) -> int:
        """Keep the pairs that show: those above the end of the fallback, and those in it."""
        strength, most = self.settings.strength, self.settings.neighbours
        parent = self.place[node.path]
        columns, fallback = self.fallback[parent]
        listed = np.zeros(self.counts.baskets.shape[1], dtype=bool)
        listed[columns] = True
        held = self.counts.held[node.items] + strength
        cells = node.pairs.tocoo()
        score = (cells.data.real + strength * node.expected[cells.col]) / held[cells.row]
        score = _single(score * self.trend[cells.col])
        end = fallback[-1] if len(fallback) == most else 0.0
        seen = listed[cells.col] | (score > end * strength / held[cells.row])
        row, column, score = cells.row[seen], cells.col[seen], score[seen]
        baskets = cells.data.imag[seen]
        order = np.lexsort((column, -score, row))
        row, column, score, baskets = row[order], column[order], score[order], baskets[order]
        keep = listed[column] | (np.arange(len(row)) - np.searchsorted(row, row) < most)
        row, column, score, baskets = row[keep], column[keep], score[keep], baskets[keep]
        ends = np.searchsorted(row, np.arange(len(node.items) + 1))
        for item, start, stop in zip(node.items.tolist(), ends[:-1], ends[1:], strict=True):
            self.pairs[item] = (column[start:stop], score[start:stop])
            self.shared[item] = (column[start:stop], baskets[start:stop])
        return parent


@dataclass(frozen=True)
class ChosenAssociation:
    """The settings whose lists hit most often, and how often those of each candidate did."""

    settings: AssociationSettings
    hit_rate: Mapping[AssociationSettings, float]


def choose(
    baskets: pa.Table,
    candidates: Collection[AssociationSettings] = GRID,
    *,
    window: timedelta,
    as_of: datetime,
    categories: pa.Table | None = None,
    top: int = 10,
    contributors: Contributors | None = None,
) -> ChosenAssociation:
    """Fit each candidate on what was bought before the last window, and see what it hits in it.

    Args:
        baskets: as `fit` takes them; the window that ends at `as_of` lies inside the training data.
        contributors: likewise.

    Raises:
        ConfigError: there are no candidates.
        QualityError: no basket of the window holds two items.
    """
    if not candidates:
        raise ConfigError("there are no settings to choose from")
    start = as_of - window
    at = baskets["event_timestamp"]
    later = baskets.filter(
        pc.and_(pc.greater_equal(at, _instant(start, at)), pc.less(at, _instant(as_of, at)))
    )
    rates: dict[AssociationSettings, float] = {}
    for settings in candidates:
        model = fit(
            baskets, settings, as_of=start, categories=categories, contributors=contributors
        )
        hits = one_given(model.recommend(asked(later), top), later, top)
        if not len(hits):
            raise QualityError("no basket of the validation window holds two items")
        rates[settings] = float(hits.mean())
    return ChosenAssociation(max(rates, key=lambda settings: rates[settings]), rates)


def asked(baskets: pa.Table) -> pa.Table:
    """A history in which each item of the baskets asks for what goes with it."""
    items = pc.unique(baskets["item_id"])
    return pa.table({"entity_id": items, "item_id": items})


def one_given(lists: pa.Table, baskets: pa.Table, top: int) -> Matrix:
    """Hit rate per basket of at least two items, ordered by id.

    Each item of a basket is given in turn; its list hits if any of its first `top` is another item
    of the basket. A basket's rate is the share of its items whose lists hit, so that baskets count
    alike, however large they are.

    Args:
        lists: `entity_id` is the item given; an item without a list hits nothing.
        baskets: `group_id`, `item_id`.
    """
    bought = interactions(_grouped(baskets))
    sizes = np.bincount(bought.rows, minlength=len(bought.entities))
    width = max(len(bought.items), 1)
    given = codes_of(lists["entity_id"].to_pylist(), bought.items)
    listed = codes_of(lists["item_id"].to_pylist(), bought.items)
    place = np.arange(len(given))
    starts = np.ones(len(given), dtype=bool)
    starts[1:] = given[1:] != given[:-1]
    place -= np.maximum.accumulate(np.where(starts, place, 0))
    use = (given >= 0) & (listed >= 0) & (place < top) & (given != listed)
    shape = (len(bought.items), len(bought.items))
    suggested = sparse.csr_array((np.ones(int(use.sum())), (given[use], listed[use])), shape=shape)
    keys = bought.rows * width + bought.columns
    hit: Mask = np.zeros(len(keys), dtype=bool)
    for start in range(0, len(keys), 200_000):
        part = slice(start, start + 200_000)
        cells = suggested[bought.columns[part]].tocoo()
        asked_for = bought.rows[part][cells.row] * width + cells.col
        found = np.minimum(np.searchsorted(keys, asked_for), len(keys) - 1)
        hit[start + cells.row[keys[found] == asked_for]] = True
    rate = np.bincount(bought.rows, hit, minlength=len(sizes)) / np.maximum(sizes, 1)
    return np.asarray(rate[sizes >= 2])


def _before(
    baskets: pa.Table,
    settings: AssociationSettings,
    as_of: datetime,
    contributors: Contributors | None,
) -> tuple[Interactions, Mask]:
    """Pairs of basket and item, and which baskets are recent."""
    at = baskets["event_timestamp"]
    past = baskets.filter(pc.less(at, _instant(as_of, at)))
    past = past if contributors is None else contributors.known(past)
    bought = interactions(_grouped(past))
    if not bought.entities:
        raise QualityError(
            f"nothing was bought before {local(as_of, PLATFORM)}; there is nothing to learn"
        )
    since = _instant(as_of - timedelta(days=settings.recent_days), at)
    late = pc.unique(past.filter(pc.greater_equal(past["event_timestamp"], since))["group_id"])
    recent = np.zeros(len(bought.entities), dtype=bool)
    recent[codes_of(late.cast(pa.string()).to_pylist(), bought.entities)] = True
    return bought, recent


def _recently_known(contributors: Contributors, bought: Interactions, recent: Mask) -> Mask:
    """Which items lay in recent baskets of enough contributors."""
    late = recent[bought.rows]
    return contributors.items(
        replace(
            bought,
            rows=bought.rows[late],
            columns=bought.columns[late],
            weights=bought.weights[late],
        )
    )


def _grouped(baskets: pa.Table) -> pa.Table:
    return pa.table({"entity_id": baskets["group_id"], "item_id": baskets["item_id"]})


def _instant(at: datetime, column: pa.ChunkedArray) -> pa.Scalar:
    return pa.scalar(at, pa.timestamp("us", "UTC")).cast(column.type)


def _weights(matrix: sparse.csr_array, power: float) -> Matrix:
    sizes = np.maximum(np.diff(matrix.indptr), 1).astype(np.float64)
    weights = sizes**-power
    return np.asarray(weights / weights.mean())


def _trend(matrix: sparse.csr_array, recent: Mask, power: float) -> Matrix:
    held = np.asarray(matrix.sum(axis=0))
    now = np.asarray(matrix[np.flatnonzero(recent)].sum(axis=0))
    expected = held * (np.count_nonzero(recent) / matrix.shape[0])
    return np.asarray(((now + _STEADY) / (expected + _STEADY)) ** power)


def _known_codes(words: npt.NDArray[np.str_], codes: Codes) -> Codes:
    unknown = len(words) > 0 and words[0] == ""
    return np.where(codes == 0, -1, codes) if unknown else codes


def _others(categories: pa.Table | None, items: tuple[str, ...]) -> tuple[str, ...]:
    """Items that are not modelled but whose category may be."""
    if categories is None:
        return ()
    return tuple(sorted(set(categories["item_id"].to_pylist()) - set(items)))


def _single(values: npt.NDArray[Any]) -> Matrix:
    """Rounded to what is kept, so that a model read back scores alike."""
    return np.asarray(values.astype(np.float32), dtype=np.float64)
