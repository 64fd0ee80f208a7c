"""Counts of what lies in the same baskets, and conditional shares shrunk by a tree of categories.

A node is an item, a category or, above all, everything. The share of the baskets with item i that
hold j is estimated as f_i(j) = (n_ij + k · f_parent(j)) / (n_i + k), where the parent of an item is
its finest category, that of a category the next coarser one, and f of everything is j's share of
all baskets. n counts baskets with weights; k is how many baskets' worth the parent's word has.
That is the posterior mean under nested Dirichlet priors (MacKay and Peto, "A hierarchical Dirichlet
language model", Natural Language Engineering 1, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from include.models.interactions import Codes, Matrix

#: Items whose pairs are counted at a time.
_AT_A_TIME = 500


@dataclass(frozen=True)
class Counts:
    """Baskets, their weights, and the categories of the items."""

    baskets: sparse.csr_array  #: `(baskets, items)`, ones
    weights: Matrix  #: `(baskets,)`, mean 1
    levels: tuple[Codes, ...]  #: per level, coarsest first: the item's category, -1 where unknown
    #: `(items, items)`, ones: the pairs that count; all of them where None. What a category lies
    #: with is made of these too, so that no difference of the two tells of another pair.
    shared: sparse.csr_array | None = None
    held: Matrix = field(init=False)  #: weighted baskets that hold each item

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", np.asarray(self.baskets.T @ self.weights))

    @property
    def share(self) -> Matrix:
        """Weighted share of the baskets that hold each item."""
        return np.asarray(self.held / self.weights.sum())


@dataclass(frozen=True)
class Family:
    """Items with the same parent, and what is known of what they lie with."""

    items: Codes
    expected: Matrix  #: f of the parent, `(all items,)`
    path: tuple[int, ...]  #: the parent's categories, coarsest first
    #: `(items, all items)`, none with itself: weighted baskets shared as the real part, baskets
    #: shared as the imaginary one, so that one product counts both
    pairs: sparse.csr_array


@dataclass(frozen=True)
class Category:
    """A category, or everything: `path` is empty."""

    path: tuple[int, ...]
    expected: Matrix  #: f, `(all items,)`


def walk(counts: Counts, strength: float) -> Iterator[Category | Family]:
    """Every category, each before what it holds, and every family of items."""
    both = counts.baskets.multiply((counts.weights + 1j)[:, None]).tocsr()
    columns = counts.baskets.tocsc()
    pairs = tuple(_pairs_of_level(counts, level, columns, both) for level in counts.levels)
    held = tuple(
        np.asarray(np.bincount(level[level >= 0], counts.held[level >= 0], known.shape[0]), float)
        for level, known in zip(counts.levels, pairs, strict=True)
    )
    tree = _Tree(counts.levels, strength, pairs, held, columns, both, counts.shared)
    return tree.below(np.arange(counts.baskets.shape[1]), (), counts.share)


@dataclass(frozen=True)
class _Tree:
    levels: tuple[Codes, ...]
    strength: float
    pairs: tuple[sparse.csr_array, ...]  #: per level, see `_pairs_of_level`
    held: tuple[Matrix, ...]  #: per level: weighted items of each category in baskets
    baskets: sparse.csc_array
    both: sparse.csr_array  #: baskets, with their weight as the real part of each cell
    shared: sparse.csr_array | None  #: see `Counts`

    def below(
        self, items: Codes, path: tuple[int, ...], expected: Matrix
    ) -> Iterator[Category | Family]:
        """A category with these items, and all that it holds."""
        yield Category(path, expected)
        depth = len(path)
        last = depth == len(self.levels)
        place = np.full_like(items, -1) if last else self.levels[depth][items]
        alone = items[place < 0]
        for start in range(0, len(alone), _AT_A_TIME):
            own = alone[start : start + _AT_A_TIME]
            pairs = _counted(self.baskets, self.both, own, self.shared)
            yield Family(own, expected, path, pairs)
        for category in np.unique(place[place >= 0]).tolist():
            row = self.pairs[depth][[category]].toarray()[0]
            share = row + self.strength * expected
            share /= self.held[depth][category] + self.strength
            yield from self.below(items[place == category], (*path, category), share)


def _pairs_of_level(
    counts: Counts, level: Codes, columns: sparse.csc_array, both: sparse.csr_array
) -> sparse.csr_array:
    """Per category and item: weighted baskets of the category's items that hold the item too."""
    known = np.flatnonzero(level >= 0)
    size = int(level.max(initial=-1)) + 1
    member = sparse.csr_array(
        (np.ones(len(known)), (known, level[known])), shape=(len(level), max(size, 1))
    )
    if counts.shared is not None:
        total = sparse.csr_array((member.shape[1], len(level)))
        for start in range(0, len(known), _AT_A_TIME):
            own = known[start : start + _AT_A_TIME]
            total = total + member[own].T @ _counted(columns, both, own, counts.shared).real
        return total.tocsr()
    number = counts.baskets @ member
    pairs = (number.multiply(counts.weights[:, None]).T.tocsr() @ counts.baskets).tocsr()
    # an item is not bought together with itself
    itself = sparse.csr_array((counts.held[known], (level[known], known)), shape=pairs.shape)
    return pairs - itself


def _counted(
    columns: sparse.csc_array,
    both: sparse.csr_array,
    items: Codes,
    shared: sparse.csr_array | None,
) -> sparse.csr_array:
    """Pairs of some items with all others, see `Family.pairs`."""
    pairs = _apart(columns[:, items].T @ both, items)
    return pairs if shared is None else pairs.multiply(shared[items]).tocsr()


def _apart(pairs: sparse.csr_array, items: Codes) -> sparse.csr_array:
    """The pairs of different items."""
    found = pairs.tocoo()
    different = items[found.row] != found.col
    cells = (found.data[different], (found.row[different], found.col[different]))
    return sparse.csr_array(cells, shape=pairs.shape)
