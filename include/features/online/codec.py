"""Records as bytes, one entity's at a time, and back.

`fields` are the records as they lie in memory, `words` the UTF-8 texts that their codes count
through, `ends` the position at which each of these ends. Codes count from 0 in every state, so that
states are written and read without each other, and `decode` numbers the texts of many anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from include.features.online.layout import NO_TEXT, Layout
from include.features.online.records import Fields, Records, with_words
from include.features.outputs import Integers


class EntityState(NamedTuple):
    """Records of one entity, as they are kept."""

    entity: int
    fields: bytes
    words: bytes
    ends: bytes


def encode(records: Records) -> Iterator[EntityState]:
    """The states of all entities, in the order of `entity`, by which the records are sorted."""
    if not len(records):
        return
    first = np.flatnonzero(np.diff(records.entity, prepend=-1))
    owners = records.entity[first]
    fields, word, owner_of_word = _local_codes(records)
    words = records.words.take(pa.array(word)) if len(word) else pa.array([], pa.string())
    offsets = np.frombuffer(words.buffers()[1] or bytes(4), np.int32)[: len(word) + 1]
    text = words.buffers()[2]
    word_from = np.searchsorted(owner_of_word, owners)
    word_to = np.append(word_from[1:], len(word))
    ends = (offsets[1:] - np.repeat(offsets[word_from], word_to - word_from)).astype("<i4")
    raw, ends_raw, text_raw = fields.tobytes(), ends.tobytes(), bytes(text or b"")
    size = fields.dtype.itemsize
    bounds = zip(
        owners.tolist(),
        (first * size).tolist(),
        (np.append(first[1:], len(fields)) * size).tolist(),
        word_from.tolist(),
        word_to.tolist(),
        offsets[word_from].tolist(),
        offsets[word_to].tolist(),
        strict=True,
    )
    for owner, start, stop, a, b, text_start, text_stop in bounds:
        yield EntityState(
            owner, raw[start:stop], text_raw[text_start:text_stop], ends_raw[4 * a : 4 * b]
        )


def decode(layout: Layout, states: Sequence[tuple[int, bytes, bytes, bytes]]) -> Records:
    """The records of the states, in their order; each as in `State`."""
    whose, parts, texts, parts_of_ends = list(zip(*states, strict=True)) or ((), (), (), ())
    fields = np.frombuffer(b"".join(parts), layout.dtype)
    if len(states) == 1:
        return _decoded(layout, *states[0])
    counts = _lengths(parts) // layout.dtype.itemsize
    entity = np.repeat(np.array(whose, dtype=np.int64), counts)
    if not layout.texts:
        return Records(layout, entity, fields, _NO_WORDS)
    ends, text = np.frombuffer(b"".join(parts_of_ends), "<i4"), b"".join(texts)
    words_of, text_of = _lengths(parts_of_ends) // 4, _lengths(texts)
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends + np.repeat(np.cumsum(text_of) - text_of, words_of)
    words = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    first_word = np.repeat(np.cumsum(words_of) - words_of, counts)
    return with_words(layout, entity, fields.copy(), words, first_word)


def _decoded(layout: Layout, whose: int, fields: bytes, texts: bytes, ends: bytes) -> Records:
    """`decode` of one state, whose codes count through its own words already."""
    records = np.frombuffer(fields, layout.dtype)
    entity = np.full(len(records), whose, dtype=np.int64)
    if not layout.texts:
        return Records(layout, entity, records, _NO_WORDS)
    offsets = pa.py_buffer(bytes(4) + ends)
    words = pa.StringArray.from_buffers(len(ends) // 4, offsets, pa.py_buffer(texts))
    return Records(layout, entity, records, words)


def _lengths(parts: Sequence[bytes]) -> Integers:
    return np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))


def _local_codes(records: Records) -> tuple[Fields, Integers, Integers]:
    """The fields with codes that count from 0 in each entity, its words, and whose they are."""
    names, entity = records.layout.texts, records.entity
    if not names:
        return records.fields, entity[:0], entity[:0]
    fields, width = records.fields.copy(), max(len(records.words), 1)
    codes = np.stack([fields[name] for name in names])
    known = codes != NO_TEXT
    pairs = (entity * width + codes)[known]
    distinct, place = np.unique(pairs, return_inverse=True)
    entity_of = distinct // width
    codes[known] = place - np.searchsorted(entity_of, entity_of)[place]
    for row, name in enumerate(names):
        fields[name] = codes[row]
    return fields, distinct % width, entity_of


_NO_WORDS = pa.array([], pa.string())
