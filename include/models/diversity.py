"""Lists made more varied: by category, and other ones every week.

Each takes lists that are longer than wanted and returns some of their rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.models.interactions import Codes, Matrix
from include.models.item_lists import LISTS

#: Items drawn up per place of a list: before the week's are drawn of them, and after.
_DEEPER: Final = 5
_DRAWN: Final = 2


@dataclass(frozen=True)
class Variety:
    """How lists differ from the order of their scores; as made, not at all."""

    relevance: float = 1.0  #: below 1, so much less for more categories, see `diversified`
    novelty: float = 0.0  #: logarithms of support that are taken off logarithmic scores
    chance: float = 0.0  #: above 0, other items every week, see `drawn`
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.relevance <= 1 and 0 <= self.novelty <= 1 and 0 <= self.chance <= 10):
            raise ConfigError(
                "relevance and novelty are from 0 to 1 and chance from 0 to 10, not "
                f"{self.relevance}, {self.novelty} and {self.chance}"
            )

    def depth(self, top: int) -> int:
        """How long lists have to be for `top` items to be chosen from them."""
        return top * _DEEPER if self.relevance < 1 or self.chance else top

    def chosen(
        self, lists: pa.Table, categories: Mapping[str, str], weeks: Mapping[str, str], top: int
    ) -> pa.Table:
        """At most `top` items of each list, which is up to `depth(top)` long.

        Args:
            categories: of items that have one.
            weeks: of each entity, the name of its week; needed where chance is above 0.
        """
        if self.chance:
            lists = drawn(lists, weeks, top * _DRAWN, seed=self.seed, chance=self.chance)
        return diversified(lists, categories, top, self.relevance)


AS_SCORED: Final = Variety()


def weeks_of(history: pa.Table) -> dict[str, str]:
    """The week of each entity's latest `as_of`, in UTC and from Monday on: `2017-W40`."""
    latest = history.group_by("entity_id").aggregate([("as_of", "max")])
    named = {at: f"{at:%G-W%V}" for at in pc.unique(latest["as_of_max"]).to_pylist()}
    owners, instants = latest["entity_id"].to_pylist(), latest["as_of_max"].to_pylist()
    return {owner: named[at] for owner, at in zip(owners, instants, strict=True)}


def diversified(
    lists: pa.Table, categories: Mapping[str, str], top: int, relevance: float
) -> pa.Table:
    """The `top` of each list by maximal marginal relevance, in the order of choice.

    Carbonell and Goldstein, SIGIR 1998: next comes the item with the most of `relevance` × its
    score − (1 − `relevance`) × its likeness to what is on the list, which is 1 where an item of its
    category is and 0 elsewhere; items without a category are like none. Scores are brought to 0..1
    per entity. The `score` returned falls by place: the value at its choice where that is lower
    than those before. How high scores are as such says nothing across entities, nor across weeks.

    Args:
        relevance: 1 leaves the order as it is.
    """
    if not 0 <= relevance <= 1 or top < 1:
        raise ConfigError(
            f"relevance is from 0 to 1 and a list has an item, not {relevance}, {top}"
        )
    entities, rows, place = _places(lists)
    shape = (len(entities), int(place.max(initial=-1)) + 1)
    scores, at = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    scores[rows, place], at[rows, place] = lists["score"].to_numpy(), np.arange(len(rows))
    words = pa.array([categories.get(item) or None for item in lists["item_id"].to_pylist()])
    codes = pc.fill_null(words.cast(pa.string()).dictionary_encode().indices, -1)
    category = np.full(shape, -1)
    category[rows, place] = codes.to_numpy(zero_copy_only=False)
    value = np.nan_to_num(relevance * _to_one(scores), nan=-np.inf)
    alike = np.zeros(shape, dtype=bool)
    kept, values = np.full((shape[0], top), -1), np.full((shape[0], top), np.inf)
    everyone = np.arange(shape[0])
    for turn in range(min(top, shape[1])):
        now = value - (1 - relevance) * alike
        pick = np.argmax(now, axis=1)  # the first of equals, which stood higher
        found = now[everyone, pick]
        some = found > -np.inf
        kept[some, turn], values[:, turn] = at[everyone, pick][some], found
        own = category[everyone, pick][:, None]
        alike |= (category == own) & (own >= 0)
        value[everyone, pick] = -np.inf
    falling = np.minimum.accumulate(values, axis=1)[kept >= 0]
    chosen = lists.take(pa.array(kept[kept >= 0]))
    return chosen.set_column(2, LISTS.field("score"), pa.array(falling, pa.float64()))


def drawn(
    lists: pa.Table, weeks: Mapping[str, str], top: int, *, seed: int, chance: float
) -> pa.Table:
    """`top` rows of each list by chance, in their old order; another week brings others.

    Drawn without replacement with weights place^(-1 / `chance`), by the largest of log weight +
    Gumbel noise (Kool, van Hoof and Welling, ICML 2019). The noise of an item comes from (seed,
    entity, week, item) alone, so that the week's list does not change as other items come or go.

    Args:
        weeks: of each entity, any name of its week, such as `2017-W40`.
        chance: 0: the first ones; large: every place alike.
    """
    entities, rows, place = _places(lists)
    whose = _hashes(f"{seed}\x1f{weeks[entity]}\x1f{entity}" for entity in entities)
    items = lists["item_id"].combine_chunks().dictionary_encode()
    what = _hashes(items.dictionary.to_pylist())
    mixed = _mixed(whose[rows] ^ what[items.indices.to_numpy().astype(np.int64)])
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    key = np.log(place + 1.0) + chance * np.log(-np.log(uniform))
    chosen = _first(rows, np.lexsort((place, key, rows)), top)
    return lists.take(pa.array(np.sort(chosen)))


def _places(lists: pa.Table) -> tuple[list[str], Codes, Codes]:
    """Entities in order of appearance, and of each row whose it is and its place, from 0."""
    encoded = lists["entity_id"].combine_chunks().dictionary_encode()
    rows = encoded.indices.to_numpy().astype(np.int64)
    order = np.argsort(rows, kind="stable")
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = _within(rows[order])
    return encoded.dictionary.to_pylist(), rows, place


def _within(ordered: Codes) -> Codes:
    """Place of each within its run of equal codes."""
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)


def _first(rows: Codes, order: Codes, top: int) -> Codes:
    """The first rows of each entity, of rows put in order entity by entity."""
    return order[_within(rows[order]) < top]


def _to_one(scores: Matrix) -> Matrix:
    """Each row from 0 to 1; a row of equals is 1. NaN is no item."""
    if not scores.size:
        return scores
    low = np.nanmin(scores, axis=1, keepdims=True)
    span = np.nanmax(scores, axis=1, keepdims=True) - low
    return np.where(span > 0, (scores - low) / np.where(span > 0, span, 1.0), scores * 0 + 1.0)


def _hashes(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    found = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread over all 64 bits (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
