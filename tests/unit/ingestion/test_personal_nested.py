"""Personal data inside objects: JSON texts, JSON lines and nested Parquet columns."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from include.ingestion.personal import without_personal
from include.ingestion.plain import plain
from include.tenants.personal import PersonalNames

SECRET = "ann@birch.example"


OBJECTS: list[Any] = [
    {"email": SECRET, "age": 3},
    {"E-Mail": SECRET},
    {"e_mail ": [SECRET]},
    {"email": SECRET, "n": "%s"},
    {"email": SECRET, "deep": "["},
]
BELOW: list[Any] = [
    {"contact": {"email": {"value": SECRET}}, "age": 3},
    [{"contact": [{"EMAIL": SECRET}]}],
    {"payload": json.dumps({"contact": {"email": SECRET}})},
]


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        *((name, one) for name in ("email", "E-Mail") for one in (*OBJECTS, *BELOW)),
        *(("customer.email", one) for one in OBJECTS),
        *((name, one) for name in ("contact", "Contact.email") for one in BELOW),
    ],
)
def test_what_an_object_holds_under_a_personal_name_is_taken_out(declared: str, text: Any) -> None:
    """In any spelling, at any depth, and in JSON within JSON."""
    spelled = json.dumps(text).replace('"%s"', "1" * 5_000).replace('"["', "[" * 900 + "]" * 900)
    other = json.dumps({"e": 1, "age": 3})
    column = pa.array([spelled, other, None, "plain", "[no JSON", spelled])
    left = without_personal(column, "customer", PersonalNames({declared: "refuse"}))
    assert SECRET not in str(left.to_pylist())
    assert left.to_pylist()[1:5] == column.to_pylist()[1:5]
    if isinstance(text, dict) and "age" in text:
        assert json.loads(left[0].as_py())["age"] == 3


def test_json_that_is_too_deep_to_take_apart_is_not_kept() -> None:
    """It could hold anything."""
    column = pa.array(['{"email": "' + SECRET + '", "a": ' + "[" * 100_000 + "]" * 100_000 + "}"])
    left = without_personal(column, "customer", PersonalNames({"email": "refuse"}))
    assert left.to_pylist() == [None]


def test_nested_columns_lose_their_personal_parts() -> None:
    """Structures, lists of them, and maps; what holds nothing personal stays as it was."""
    personal = PersonalNames({"email": "hash"})
    kind = pa.map_(pa.string(), pa.string())
    for column in (
        pa.array([{"E_Mail": SECRET, "age": 3}, None]),
        pa.array([[{"x": {"email": SECRET}, "age": 3}], None]),
        pa.array([[("email", SECRET), ("age", "3")], None], kind),
    ):
        left = without_personal(plain(column), "customer", personal).to_pylist()
        assert SECRET not in str(left)
        assert "3" in left[0]
        assert left[1] is None
    nothing = plain(pa.array([{"age": 3}, None]))
    assert without_personal(nothing, "customer", personal).equals(nothing)
