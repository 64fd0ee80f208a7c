"""Plain types: a value is the same whatever format and type it came in."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.columns import texts
from include.ingestion.plain import as_text, at_path, plain, split_path

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
TEN = datetime(2024, 1, 9, 10)  # noqa: DTZ001  (a local time)
NESTED = st.dictionaries(
    st.sampled_from("abc"), st.one_of(LEAVES, st.lists(LEAVES, max_size=3)), max_size=3
)


def spelled(column: pa.Array) -> list[str | None]:
    """The column as text, as an id of it would be."""
    return list(texts(plain(column)).to_pylist())


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1001], pa.int16()),
        pa.array([1001], pa.uint64()),
        pa.array([1001.0], pa.float32()),
        pa.array([1001.0], pa.float64()),
        pa.array([Decimal("1001.00")], pa.decimal128(10, 2)),
        pa.array([Decimal("1001")], pa.decimal256(50, 0)),
        pa.array(["1001"], pa.string_view()),
        pa.array(["1001"], pa.large_string()),
        pa.array([b"1001"], pa.binary()),
        pa.array([b"1001"], pa.binary_view()),
        pa.array([b"1001"], pa.binary(4)),
        pa.array(["1001"]).dictionary_encode(),
        pa.array([1001]).dictionary_encode(),
        pa.RunEndEncodedArray.from_arrays([1], pa.array([1001])),
    ],
    ids=lambda column: str(column.type),
)
def test_an_id_has_one_spelling_whatever_its_type(column: pa.Array) -> None:
    """1001, 1001.0 and 1001.00 are one customer."""
    assert spelled(column) == ["1001"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([2.0**60]), str(2**60)),
        (pa.array([Decimal("0.50")], pa.decimal128(4, 2)), "0.5"),
        (pa.array([Decimal("100")], pa.decimal128(4, 0)), "100"),
        (pa.array([1.5], pa.float16()), "1.5"),
        (pa.array([True]), "true"),
        (pa.array([date(2024, 1, 9)]), "2024-01-09"),
        (pa.array([TEN], pa.timestamp("us")), "2024-01-09T10:00:00"),
        (pa.array([TEN], pa.timestamp("ns", "UTC")), "2024-01-09T10:00:00Z"),
        (pa.array([timedelta(seconds=90)], pa.duration("s")), "90"),
        (pa.array([None], pa.null()), None),
        (pa.array([b"\xff"]), None),
    ],
    ids=str,
)
def test_what_has_a_meaning_is_read(column: pa.Array, text: str | None) -> None:
    """Numbers by their value, instants as ISO 8601, and what is no text as no value."""
    assert spelled(column) == [text]


def test_a_uuid_is_spelled_as_people_do() -> None:
    """Whatever stands beside it, and however many of its bytes look like text."""
    ids = [UUID(int=1), UUID("41414141-4141-4141-4141-414141414141"), None]
    storage = pa.array([None if one is None else one.bytes for one in ids], pa.binary(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    assert spelled(column) == [str(ids[0]), str(ids[1]), None]


@given(st.lists(NESTED, min_size=1, max_size=4))
def test_nested_values_are_json_whatever_holds_them(rows: list[dict[str, Any]]) -> None:
    """A column of structures, and objects of JSON lines, give the same text, value by value."""
    from_lines = [as_text(json.loads(json.dumps(row))) for row in rows]
    try:
        column = pa.array(rows)
    except (pa.ArrowException, OverflowError):  # Arrow has no type for members of several kinds
        return
    expected = [json.loads(text or "null") for text in from_lines]
    assert [json.loads(text) for text in plain(column).to_pylist()] == expected


def test_a_map_is_an_object() -> None:
    """And neither a list of pairs nor Python's own spelling of them."""
    column = pa.array([[("b", 1.0), ("a", None)], None], pa.map_(pa.string(), pa.float64()))
    assert plain(column).to_pylist() == ['{"b": 1}', None]


@pytest.mark.parametrize(
    ("name", "columns", "where"),
    [
        ("a.b", ["a.b", "a"], ("a.b", ())),
        ("a.b", ["a"], ("a", ("b",))),
        ("a.b.c", ["a", "a.b"], ("a.b", ("c",))),
        ("a.b", ["b"], None),
        ("a", ["b"], None),
    ],
)
def test_a_dotted_name_is_a_column_first_and_then_a_path(
    name: str, columns: list[str], where: tuple[str, tuple[str, ...]] | None
) -> None:
    """The longest name of a column wins; the rest leads into its values."""
    assert split_path(name, columns) == where


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", [1, {"b": 2}]), ("a.1.b", 2), ("a.0", 1), ("a.7", None), ("a.b", None), ("x.y", None)],
)
def test_a_path_leads_through_objects_and_lists(path: str, value: Any) -> None:
    """What is not there is no value."""
    assert at_path({"a": [1, {"b": 2}]}, path.split(".")) == value
