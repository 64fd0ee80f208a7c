"""Join keys as numbers: equal keys get equal numbers, and null is nobody."""

from __future__ import annotations

import pyarrow as pa

from include.features.key_codes import KeyCodes


def column(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([[v] for v in values], pa.string())


def test_rows_of_another_table_are_matched() -> None:
    """A key the first table does not have, and a null, get -1."""
    keys = KeyCodes([column("a", None, "b", "a")], 4)
    assert keys.codes.tolist() == [0, -1, 1, 0]
    assert keys.count == 2
    assert keys.of([column("b", "c", None, "a")], 4).tolist() == [1, -1, -1, 0]


def test_dictionary_encoded_rows_are_matched_by_their_values() -> None:
    """Whatever the dictionaries of their chunks say, in them or beside them."""
    keys = KeyCodes([column("a", None, "b", "a")], 4)
    first = pa.DictionaryArray.from_arrays([1, 0, None, 2], ["b", "c", None])
    second = pa.DictionaryArray.from_arrays([0, 1, 0], ["a", "b"])
    assert keys.of([pa.chunked_array([first, second])], 7).tolist() == [-1, 1, -1, -1, 0, 1, 0]
    assert keys.of([pa.chunked_array([], first.type)], 0).tolist() == []


def test_dictionary_encoded_keys_are_numbered_by_their_values() -> None:
    """A word that stands twice in the dictionary is one key, and null in it is nobody."""
    twice = pa.DictionaryArray.from_arrays([0, 1, 2, None], ["a", "a", "b"])
    keys = KeyCodes([pa.chunked_array([twice])], 4)
    assert keys.codes.tolist() == [0, 0, 1, -1]
    assert keys.count == 2
    assert keys.of([column("b", "a")], 2).tolist() == [1, 0]
    null = pa.DictionaryArray.from_arrays([0, 1, 2], ["a", None, "b"])
    keys = KeyCodes([pa.chunked_array([null])], 3)
    assert keys.codes.tolist() == [0, -1, 1]
    assert keys.of([column("b", None, "a")], 3).tolist() == [1, -1, 0]


def test_all_parts_of_a_key_must_match() -> None:
    """Of several parts each must be equal, and none null; only pairs that occur are numbered."""
    keys = KeyCodes([column("a", "a", "b", None), column("x", "y", "y", "x")], 4)
    assert keys.codes.tolist() == [0, 1, 2, -1]
    assert keys.count == 3
    found = keys.of([column("b", "b", "a", "a"), column("y", "x", None, "y")], 4)
    assert found.tolist() == [2, -1, -1, 1]


def test_the_empty_key_is_the_key_of_all() -> None:
    """Without parts, every row has the one key."""
    keys = KeyCodes([], 3)
    assert keys.codes.tolist() == [0, 0, 0]
    assert keys.of([], 2).tolist() == [0, 0]


def test_a_table_without_rows_has_no_keys() -> None:
    """Nothing matches the keys of an empty table."""
    keys = KeyCodes([column(), column()], 0)
    assert keys.count == 0
    assert keys.of([column("a"), column("b")], 1).tolist() == [-1]
