"""EASE: what an entity will like, from how items go together; one linear map in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019: with X the entities × items
matrix of a history, B minimises |X − XB|² + λ|B|² under diag(B) = 0, and the score of item j for an
entity with weights x is (xB)_j. Two refinements, each with a parameter that may be 0:

- `dropout`: λ grows by p/(1 − p) · G_jj, with G = XᵀX, as if entries of X were dropped at random
  with probability p (Steck, "Autoencoders that don't overfit towards the identity", NeurIPS 2020).
- `shrinkage` κ towards another model's B₀, the global one's: κ|B − B₀|² is added to what is
  minimised, a Gaussian prior around the shared solution (Evgeniou and Pontil, "Regularized
  multi-task learning", KDD 2004). With A = G + Λ + κI, where Λ is diagonal, and P = A⁻¹, setting
  the derivative to zero gives B = P(G + κB₀ − diag(μ)) = I + κPB₀ − P diag(ν), and diag(B) = 0
  gives ν_j = (1 + κ(PB₀)_jj) / P_jj. Without a prior that is Steck's B_ij = −P_ij / P_jj.

`novelty` multiplies the score of an item that n entities had by n^−novelty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from scipy import linalg
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from include.errors import ConfigError, IntegrityError, QualityError, UnknownNameError
from include.models.arrays import Arrays, from_texts, settings_from, take, to_texts
from include.models.contributors import Contributors, among, owners
from include.models.interactions import Codes, Matrix, among_mask, codes_of, interactions
from include.models.item_lists import SEEN, lists_of, ndcg

#: The matrix of so many items takes 50 MB where it is kept, and some 10 s and 1 GB to find.
MOST_ITEMS: Final = 5_000
_ARRAYS: Final = {
    "effects": ("<f2", 2),
    "support": ("<i8", 1),
    "items_utf8": ("|u1", 1),
    "items_ends": ("<i8", 1),
    "left_out_utf8": ("|u1", 1),
    "left_out_ends": ("<i8", 1),
}


@dataclass(frozen=True)
class EaseSettings:
    """The choices made before fitting; the first four on a validation window, by `choose`."""

    ridge: float = 300.0  #: λ, in squared weights summed over entities
    dropout: float = 0.0  #: below 1
    novelty: float = 0.0  #: 0: popularity counts in full; around 1 it counts no more
    shrinkage: float = 0.0  #: κ towards the prior; 0 leaves it out
    weight: str = ""  #: column of the history; negative values are things turned down
    seen: str = "drop"  #: `keep` where things are had again and again
    most_items: int = 4_000  #: those that most entities had

    def __post_init__(self) -> None:
        amounts = (self.ridge, self.novelty, self.shrinkage)
        if not all(0 <= value < 1e12 for value in amounts) or self.ridge + self.shrinkage <= 0:
            raise ConfigError(f"ridge, novelty and shrinkage are amounts, not {amounts}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is at least 0 and below 1, not {self.dropout}")
        if self.seen not in SEEN:
            raise UnknownNameError("rule for items seen", self.seen, SEEN)
        if not 1 <= self.most_items <= MOST_ITEMS:
            raise ConfigError(f"most_items is from 1 to {MOST_ITEMS:,}, not {self.most_items}")


#: Few, and far apart: candidates of `choose`.
GRID: Final = tuple(
    EaseSettings(ridge=ridge, dropout=dropout, novelty=novelty)
    for ridge in (30.0, 100.0, 300.0, 1000.0)
    for dropout in (0.0, 0.5)
    for novelty in (0.0, 0.1, 0.2)
)


@dataclass(frozen=True, eq=False)
class Ease:
    """A fitted model; a list predictor."""

    settings: EaseSettings
    items: tuple[str, ...]  #: sorted
    support: Codes  #: entities that had each item
    effects: Matrix  #: `(had, liked)`: B, in half precision
    left_out: tuple[str, ...]  #: items of the history that the model does not know

    #: Names and texts in the bytes of a model.
    WORDS: ClassVar = frozenset({*EaseSettings.__dataclass_fields__, *SEEN, *_ARRAYS})

    def recommend(
        self, history: pa.Table, top: int, *, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists for the entities of the history that had an item the model knows.

        Args:
            history: `entity_id`, `item_id` and the weight column.
            among: items that may be listed: of a shared model, those the tenant has.
        """
        own = interactions(history, self.settings.weight, items=self.items)
        matrix = own.matrix()
        known = np.flatnonzero(np.diff(matrix.indptr))
        matrix, scale = matrix[known], self._scale()

        def scores(part: slice) -> Matrix:
            return np.asarray(matrix[part] @ self.effects) * scale

        return lists_of(
            [own.entities[row] for row in known],
            self.items,
            scores,
            top,
            blocked=matrix if self.settings.seen == "drop" else None,
            among=None if among is None else among_mask(self.items, among),
        )

    def arrays(self) -> Arrays:
        """All that is not in the header."""
        return {
            "effects": self.effects.astype("<f2"),
            "support": self.support.astype("<i8"),
            **from_texts(self.items, "items"),
            **from_texts(self.left_out, "left_out"),
        }

    def header(self) -> Mapping[str, Any]:
        """The settings."""
        return asdict(self.settings)

    @classmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Arrays) -> Ease:
        """The model whose `header` and `arrays` these are.

        Raises:
            IntegrityError: they are of no such model.
        """
        settings = settings_from(EaseSettings, header)
        effects, support, *texts = take(arrays, _ARRAYS)
        items, left_out = to_texts(*texts[:2]), to_texts(*texts[2:])
        if effects.shape != (len(items), len(items)) or support.shape != (len(items),):
            raise IntegrityError("the effects of an EASE model are items × items")
        if list(items) != sorted(set(items)) or (support < 0).any():
            raise IntegrityError("the items of an EASE model are sorted, with a support each")
        if len(items) > settings.most_items or effects.diagonal().any():
            raise IntegrityError("an EASE model has its most items, none of which affects itself")
        return cls(settings, items, support, effects.astype(np.float64), left_out)

    def _scale(self) -> Matrix:
        return np.maximum(self.support, 1).astype(np.float64) ** -self.settings.novelty


def fit(
    history: pa.Table,
    settings: EaseSettings,
    prior: Ease | None = None,
    contributors: Contributors | None = None,
) -> Ease:
    """The model of a history.

    Args:
        history: `entity_id`, `item_id` and the weight column.
        prior: the model that `shrinkage` draws to. Items it does not know are drawn to 0; items
            that only it knows are not this tenant's, and left out.
        contributors: of a model that other tenants get: whom each item has to have, or it is not
            even among those left out; and each pair, or the two are as if different entities had
            them.

    Raises:
        QualityError: nobody had anything.
    """
    every = interactions(history, settings.weight)
    if contributors is not None:
        every = among(every, contributors.items(every))
    support = every.support()
    if not support.any():
        raise QualityError("no entity of the history had an item, so nothing can be learnt from it")
    order = np.lexsort((np.arange(len(support)), -support))
    kept = np.sort(order[: settings.most_items][support[order[: settings.most_items]] > 0])
    items = tuple(every.items[place] for place in kept)
    matrix = every.matrix()[:, kept]
    gram = (matrix.T @ matrix).toarray()
    if contributors is not None:
        shared = contributors.pairs(matrix, owners(every.entities)).toarray()
        gram = _without(gram, shared, settings.ridge)
    effects = _solve(gram, settings, None if prior is None else _aligned(prior, items))
    known = set(items)
    left_out = tuple(item for item in every.items if item not in known)
    return Ease(settings, items, support[kept], effects, left_out)


@dataclass(frozen=True)
class ChosenEase:
    """The settings with the best lists, and how good those of each candidate were."""

    settings: EaseSettings
    ndcg: Mapping[EaseSettings, float]  #: mean over entities


def choose(
    before: pa.Table,
    later: pa.Table,
    candidates: Collection[EaseSettings] = GRID,
    *,
    prior: Ease | None = None,
    top: int = 10,
    contributors: Contributors | None = None,
) -> ChosenEase:
    """Fit each candidate on what was had before, and see which lists what was had later.

    Args:
        before: history up to the validation window, which lies inside the training data.
        later: `entity_id`, `item_id`: what was had in the window. What an entity had before does
            not count where its settings drop what was seen.
        contributors: see `fit`.

    Raises:
        ConfigError: there are no candidates.
    """
    if not candidates:
        raise ConfigError("there are no settings to choose from")
    found: dict[EaseSettings, float] = {}
    fitted: dict[EaseSettings, Ease] = {}
    for settings in candidates:
        base = replace(settings, novelty=0.0, seen="drop")  # neither changes what is fitted
        if base not in fitted:
            fitted = {base: fit(before, base, prior, contributors)}
        lists = replace(fitted[base], settings=settings).recommend(before, top)
        values = ndcg(lists, _unseen(later, before) if settings.seen == "drop" else later, top)
        found[settings] = float(values.mean()) if len(values) else 0.0
    return ChosenEase(max(found, key=lambda settings: found[settings]), found)


def _without(gram: Matrix, shared: Matrix, ridge: float) -> Matrix:
    """The products of the shared pairs alone, as a matrix that can still be solved.

    With all that an item's other products come to added to its own, it can for certain, as it is
    then a sum of what it was and of a diagonally dominant matrix; mostly a part of that is enough.
    """
    kept = gram * shared
    rest = np.abs(gram - kept).sum(axis=1)
    diagonal = np.diag_indices_from(gram)
    for share in (0.0, 1 / 64, 1 / 16, 1 / 4):
        tried = kept.copy()
        tried[diagonal] += share * rest + ridge / 2
        with threadpool_limits(limits=1, user_api="blas"):
            _, failed = linalg.lapack.dpotrf(tried, lower=0, overwrite_a=1)
        if not failed:
            break
    else:
        share = 1.0
    kept[diagonal] += share * rest
    return kept


def _solve(gram: Matrix, settings: EaseSettings, prior: Matrix | None) -> Matrix:
    pull = settings.shrinkage if prior is not None else 0.0
    diagonal = np.diag_indices_from(gram)
    odds = settings.dropout / (1.0 - settings.dropout)
    gram[diagonal] += settings.ridge + pull + odds * gram[diagonal]
    # one thread: sums in one order, so that a retraining gives the same bits
    with threadpool_limits(limits=1, user_api="blas"):
        factor, failed = linalg.lapack.dpotrf(gram, lower=0, overwrite_a=1)
        if not failed:
            upper, failed = linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)
        if failed:
            raise QualityError(
                f"the items' similarities cannot be solved for with a ridge of {settings.ridge:g};"
                " choose a larger one"
            )
        inverse = np.triu(upper) + np.triu(upper, 1).T
        drawn = None if prior is None or not pull else pull * (inverse @ prior)
    numerator = 1.0 if drawn is None else 1.0 + drawn.diagonal()
    effects = -inverse * (numerator / inverse.diagonal())
    if drawn is not None:
        effects += drawn
    effects[diagonal] = 0.0
    return np.asarray(effects.astype(np.float16), dtype=np.float64)


def _aligned(prior: Ease, items: tuple[str, ...]) -> Matrix:
    """The prior's effects in the order of these items, 0 where it does not know one."""
    place = codes_of(items, prior.items)
    both = np.flatnonzero(place >= 0)
    found = np.zeros((len(items), len(items)))
    found[np.ix_(both, both)] = prior.effects[np.ix_(place[both], place[both])]
    return found


def _unseen(later: pa.Table, before: pa.Table) -> pa.Table:
    keys = ["entity_id", "item_id"]
    return later.select(keys).join(before.select(keys), keys, join_type="left anti")
