"""The mapping: each row in canonical columns, or set aside with one reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.columns import json_objects
from include.ingestion.mapping import Mapped, columns_read, map_rows
from include.ingestion.rows import Rows
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.tenants.config import TenantConfig

EVENT = {
    "event_column": "what",
    "event_id": ["id", "line"],
    "event_timestamp": "at",
    "arrival": {"column": "known"},
    "user_id": "user",
    "quantity": "quantity",
    "properties": {"note": "note"},
}
FACT = {
    "entity": "user",
    "entity_id": "user",
    "names": {"city": "city", "plan": "plan"},
    "valid_from": "since",
}
GOOD_EVENT = {
    "what": "Order Completed",
    "id": "1",
    "line": "2",
    "at": "2024-01-01T10:00:00",
    "known": "2024-01-01T11:00:00",
    "user": "ann",
    "quantity": "3",
    "note": "hello",
}
GOOD_FACT = {"user": "ann", "city": "Graz", "plan": "free", "since": "2024-01-01"}


def tenant(**mapping: Any) -> TenantConfig:
    """A tenant whose first source maps events, and whose second maps facts."""
    connector = {"type": "file", "path": "a.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": "shop",
            "name": "Shop",
            "region": "eu",
            "schedule": "0 0 * * 1",
            "history_from": "2024-01-01",
            "sources": [
                {"name": "pos", "connector": connector, "events": EVENT},
                {"name": "facts", "connector": connector, "attributes": {**FACT, **mapping}},
            ],
            "use_cases": {"churn": {}},
        }
    )


def mapped(kind: int, rows: list[dict[str, Any]], **mapping: Any) -> Mapped:
    """The rows, mapped by the tenant's first or second source."""
    config = tenant(**mapping)
    names = columns_read(config.sources[kind]).names
    table = pa.table({name: pa.array([r.get(name) for r in rows], pa.string()) for name in names})
    numbers = pa.array(range(len(rows)), pa.int64())
    return map_rows(Rows(table, numbers), config, config.sources[kind])


def test_a_good_event_has_the_canonical_columns() -> None:
    """Everything is where the mapping says, in the lake's own types."""
    found = mapped(0, [GOOD_EVENT])
    assert found.accepted.schema.equals(EVENTS)
    (row,) = found.accepted.to_pylist()
    assert row["event_id"] == "1|2"
    assert (row["quantity"], row["amount"]) == (3.0, None)
    assert json.loads(row["properties"]) == {"note": "hello"}
    assert row["created_timestamp"] == datetime(2024, 1, 1, 11, tzinfo=UTC)
    assert row["month"] == "2024-01"
    assert len(found.refused) == 0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("at", "soon", "at: no instant"),
        ("at", None, "at: no instant"),
        ("at", "2300-01-01", "at: no instant"),
        ("at", "2024-01-01T12:00:00", "more than 5 minutes before it happened"),
        ("known", None, "arrival: no instant"),
        ("line", None, "part of the event id is missing"),
        ("what", None, "the event's name is missing"),
        ("what", "a\u202eb", "the event's name is over 200 characters or unprintable"),
        ("what", "x" * 201, "the event's name is over 200 characters or unprintable"),
        ("user", None, "no user, account or item id"),
        ("user", "a\nb", "user_id: over 256 characters or unprintable"),
        ("user", "x" * 257, "user_id: over 256 characters or unprintable"),
        ("quantity", "three", "quantity: no finite number"),
        ("quantity", "NaN", "list what stands for none in the connector's `null_values`"),
        ("quantity", "1,000", "say how numbers are written with the connector's `decimal`"),
        ("quantity", "-inf", "quantity: no finite number"),
        ("note", "x" * 10_000, "properties are over 8192 characters"),
    ],
)
def test_a_bad_event_is_set_aside_and_its_siblings_go_on(
    column: str, value: str | None, reason: str
) -> None:
    """The row comes back as it was, with the first reason found."""
    bad = {**GOOD_EVENT, column: value}
    found = mapped(0, [GOOD_EVENT, bad, GOOD_EVENT])
    assert found.accepted.num_rows == 2
    (row,) = found.refused.rows.table.to_pylist()
    assert reason in found.refused.reasons[0].as_py()
    assert found.refused.rows.numbers.to_pylist() == [1]
    assert {name: row[name] for name in bad} == bad


def test_an_empty_measure_is_no_error() -> None:
    """A quantity that nobody wrote down is unknown, not wrong."""
    assert mapped(0, [{**GOOD_EVENT, "quantity": None}]).accepted["quantity"].to_pylist() == [None]


def test_each_name_of_a_row_is_a_fact() -> None:
    """One row gives one fact for each name, with identities that differ."""
    found = mapped(1, [GOOD_FACT]).accepted
    assert found.schema.equals(ATTRIBUTES)
    facts = [(row["name"], row["value"]) for row in found.to_pylist()]
    assert facts == [("city", "Graz"), ("plan", "free")]
    assert len(set(found["event_id"].to_pylist())) == 2


def test_a_corrected_fact_is_not_a_repeat() -> None:
    """The same fact again has the same identity; another value, or none, has another."""
    rows = [GOOD_FACT, GOOD_FACT, {**GOOD_FACT, "city": "Linz"}, {**GOOD_FACT, "city": None}]
    ids = mapped(1, rows, names={"city": "city"}).accepted["event_id"].to_pylist()
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("user", None, "user: the entity's id is missing"),
        ("user", "a\x00b", "user: over 256 characters or unprintable"),
        ("since", "once", "valid_from: no instant"),
        ("city", "x" * 8_193, "city: over 8192 characters"),
        ("plan", "x" * 8_193, "plan: over 8192 characters"),
    ],
)
def test_all_facts_of_a_bad_row_are_set_aside_once(
    column: str, value: str | None, reason: str
) -> None:
    """However many facts the row would have given, it is one bad row."""
    found = mapped(1, [GOOD_FACT, {**GOOD_FACT, column: value}])
    assert found.accepted.num_rows == 2
    (told,) = found.refused.reasons.to_pylist()
    assert told.startswith(reason)


@given(
    st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))), min_size=1)
)
def test_properties_are_json_whatever_the_text(values: list[str | None]) -> None:
    """Every object parses, and text comes back as it was or as the number that it spells."""
    found = json_objects({'na"me': pa.array(values, pa.string())}).to_pylist()
    for value, text in zip(values, found, strict=True):
        if not value:
            assert text is None
            continue
        back = json.loads(text)['na"me']
        assert back == value or str(back).lower() == value or float(back) == float(value)


@given(st.lists(st.floats(), min_size=1))
def test_a_number_has_the_same_json_typed_and_spelled(values: list[float]) -> None:
    """A property is the same from CSV and from Parquet; what is not finite is left out."""
    typed = json_objects({"n": pa.array(values)}).to_pylist()
    for value, text in zip(values, typed, strict=True):
        if value - value != 0:  # neither NaN nor infinite
            assert text is None
        else:
            assert json.loads(text)["n"] == value
            (spelled,) = json_objects({"n": pa.array([repr(value)])}).to_pylist()
            assert abs(value) > 1e16 or abs(value) < 1e-4 or spelled == text


def test_long_integers_keep_every_digit() -> None:
    """A float would round them."""
    (text,) = json_objects({"n": pa.array([2**53 + 1])}).to_pylist()
    assert json.loads(text) == {"n": 2**53 + 1}
