"""Join keys as small integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.features.time_order import Integers


class KeyCodes:
    """Numbers the distinct keys of one table, so that another's rows can be matched to them."""

    def __init__(self, columns: Sequence[pa.ChunkedArray], rows: int) -> None:
        """`columns` are the parts of the key, each of length `rows`; none is the key of all."""
        #: The number of each row's key, -1 where a part is null.
        self.codes: Integers = np.zeros(rows, dtype=np.int64)
        self.count = 1
        #: Per part: its distinct values, and the distinct (key so far, value), where not that.
        self._parts: list[tuple[pa.Array, pa.Array | None]] = []
        for column in columns:
            values, codes = numbered(column)
            pairs = None
            if self._parts:
                pairs, codes = numbered(_paired(self.codes, codes, len(values)))
            self._parts.append((values, pairs))
            self.codes, self.count = codes, len(values if pairs is None else pairs)

    @property
    def values(self) -> pa.Array:
        """The distinct values, where the key has one part."""
        ((values, _),) = self._parts
        return values

    def of(self, columns: Sequence[pa.ChunkedArray], rows: int) -> Integers:
        """The number of the key of each row of another table, -1 where null or not numbered."""
        codes: Integers = np.zeros(rows, dtype=np.int64)
        for column, (values, pairs) in zip(columns, self._parts, strict=True):
            places = positions(column, values)
            if pairs is not None:
                places = positions(_paired(codes, places, len(values)), pairs)
            codes = places
        return codes


def _paired(left: Integers, right: Integers, width: int) -> pa.ChunkedArray:
    missing = (left < 0) | (right < 0)
    pairs = left.astype(np.int64) * max(width, 1) + right
    return pa.chunked_array([pa.array(pairs, mask=missing if missing.any() else None)])


def numbered(column: pa.ChunkedArray) -> tuple[pa.Array, Integers]:
    """The distinct values of a column, and of each row the number of its own, -1 where null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk
        array = pa.array([], column.type)
    if pa.types.is_dictionary(array.type):  # which may have a word twice, or null for one
        words, code_of_word = numbered(pa.chunked_array([array.dictionary]))
        return words, _coded(code_of_word, array)
    encoded = array.dictionary_encode()
    return encoded.dictionary, _numbers(encoded.indices)


def positions(values: pa.ChunkedArray, among: pa.Array) -> Integers:
    """The number of each row's value among distinct ones, -1 where null or none of them."""
    if not pa.types.is_dictionary(values.type):
        return _numbers(pc.index_in(values.cast(among.type), value_set=among))
    codes = [np.empty(0, dtype=np.int32)]
    for part in values.chunks:
        of_word = _numbers(pc.index_in(part.dictionary.cast(among.type), value_set=among))
        codes.append(_coded(of_word, part))
    return np.concatenate(codes)


def _coded(of_word: Integers, array: pa.DictionaryArray) -> Integers:
    """The number of each row's word, -1 where null."""
    codes: Integers = np.append(of_word, np.int32(-1))[_numbers(array.indices)]
    return codes


def _numbers(codes: pa.Array | pa.ChunkedArray) -> Integers:
    """int32, -1 for null."""
    filled = pc.fill_null(codes, -1) if codes.null_count else codes
    if isinstance(filled, pa.Array):
        filled = pa.chunked_array([filled])
    numbers: Integers = filled.to_numpy()
    return numbers
