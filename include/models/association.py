"""Bought together: from the items at hand to those that lie in the same baskets.

Item j's score beside item i is its shrunk lift times the share of baskets it has now:

    score(i, j) = f_i(j) / p_j · p_j · (r_j / e_j)^trend = f_i(j) · (r_j / e_j)^trend

with p_j the share of baskets that hold j, f_i(j) the conditional share shrunk towards that of i's
category (`cooccurrence`), so that f_i(j) / p_j is a lift that needs support to be far from 1, and
r_j / e_j the recent baskets with j over those that its share of all would make one expect. Pure
lift puts what was bought once, together with something else bought once, above everything.

An item that the model has hardly seen, or only knows the category of, gets what goes with its
category; one it knows nothing of gets what goes with anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from scipy import sparse

from include.errors import ConfigError, IntegrityError
from include.models.arrays import Arrays, from_texts, settings_from, take, to_texts
from include.models.interactions import (
    Codes,
    Interactions,
    Mask,
    Matrix,
    among_mask,
    codes_of,
    interactions,
)
from include.models.item_lists import LISTS, best_stored, table_of
from include.models.sparse_rows import beyond, stored

MOST_ITEMS: Final = 100_000
#: Entities whose lists are made at a time.
_ENTITIES: Final = 20_000
_ARRAYS: Final = {
    "fallback_ends": ("<i8", 1),
    "fallback_items": ("<i4", 1),
    "fallback_scores": ("<f4", 1),
    "pair_ends": ("<i8", 1),
    "pair_items": ("<i4", 1),
    "pair_scores": ("<f4", 1),
    "pair_baskets": ("<i4", 1),
    "baskets": ("<i8", 1),
    "parent": ("<i4", 1),
    "doubt": ("<f8", 1),
    "items_utf8": ("|u1", 1),
    "items_ends": ("<i8", 1),
    "others_utf8": ("|u1", 1),
    "others_ends": ("<i8", 1),
}


@dataclass(frozen=True)
class AssociationSettings:
    """The choices made before fitting; the first three on a validation window, by `choose`."""

    strength: float = 30.0  #: k, in baskets
    size_power: float = 1.0  #: a basket of n items counts n^-size_power, so big ones count less
    trend: float = 0.5  #: 0: popularity of the whole history; 1: that of the recent days
    recent_days: int = 28
    neighbours: int = 50  #: kept per item and category
    most_items: int = 20_000  #: those in most baskets; rarer ones go by their category

    def __post_init__(self) -> None:
        if not 0 < self.strength < 1e9 or not 0 <= self.size_power <= 2 or not 0 <= self.trend <= 2:
            raise ConfigError("strength is above 0; size_power and trend are from 0 to 2")
        if not 1 <= self.neighbours <= 1_000 or not 1 <= self.most_items <= MOST_ITEMS:
            raise ConfigError(f"neighbours are from 1 to 1,000, most_items to {MOST_ITEMS:,}")
        if not 1 <= self.recent_days <= 3_660:
            raise ConfigError(f"recent_days is from 1 to 3,660, not {self.recent_days}")


#: Few, and far apart: candidates of `choose`.
GRID: Final = tuple(
    AssociationSettings(strength=strength, size_power=size_power, trend=trend)
    for size_power in (0.0, 0.5, 1.0)
    for strength in (10.0, 30.0, 100.0)
    for trend in (0.0, 0.5)
)


@dataclass(frozen=True, eq=False)
class Association:
    """A fitted model; a list predictor.

    The score beside an item is that of its pairs where stored, else its doubt, k / (n_i + k), times
    that of its parent's list.
    """

    settings: AssociationSettings
    total: int  #: baskets
    items: tuple[str, ...]  #: sorted; those that can be listed
    others: tuple[str, ...]  #: sorted; those that go by their category
    baskets: Codes  #: with each item
    parent: Codes  #: place in `fallback` of each item and other
    doubt: Matrix  #: k / (n_i + k) of each item, 1 of each other
    fallback: sparse.csr_array  #: `(categories, items)`: best scores; the first is everything
    pairs: sparse.csr_array  #: `(items, items)`: scores
    shared: sparse.csr_array  #: `(items, items)`, at the same places: baskets with both

    #: Names and texts in the bytes of a model.
    WORDS: ClassVar = frozenset(
        {"settings", "total", *AssociationSettings.__dataclass_fields__, *_ARRAYS}
    )

    @cached_property
    def _known(self) -> tuple[str, ...]:
        return (*self.items, *self.others)

    @cached_property
    def _beyond(self) -> sparse.csr_array:
        """What the pairs add to the doubted fallback, `(items and others, items)`."""
        return beyond(self.pairs, self.fallback, self.parent, self.doubt)

    def recommend(
        self, history: pa.Table, top: int, *, among: Collection[str] | None = None
    ) -> pa.Table:
        """What goes with the items of each entity, none of these included.

        Args:
            history: `entity_id`, `item_id`: the items at hand, for instance of one basket or page.
                Of several the mean counts; without a known one, what goes with anything is listed.
            among: items that may be listed: of a shared model, those the tenant has.
        """
        if top < 1:
            raise ConfigError(f"a list of {top} items; ask for at least 1")
        at_hand = interactions(history, items=self._known)
        allowed = among_mask(self.items, among)
        parts = [
            self._lists(at_hand, slice(start, start + _ENTITIES), top, allowed)
            for start in range(0, len(at_hand.entities), _ENTITIES)
        ]
        return pa.concat_tables(parts) if parts else LISTS.empty_table()

    def together(self, history: pa.Table, lists: pa.Table, most: int) -> list[list[dict[str, Any]]]:
        """Per row of some lists, the items at hand that share most baskets with it.

        With the number of `baskets` that hold both, and the `lift`: the share of the baskets with
        the item at hand that hold the other, over the share of all. Nothing where the item stands
        there for what goes with a category, or with anything.
        """
        at_hand = interactions(history, items=self._known)
        ends = np.searchsorted(at_hand.rows, np.arange(len(at_hand.entities) + 1))
        rows = codes_of(lists["entity_id"].to_pylist(), at_hand.entities)
        columns = codes_of(lists["item_id"].to_pylist(), self.items)
        shared, found = self.shared.tocsr(), []
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            told = []
            for item in at_hand.columns[ends[row] : ends[row + 1]].tolist():
                if item >= len(self.items):
                    continue
                start, end = shared.indptr[item : item + 2]
                both = int(shared.data[start:end][shared.indices[start:end] == column].sum())
                if both:
                    share = self.baskets[column] / self.total
                    lift = float(both / self.baskets[item] / share)
                    told.append({"item": self.items[item], "baskets": both, "lift": lift})
            found.append(sorted(told, key=lambda one: (-one["baskets"], one["item"]))[:most])
        return found

    def arrays(self) -> Arrays:
        """All that is not in the header."""
        return {
            "fallback_ends": self.fallback.indptr[1:].astype("<i8"),
            "fallback_items": self.fallback.indices.astype("<i4"),
            "fallback_scores": self.fallback.data.astype("<f4"),
            "pair_ends": self.pairs.indptr[1:].astype("<i8"),
            "pair_items": self.pairs.indices.astype("<i4"),
            "pair_scores": self.pairs.data.astype("<f4"),
            "pair_baskets": self.shared.data.astype("<i4"),
            "baskets": self.baskets.astype("<i8"),
            "parent": self.parent.astype("<i4"),
            "doubt": self.doubt.astype("<f8"),
            **from_texts(self.items, "items"),
            **from_texts(self.others, "others"),
        }

    def header(self) -> Mapping[str, Any]:
        """The settings, and how many baskets there were."""
        return {"settings": asdict(self.settings), "total": self.total}

    @classmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Arrays) -> Association:
        """The model whose `header` and `arrays` these are.

        Raises:
            IntegrityError: they are of no such model.
        """
        if set(header) != {"settings", "total"} or type(header["total"]) is not int:
            raise IntegrityError("the header of an association model has settings and total")
        settings = settings_from(AssociationSettings, header["settings"])
        found = dict(zip(_ARRAYS, take(arrays, _ARRAYS), strict=True))
        items = to_texts(found["items_utf8"], found["items_ends"])
        others = to_texts(found["others_utf8"], found["others_ends"])
        lists = len(found["fallback_ends"])
        sizes = {"baskets": len(items), "pair_ends": len(items)}
        sizes |= dict.fromkeys(("parent", "doubt"), len(items) + len(others))
        wrong = [name for name, size in sizes.items() if len(found[name]) != size]
        parent, doubt = found["parent"].astype(np.int64), found["doubt"]
        outside = len(parent) and not 0 <= parent.min() <= parent.max() < lists
        unsorted = any(list(ids) != sorted(set(ids)) for ids in (items, others))
        small = header["total"] < 1 or (found["baskets"] < 1).any()
        if wrong or outside or unsorted or small or not lists or (doubt < 0).any():
            raise IntegrityError("the arrays of an association model do not fit together")
        fallback = stored("fallback", found, "fallback_scores", len(items))
        pairs = stored("pair", found, "pair_scores", len(items))
        shared = stored("pair", found, "pair_baskets", len(items))
        rest = (settings, header["total"], items, others, found["baskets"])
        return cls(*rest, parent, doubt, fallback, pairs, shared)

    def _lists(self, at_hand: Interactions, part: slice, top: int, allowed: Mask) -> pa.Table:
        matrix = at_hand.matrix()[part]
        given = np.diff(matrix.indptr)
        mean = matrix.multiply(1.0 / np.maximum(given, 1)[:, None]).tocsr()
        places = np.arange(len(self._known))
        shape = (len(places), self.fallback.shape[0])
        parents = mean @ sparse.csr_array((self.doubt, (places, self.parent)), shape=shape)
        nothing = np.flatnonzero(given == 0)
        parents = parents + sparse.csr_array(
            (np.ones(len(nothing)), (nothing, np.zeros(len(nothing), dtype=np.int64))),
            shape=parents.shape,
        )
        scores = (parents @ self.fallback + mean @ self._beyond).tocoo()
        own = matrix.tocoo()
        width = len(self._known)
        at_hand_too = np.isin(
            scores.row.astype(np.int64) * width + scores.col,
            own.row.astype(np.int64) * width + own.col,
        )
        keep = allowed[scores.col] & ~at_hand_too
        cells = (scores.data[keep], (scores.row[keep], scores.col[keep]))
        listed = best_stored(sparse.csr_array(cells, shape=scores.shape), top)
        return table_of(at_hand.entities[part], self.items, listed)
