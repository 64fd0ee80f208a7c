"""Popular and trending items: one list for everybody, for those of whom nothing is known yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.special import xlogy

from include.errors import ConfigError, IntegrityError, QualityError, UnknownNameError
from include.models.arrays import Arrays, from_texts, settings_from, take, to_texts
from include.models.contributors import Contributors
from include.models.interactions import Matrix, among_mask, codes_of, interactions
from include.models.item_lists import LISTS, SEEN, lists_of
from include.wall_clock import PLATFORM, local

KINDS: Final = ("popular", "trending")
_ARRAYS: Final = {"scores": ("<f8", 1), "items_utf8": ("|u1", 1), "items_ends": ("<i8", 1)}


@dataclass(frozen=True)
class PopularitySettings:
    """The choices made before fitting."""

    kind: str = "popular"
    #: `popular`: an event so many days old counts half; 0: all count alike.
    #: `trending`: so many days are compared with as many before.
    days: float = 28.0
    seen: str = "drop"  #: `keep` where things are had again and again

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("kind of popularity", self.kind, KINDS)
        if self.seen not in SEEN:
            raise UnknownNameError("rule for items seen", self.seen, SEEN)
        if not 0 <= self.days <= 3_660 or (self.kind == "trending" and self.days <= 0):
            raise ConfigError(f"days is up to 3,660, and above 0 for what trends, not {self.days}")


@dataclass(frozen=True, eq=False)
class Popularity:
    """A fitted model; a list predictor."""

    settings: PopularitySettings
    items: tuple[str, ...]  #: sorted
    scores: Matrix  #: of each item

    #: Names and texts in the bytes of a model.
    WORDS: ClassVar = frozenset({*PopularitySettings.__dataclass_fields__, *KINDS, *SEEN, *_ARRAYS})

    def recommend(
        self,
        history: pa.Table,
        top: int,
        *,
        entities: Sequence[str] = (),
        among: Collection[str] | None = None,
    ) -> pa.Table:
        """The list, for everybody in the history and for the other entities.

        Args:
            history: `entity_id`, `item_id`; what it holds is left out where seen items are dropped.
            entities: those who have had nothing yet.
            among: items that may be listed: of a shared model, those the tenant has.
        """
        own = interactions(history, items=self.items)
        everybody = tuple(sorted({*own.entities, *entities}))
        if not everybody:
            return LISTS.empty_table()
        place = codes_of(own.entities, everybody)[own.rows]
        cells = (own.weights, (place, own.columns))
        seen = sparse.csr_array(cells, shape=(len(everybody), len(self.items)))
        # nobody has had more than this, so below it no one looks
        deep = top + (int(np.diff(seen.indptr).max(initial=0)) if self._drops else 0)
        allowed = among_mask(self.items, among)
        order = np.lexsort((np.arange(len(self.items)), -self.scores))
        short = np.sort(order[allowed[order]][:deep])
        scores = self.scores[short]
        return lists_of(
            everybody,
            [self.items[item] for item in short],
            lambda part: np.tile(scores, (part.stop - part.start, 1)),
            top,
            blocked=seen[:, short].tocsr() if self._drops else None,
        )

    def arrays(self) -> Arrays:
        """All that is not in the header."""
        return {"scores": self.scores.astype("<f8"), **from_texts(self.items, "items")}

    def header(self) -> Mapping[str, Any]:
        """The settings."""
        return asdict(self.settings)

    @classmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Arrays) -> Popularity:
        """The model whose `header` and `arrays` these are.

        Raises:
            IntegrityError: they are of no such model.
        """
        settings = settings_from(PopularitySettings, header)
        scores, utf8, ends = take(arrays, _ARRAYS)
        items = to_texts(utf8, ends)
        if len(scores) != len(items) or list(items) != sorted(set(items)):
            raise IntegrityError("a popularity model has sorted items, with a score each")
        return cls(settings, items, scores)

    @property
    def _drops(self) -> bool:
        return self.settings.seen == "drop"


def fit(
    events: pa.Table,
    settings: PopularitySettings,
    *,
    as_of: datetime,
    contributors: Contributors | None = None,
) -> Popularity:
    """The model of what happened before an instant.

    `popular` counts the entities that had an item, each by its latest event, halved with every
    `days` of its age. `trending` lists items that relatively more entities had in the last `days`
    than in as many before, by the log-likelihood ratio of the two counts (Dunning, Computational
    Linguistics 19, 1993): a doubling of many weighs more than one of few.

    Args:
        events: `entity_id`, `item_id`, `event_timestamp`; rows at and after `as_of` are left out.
        contributors: of a model that other tenants get: whom each item has to have.

    Raises:
        QualityError: nothing happened before.
    """
    at = events["event_timestamp"]
    past = events.filter(pc.less(at, pa.scalar(as_of, pa.timestamp("us", "UTC")).cast(at.type)))
    past = past if contributors is None else contributors.known(past)
    if not past.num_rows:
        raise QualityError(
            f"nothing happened before {local(as_of, PLATFORM)}; there is nothing to count"
        )
    start = pa.scalar(as_of, pa.timestamp("us", "UTC"))
    stamps = past["event_timestamp"].cast(pa.timestamp("us", "UTC"))
    micros = pc.subtract(start, stamps).cast(pa.int64()).to_numpy()
    age = micros / (timedelta(days=1) / timedelta(microseconds=1))
    if settings.kind == "popular":
        items, scores = _popular(past, age, settings.days)
    else:
        items, scores = _trending(past, age, settings.days)
    return Popularity(settings, items, scores)


def _popular(past: pa.Table, age: Matrix, days: float) -> tuple[tuple[str, ...], Matrix]:
    aged = past.select(["entity_id", "item_id"]).append_column("age", pa.array(age))
    latest = aged.group_by(["entity_id", "item_id"]).aggregate([("age", "min")])
    own = interactions(latest, "age_min")
    value = 0.5 ** (own.weights / days) if days else np.ones(len(own.weights))
    # summed from small to large, so that the order of rows does not matter
    order = np.lexsort((value, own.columns))
    total = np.bincount(own.columns[order], value[order], minlength=len(own.items))
    return own.items, np.asarray(total, dtype=np.float64)


def _trending(past: pa.Table, age: Matrix, days: float) -> tuple[tuple[str, ...], Matrix]:
    two = past.filter(pa.array(age <= 2 * days))
    known = interactions(past).items
    late = age[age <= 2 * days] <= days
    counts = [
        interactions(two.filter(pa.array(chosen)), items=known).support().astype(np.float64)
        for chosen in (late, ~late)
    ]
    now, before = counts
    all_now, all_before = max(now.sum(), 1.0), max(before.sum(), 1.0)
    pooled = (now + before) / (all_now + all_before)
    ratio = _likelihood(now, all_now, now / all_now) + _likelihood(
        before, all_before, before / all_before
    )
    ratio -= _likelihood(now, all_now, pooled) + _likelihood(before, all_before, pooled)
    grows = now / all_now > before / all_before
    items = tuple(item for item, rises in zip(known, grows, strict=True) if rises)
    return items, np.maximum(2.0 * ratio[grows], 0.0)


def _likelihood(count: Matrix, total: float, share: Matrix) -> Matrix:
    return np.asarray(xlogy(count, share) + xlogy(total - count, 1.0 - share))
