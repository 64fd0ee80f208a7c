"""Lists made more varied: by category, less by fame, and other ones every week.

Each takes lists that are longer than wanted and returns some of their rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.models.interactions import Codes, Matrix
from include.models.item_lists import LISTS


def diversified(
    lists: pa.Table, categories: Mapping[str, str], top: int, relevance: float
) -> pa.Table:
    """The `top` of each list by maximal marginal relevance, in the order of choice.

    Carbonell and Goldstein, SIGIR 1998: next comes the item with the most of `relevance` × its
    score − (1 − `relevance`) × its likeness to what is on the list, which is 1 where an item of its
    category is and 0 elsewhere; items without a category are like none. Scores are brought to 0..1
    per entity. The `score` returned falls by place: the value at its choice where that is lower
    than those before.

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


def discounted(lists: pa.Table, support: Mapping[str, int], novelty: float, top: int) -> pa.Table:
    """The `top` of each list after its scores are multiplied by support^-novelty.

    Args:
        support: entities that had each item; 1 where an item is missing.
        novelty: 0 leaves the order as it is; negative scores stay what they are.
    """
    if novelty < 0:
        raise ConfigError(f"novelty is at least 0, not {novelty}")
    had = np.array([max(support.get(item, 1), 1) for item in lists["item_id"].to_pylist()])
    scores = lists["score"].to_numpy()
    return reordered(lists, np.where(scores > 0, scores * had**-novelty, scores), top)


def sampled(lists: pa.Table, top: int, *, seed: int, week: str, steepness: float = 1.0) -> pa.Table:
    """`top` rows of each list by chance, in their old order; another week brings others.

    Drawn without replacement with weights place^-steepness, by the largest of log weight + Gumbel
    noise (Kool, van Hoof and Welling, ICML 2019). The noise of an item comes from (seed, entity,
    week, item) alone, so that the week's list does not change as other items come or go.

    Args:
        week: any name of the week, such as `2017-W40`.
        steepness: 0: every place alike; large: hardly any chance.
    """
    entities, rows, place = _places(lists)
    whose = _hashes(f"{seed}\x1f{week}\x1f{entity}" for entity in entities)
    items = lists["item_id"].combine_chunks().dictionary_encode()
    what = _hashes(items.dictionary.to_pylist())
    mixed = _mixed(whose[rows] ^ what[items.indices.to_numpy().astype(np.int64)])
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    key = -steepness * np.log(place + 1.0) - np.log(-np.log(uniform))
    drawn = _first(rows, np.lexsort((place, -key, rows)), top)
    return lists.take(pa.array(np.sort(drawn)))


def reordered(lists: pa.Table, scores: Matrix, top: int) -> pa.Table:
    """The `top` of each list by other scores; equal ones by item id."""
    _, rows, _ = _places(lists)
    items = pc.rank(lists["item_id"].combine_chunks(), tiebreaker="dense").to_numpy()
    order = np.lexsort((items, -(scores + 0.0), rows))
    changed = lists.set_column(2, LISTS.field("score"), pa.array(scores + 0.0, pa.float64()))
    return changed.take(pa.array(_first(rows, order, top)))


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
    """Of rows put in order, entity by entity, the first of each."""
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
