"""Lists that weigh three things: what is about lately, what kinds an entity likes, and EASE.

The score of item j for entity u is, in logarithms,

    trend · ln P(had and liked lately | not had before)
    + taste · ln P(category of j | u)
    + likeness · ln(δ + EASE score of j for u, brought to 0..1 within u),

a weighted product of experts (Hinton 2002) whose three weights are chosen on a validation window.
The share of a category is the entity's own, shrunk towards everybody's; where the entity turned
down n items of a category more than it liked, that is multiplied by `DOUBT` / (`DOUBT` + n). What
is about lately is read from the history handed in, so that an item that came out after training can
be listed: of the entities that had not had it before, the share that has had it since and not
turned it down. (Where things are had again and again, before and after tell nothing apart, and it
is the share of all entities.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from include.models.ease import Ease
from include.models.interactions import Interactions, Matrix, codes_of, interactions
from include.models.item_lists import LISTS, lists_of

#: Weight of everybody's shares of categories beside an entity's own, in items had; and how many
#: items turned down, beyond those liked, halve a share.
DOUBT: Final = 5.0
#: What an item that is like nothing the entity had keeps.
DELTA: Final = 0.05
#: Entities that are explained at a time, and items had that a reason names at most.
_BLOCK: Final = 256
_NEIGHBOURS: Final = 3
_NOTHING: Final = 1e-12  #: what rounding leaves of what is the same for all items


@dataclass(frozen=True)
class Blend:
    """Weights of the three experts."""

    trend: float
    taste: float
    likeness: float


#: Few, and far apart; the first is EASE alone, which is what is taken where nothing can choose.
BLENDS: Final = (
    Blend(0.0, 0.0, 1.0),
    *(
        Blend(trend, taste, likeness)
        for trend, taste, likeness in product((0.5, 1.0), (0.0, 1.0), (0.0, 0.5, 1.0))
    ),
)
#: For an EASE that knows nothing.
TREND: Final = Blend(1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Columns:
    """What the columns of a history are called; empty where there is none."""

    weight: str = ""
    recency: str = ""  #: days since the entity first, or last, had the item
    category: str = ""  #: the item's, as it is told now
    lately: float = 7.0  #: days within which an item counts as had lately


@dataclass(frozen=True)
class Experts:
    """What each expert says of every entity and item of a history."""

    own: Interactions
    trend: Matrix  #: `(items,)`
    taste: Matrix  #: `(entities, categories)`
    categories: Mapping[str, str]  #: item → category
    category: np.ndarray  #: `(items,)`: place in `taste`; the last is what has no category
    had: sparse.csr_array  #: `(entities, known items)`: weights of what EASE knows
    effects: Matrix  #: `(known items, known items)`: EASE's; its scores are `had @ effects`
    known: np.ndarray  #: `(items,)`: place in these; the last is what EASE does not know
    names: tuple[str, ...]  #: of these

    def lists(
        self,
        blend: Blend,
        top: int,
        *,
        drop_seen: bool,
        among: Collection[str] | None = None,
        novelty: float = 0.0,
    ) -> pa.Table:
        """The best `top` items of each entity by a blend, as `LISTS`.

        Args:
            novelty: times the logarithm of the entities that had an item, taken off its score.
        """
        if not self.own.entities:
            return LISTS.empty_table()

        def scores(part: slice) -> Matrix:
            found = np.zeros((part.stop - part.start, len(self.own.items)))
            for one in self._parts(blend, novelty, part).values():
                found += one
            return found

        allowed = None if among is None else np.isin(self.own.items, list(among))
        seen = self.own.matrix() if drop_seen else None
        return lists_of(self.own.entities, self.own.items, scores, top, blocked=seen, among=allowed)

    def reasons(
        self, blend: Blend, lists: pa.Table, most: int, *, novelty: float = 0.0, kind: str = ""
    ) -> list[list[dict[str, Any]]]:
        """Per row of some lists, what speaks for the item, the weightiest first.

        Each reason names its expert and what that adds to the item's score beyond what it adds to
        the entity's scores on average; all of them sum up to the score less the entity's mean. That
        of likeness names the items had that are most like it.

        Args:
            lists: `entity_id, item_id` of the history's entities and items.
            kind: what the column of categories is called.
        """
        rows = codes_of(lists["entity_id"].to_pylist(), self.own.entities)
        columns = codes_of(lists["item_id"].to_pylist(), self.own.items)
        found: list[list[dict[str, Any]]] = [[] for _ in rows]
        for start in range(0, len(self.own.entities), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(self.own.entities)))
            here = np.flatnonzero((rows >= part.start) & (rows < part.stop))
            for name, added in self._parts(blend, novelty, part).items():
                block = np.broadcast_to(added, (part.stop - part.start, len(self.own.items)))
                beyond = block - block.mean(axis=1, keepdims=True)
                values = beyond[rows[here] - part.start, columns[here]]
                for row, value in zip(here.tolist(), values.tolist(), strict=True):
                    if abs(value) > _NOTHING:
                        told = self._told(name, rows[row], columns[row], kind)
                        found[row].append({"feature": name, "contribution": value} | told)
        return [sorted(one, key=lambda r: -abs(r["contribution"]))[:most] for one in found]

    def _told(self, expert: str, row: int, column: int, kind: str) -> dict[str, Any]:
        """What a reason says besides."""
        if expert == "taste":
            return {"feature": kind, "value": self.categories.get(self.own.items[column])}
        if expert != "likeness" or self.known[column] == self.effects.shape[1]:
            return {}
        start, end = self.had.indptr[row : row + 2]
        had = self.had.indices[start:end]
        added = self.had.data[start:end] * self.effects[had, self.known[column]]
        order = np.lexsort((had, -added))[:_NEIGHBOURS]
        return {"items": [self.names[had[one]] for one in order if added[one] > 0]}

    def _parts(self, blend: Blend, novelty: float, part: slice) -> dict[str, Matrix]:
        """What each expert adds, `(entities of the part, items)` or `(items,)`."""
        found = {"trend": blend.trend * self.trend}
        if novelty:
            found["novelty"] = -novelty * np.log(np.maximum(self.own.support(), 1))
        if blend.taste:
            found["taste"] = blend.taste * np.log(self.taste[part])[:, self.category]
        if blend.likeness:
            found["likeness"] = blend.likeness * self._alike(part)
        return found

    def _alike(self, part: slice) -> Matrix:
        """Logarithms; an item that EASE does not know is as likely as the others on average."""
        # without EASE's scale by popularity, which `trend` stands for
        raw = np.maximum(np.asarray(self.had[part] @ self.effects), 0.0)
        most = raw.max(axis=1, initial=0.0, keepdims=True)
        found = np.log(DELTA + np.divide(raw, most, out=np.zeros_like(raw), where=most > 0))
        usual = found.mean(axis=1, keepdims=True) if found.shape[1] else np.zeros((len(raw), 1))
        return np.asarray(np.concatenate([found, usual], axis=1)[:, self.known])


def experts(history: pa.Table, columns: Columns, ease: Ease) -> Experts:
    """What the experts say about a history: `entity_id, item_id` and the named columns."""
    own = interactions(history, columns.weight)
    lately = history
    if columns.recency:
        days = pc.fill_null(history[columns.recency].cast(pa.float64()), float("inf"))
        lately = history.filter(pc.less_equal(days, columns.lately))
    recent = interactions(lately, columns.weight, items=own.items).support()
    before = np.zeros_like(recent)
    if ease.settings.seen == "drop":
        tried = interactions(lately, items=own.items).support()
        before = interactions(history, items=own.items).support() - tried
    categories = _categories(history, columns)
    names = sorted(set(categories.values()))
    category = codes_of([categories.get(item, "") for item in own.items], names)
    category = np.where(category < 0, len(names), category)
    known = codes_of(own.items, ease.items)
    return Experts(
        own,
        np.log((recent + 0.5) / (len(own.entities) - before + 1)),
        _tastes(own, category, len(names)),
        categories,
        category,
        _had(own, known, len(ease.items)),
        ease.effects,
        np.where(known < 0, len(ease.items), known),
        ease.items,
    )


def _categories(history: pa.Table, columns: Columns) -> dict[str, str]:
    if not columns.category:
        return {}
    pairs = (
        history.select(["item_id", columns.category])
        .group_by(["item_id", columns.category])
        .aggregate([])
    )
    told = zip(pairs["item_id"].to_pylist(), pairs[columns.category].to_pylist(), strict=True)
    return dict(sorted((item, category) for item, category in told if category))


def _tastes(own: Interactions, category: np.ndarray, count: int) -> Matrix:
    """P(category | entity), `(entities, categories + 1)`; the last is as likely as the mean."""
    cells = own.rows * (count + 1) + category[own.columns]
    size = len(own.entities) * (count + 1)
    net = np.bincount(cells, own.weights, minlength=size).reshape(-1, count + 1)[:, :count]
    liked, disliked = np.maximum(net, 0.0), np.maximum(-net, 0.0)
    everybody = (liked.sum(axis=0) + 1) / (liked.sum() + max(count, 1))
    shares = (liked + DOUBT * everybody) / (liked.sum(axis=1, keepdims=True) + DOUBT)
    shares *= DOUBT / (DOUBT + disliked)
    usual = np.full((len(shares), 1), 1 / max(count, 1))
    return np.asarray(np.concatenate([shares, usual], axis=1))


def _had(own: Interactions, known: np.ndarray, count: int) -> sparse.csr_array:
    use = known[own.columns] >= 0
    cells = (own.weights[use], (own.rows[use], known[own.columns[use]]))
    return sparse.csr_array(cells, shape=(len(own.entities), count))
