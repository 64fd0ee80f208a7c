"""Expressions in a tenant's file: what is refused when it is read, and what it says to write."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.ingestion.expression_trees import parsed
from include.tenants.expressions import LONGEST, joining, names_in, quoted
from tests.unit.ingestion.test_expression_attacks import ENDLESS, MANY_ROWS, REACHING, UNSTABLE


def written(good: Any, **source: Any) -> dict[str, Any]:
    """A tenant file whose source has these keys; keys of the mapping in `events`."""
    data: dict[str, Any] = good()
    events = source.pop("events", {})
    data["sources"][0] |= source
    data["sources"][0]["events"] |= events
    return data


def problems(folder: Any, good: Any, **source: Any) -> str:
    """What is said of such a file; a neighbour's is read all the same."""
    folder.write("acme.yaml", **written(good, **source))
    folder.write("other.yaml", **(good() | {"id": "other"}))
    assert "other" in folder.load().tenants
    return str(folder.problems("acme.yaml"))


def test_columns_and_where_are_expressions(folder: Any, good: Any) -> None:
    """They are kept as written; `where` may be either form, and then has no values to compare."""
    told = {"columns": {"qty": "exp(log_units)"}, "where": "qty > 2\n"}
    assert not problems(folder, good, **told, events={"quantity": "qty"})
    source = folder.load()["acme"].sources[0]
    assert source.columns == {"qty": "exp(log_units)"}
    assert (source.where_expression, source.conditions) == ("qty > 2", {})
    assert not problems(folder, good, where={"store": 7})
    source = folder.load()["acme"].sources[0]
    assert (source.where_expression, source.conditions) == (None, {"store": 7})


@pytest.mark.parametrize("text", [*UNSTABLE, *REACHING, *MANY_ROWS, *ENDLESS])
def test_a_bad_expression_costs_its_tenant_only(folder: Any, good: Any, text: str) -> None:
    """What is refused at once names file, key and line; what only DuckDB sees hides nobody."""
    told = problems(folder, good, columns={"new": text})
    assert not told or told.startswith("acme.yaml: sources.0.columns.new: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("now()", "now() is no function that expressions may call"),
        ("lowr(name)", "did you mean lower"),
        ("price; drop table x", "';' has no meaning in an expression"),
        ("price -- note", "an expression has no comments"),
        ("$1", "'$' has no meaning"),
        ("'open", "a quote is not closed"),
        ("(price", "a ( is not closed"),
        ("price]", "a ] closes nothing"),
        ("(select price)", "no query, window or lambda"),
        ("e'x'", "write text in single quotes without e before it"),
        ("current_date", "current_date is another one every day"),
        ("name.upper()", "write upper(…) without anything before the name"),
        ("x" * (LONGEST + 1), "must be at most 2,000 characters long"),
        (" ", "must be an expression"),
        ([1], "valid string"),
    ],
)
def test_an_error_says_what_is_wrong(folder: Any, good: Any, text: Any, why: str) -> None:
    """In the words of the file, with the line."""
    told = problems(folder, good, columns={"new": text})
    assert told.startswith("acme.yaml: sources.0.columns.new: ")
    assert why in told
    assert "(line " in told
    told = problems(folder, good, where=text)
    assert isinstance(text, list) or (
        told.startswith("acme.yaml: sources.0.where: ") and why in told
    )


@pytest.mark.parametrize(
    ("changes", "key", "expression"),
    [
        ({"group_id": ["customer", "day"]}, "group_id", "customer || '|' || day"),
        ({"user_id": ["shop", "first name"]}, "user_id", "shop || '|' || \\\"first name\\\""),
        ({"item_id": ["a", "b", "c"]}, "item_id", "a || '|' || b || '|' || c"),
        ({"account_id": ["a", "b"]}, "account_id", "a || '|' || b"),
        ({"quantity": ["units", "pack"]}, "quantity", "units * pack"),
        ({"amount": ["units", "price"]}, "amount", "units * price"),
        ({"event_timestamp": ["day", "time"]}, "event_timestamp", "day || ' ' || time"),
        ({"arrival": {"column": ["day", "time"]}}, "column", "day || ' ' || time"),
        ({"properties": {"shelf": ["aisle", "row"]}}, "shelf", "aisle || '|' || row"),
        ({"event_column": ["a", "b"], "event": None}, "event_column", "a || '|' || b"),
    ],
)
def test_a_list_where_one_column_is_read_shows_the_expression(
    folder: Any, good: Any, changes: dict[str, Any], key: str, expression: str
) -> None:
    """The message is what to write instead; the ids of an event stay a list."""
    told = problems(folder, good, events=changes)
    assert f'`columns: {{{key}: "{expression}"}}`' in told
    assert f"`{key}: {key}`" in told
    assert not problems(folder, good, events={"event_id": ["customer", "day"]})


@pytest.mark.parametrize("key", ["entity_id", "valid_from", "names"])
def test_a_list_in_a_mapping_of_facts_shows_the_expression(
    folder: Any, good: Any, key: str
) -> None:
    """Every key of one column does."""
    facts: dict[str, Any] = {"entity": "user", "entity_id": "id", "valid_from": "2024-01-01"}
    facts |= {"names": {"colour": "colour"}}
    facts[key] = {"colour": ["a", "b"]} if key == "names" else ["a", "b"]
    data = good()
    source = data["sources"][0]
    data["sources"] = [
        source,
        {"name": "facts", "connector": source["connector"], "attributes": facts},
    ]
    folder.write("acme.yaml", **data)
    name = "colour" if key == "names" else key
    assert f"`columns: {{{name}: " in folder.problems("acme.yaml")


def test_a_new_column_does_not_hide_one_that_is_read(folder: Any, good: Any) -> None:
    """Neither one that an expression reads, nor the connector's cursor."""
    told = problems(folder, good, columns={"qty": "qty * 2"})
    assert "columns.qty: columns.qty reads the source's own column qty" in told
    told = problems(folder, good, columns={"a": "b || 'x'", "b": "c || 'x'"})
    assert "columns.b: columns.a reads the source's own column b" in told
    connector = {"type": "postgres", "connection": "shop", "table": "sales", "cursor": "loaded"}
    told = problems(folder, good, connector=connector, columns={"loaded": "day::timestamp"})
    assert "the connector's cursor reads the source's own column loaded" in told


def test_some_column_has_to_be_read(folder: Any, good: Any) -> None:
    """A source of which every row is the same is a mistake."""
    events = {"event_id": ["k"], "event_timestamp": "k", "user_id": "k"}
    told = problems(folder, good, columns={"k": "'2024-01-01'"}, events=events)
    assert "no column of the source is read" in told


@pytest.mark.parametrize("said", ["refuse", "hash"])
@pytest.mark.parametrize(
    "source",
    [
        {"columns": {"new": "lower(email)"}},
        {"columns": {"new": "\"E-Mail\" || 'x'"}},
        {"columns": {"new": "customer.email"}},
        {"columns": {"new": "case when true then email end"}},
        {"columns": {"email": "name || 'x'"}},
        {"where": "email like '%@shop.example'"},
        {"where": "EMAIL is not null"},
    ],
)
def test_no_expression_reads_a_personal_column(
    folder: Any, good: Any, said: str, source: dict[str, Any]
) -> None:
    """Not even one that is hashed: of a digest, an expression would compute what nobody meant."""
    data = written(good, **source) | {"pii_columns": {"email": said}}
    folder.write("acme.yaml", **data)
    told = folder.problems("acme.yaml")
    assert "maps PII columns to" in told
    assert "nor what an expression reads" in told


NAMES = st.one_of(
    st.sampled_from(
        ["price", "a b", 'quo"te', "über", "select", "at", "order", "x.y", "é.è", "a-b"]
    ),
    st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8),
)


@given(NAMES, NAMES)
def test_every_name_that_duckdb_sees_was_seen_before(one: str, other: str) -> None:
    """A name in quotes stands for itself, to both; so nothing is read that was not looked at."""
    text = f"{quoted(one)} || ({quoted(other)} + 1)"
    assert names_in(text) == {one, other}
    assert set(parsed(text).columns) == {one, other}


@given(st.text(st.sampled_from("abé\"'.,()[]:|+-*/%<>= 1e_xnullinASdate"), max_size=30))
def test_whatever_is_written_is_an_expression_or_an_error_of_ours(text: str) -> None:
    """And of an expression, no column escapes the words."""
    with suppress(ConfigError, ValueError):
        assert set(parsed(text).columns) <= names_in(text)


def test_keywords_are_quoted_in_what_is_suggested() -> None:
    """Exactly the words that DuckDB would not take for a column."""
    with duckdb.connect() as connection:
        words = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
        for (word,) in words:
            row = connection.execute(
                "SELECT json_serialize_sql($1)", [f"SELECT f({quoted(word)}) + {quoted(word)} * 2"]
            ).fetchone()
            assert row is not None
            assert not json.loads(row[0])["error"], word
    assert joining("group_id", ["at", "day"]).count('\\"at\\"') == 1
