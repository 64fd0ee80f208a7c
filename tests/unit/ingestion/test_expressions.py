"""Expressions of a source: what a column means in one, what a row comes to, and which rows fail."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.ingestion.expressions import LONGEST_READ, LONGEST_RESULT, columns_of, computing
from include.ingestion.mapping import columns_read
from include.ingestion.rows import Rows
from include.tenants.config import Source
from include.tenants.functions import FUNCTIONS, SIGNATURES

#: The same four rows, as a CSV has them and as typed columns.
TEXTS: dict[str, list[Any]] = {
    "id": ["1", "2", "3", "4"],
    "log_units": ["0", "1.0", "2", None],
    "customer": ["ann", "bob", "cem", "dan"],
    "day": ["2024-01-08", "2024-01-09", "2024-02-29", None],
    "price": ["99.50", "100.5", "7", "1000"],
    "cost": ["9", "10", "0", "2"],
    "sold": ["2024-01-08 23:30:00", "2024-01-09 00:10:00", "2024-03-31 01:00:00", None],
    "paid": ["true", "false", None, "true"],
}
TYPED: dict[str, Any] = {
    "id": pa.array([1, 2, 3, 4], pa.int32()),
    "log_units": pa.array([0.0, 1.0, 2.0, None], pa.float32()),
    "customer": pa.array(TEXTS["customer"]).dictionary_encode(),
    "day": pa.array([date(2024, 1, 8), date(2024, 1, 9), date(2024, 2, 29), None]),
    "price": pa.array([Decimal("99.50"), Decimal("100.5"), Decimal(7), Decimal(1000)]),
    "cost": pa.array([9, 10, 0, 2], pa.int64()),
    "sold": pa.array([t and datetime.fromisoformat(t) for t in TEXTS["sold"]], pa.timestamp("us")),
    "paid": pa.array([True, False, None, True]),
}


def source(
    columns: dict[str, str] | None = None,
    where: Any = None,
    timezone: str = "UTC",
    **connector: Any,
) -> Source:
    """A source with these expressions."""
    return Source.model_validate(
        {
            "name": "pos",
            "connector": {"type": "file", "path": "x.csv", "format": "csv"} | connector,
            "columns": columns or {},
            "where": where or {},
            "events": {
                "event": "Order Completed",
                "event_id": ["id"],
                "event_timestamp": "sold",
                "user_id": "customer",
                "timezone": timezone,
            },
        }
    )


def computed(of: Source, table: dict[str, Any], conditions: Any = None) -> Rows:
    """What becomes of the rows of a table."""
    read = {"id", *columns_of(of)}
    from include.ingestion.plain import plain

    plain_columns = {name: plain(pa.array(table[name])) for name in sorted(read)}
    rows = Rows(pa.table(plain_columns), pa.array(range(len(table["id"])), pa.int64()))
    with computing(of) as expressions:
        assert expressions is not None
        return expressions.computed(rows, conditions or {})


def one(text: str, table: dict[str, Any] | None = None, **changes: Any) -> list[Any]:
    """What an expression gives for every row."""
    of = source({"new": text}, **changes)
    return list(computed(of, table or TEXTS).table["new"].to_pylist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exp(log_units)", [1.0, pytest.approx(2.718281828), pytest.approx(7.389056099), None]),
        (
            "customer || '|' || day",
            ["ann|2024-01-08", "bob|2024-01-09", "cem|2024-02-29", None],
        ),
        ("price > 100", [False, True, False, True]),
        ("price * cost", [895.5, 1005.0, 0.0, 2000.0]),
        ("price = 7", [False, False, True, False]),
        ("cost in (9, 10)", [True, True, False, False]),
        ("price between 10 and 100", [True, False, False, False]),
        ("-price", [-99.5, -100.5, -7.0, -1000.0]),
        ("coalesce(log_units, 5) + 1", [1.0, 2.0, 3.0, 6.0]),
        ("case when paid then price else -price end", [99.5, -100.5, -7.0, 1000.0]),
        ("case when customer = 'ann' then 'A' else customer end", ["A", "bob", "cem", "dan"]),
        ("nullif(cost, 0)", [9.0, 10.0, None, 2.0]),
        ("greatest(price, 100)", [100.0, 100.5, 100.0, 1000.0]),
        ("customer || cost * 2", ["ann18", "bob20", "cem0", "dan4"]),
        ("upper(left(customer, 2))", ["AN", "BO", "CE", "DA"]),
        ("left(customer, cost)", ["ann", "bob", "", "da"]),
        ("hour(sold)", [23, 0, 1, None]),
        ("sold::date", [date(2024, 1, 8), date(2024, 1, 9), date(2024, 3, 31), None]),
        ("day::date + 1", [date(2024, 1, 9), date(2024, 1, 10), date(2024, 3, 1), None]),
        ("date_diff('day', day, sold)", [0, 0, 31, None]),
        ("strftime(day, '%Y-%m')", ["2024-01", "2024-01", "2024-02", None]),
        ("extract(month from day)", [1, 1, 2, None]),
        ("sold < timestamp '2024-01-09'", [True, False, False, None]),
        ("day >= '2024-01-09'", [False, True, True, None]),
        ("not paid", [False, True, None, False]),
        ("paid is true", [True, False, False, True]),
        ("paid = true", [True, False, None, True]),
        ("price::integer", [100, 101, 7, 1000]),
        ("price::decimal(10, 1)::varchar", ["99.5", "100.5", "7.0", "1000.0"]),
        ("cost::varchar || '!'", ["9!", "10!", "0!", "2!"]),
        ("id = '3'", [False, False, True, False]),
        ("split_part(day, '-', 1)", ["2024", "2024", "2024", None]),
        ("string_split(day, '-')[2]", ["01", "01", "02", None]),
        ("string_split(customer, 'n')", ['["a", "", ""]', '["bob"]', '["cem"]', '["da", ""]']),
        ("interval 1 day", ["1 day"] * 4),
        ("regexp_replace(customer, '[aeo]', '_', 'g')", ["_nn", "b_b", "c_m", "d_n"]),
        ("customer similar to '[a-b].*'", [True, True, False, False]),
        ("try_cast(customer as double)", [None] * 4),
        ("1", [1, 1, 1, 1]),
    ],
)
def test_an_expression_gives_the_same_for_text_and_for_types(
    text: str, expected: list[Any]
) -> None:
    """A column is what its use makes of it, whether a file has text or types."""
    assert one(text) == expected
    assert one(text, TYPED) == expected


def test_numbers_and_instants_are_read_as_the_mapping_reads_them() -> None:
    """Decimal commas, thousands, formats of instants and time zones hold in expressions, too."""
    table = {"id": ["1"], "price": ["1.234,50"], "sold": ["08.01.2024 23:30"]}
    told = {"decimal": ",", "thousands": ".", "timestamp_format": "%d.%m.%Y %H:%M"}
    assert one("price * 2", table, **told) == [2469.0]
    assert one("price::decimal(10, 2)::varchar", table, **told) == ["1234.50"]
    assert one("hour(sold)", table, **told) == [23]
    zoned = {"id": ["1"], "sold": ["2024-01-08T23:30:00Z"]}
    assert one("sold::date", zoned, timezone="Europe/Vienna") == [date(2024, 1, 9)]
    assert one("hour(sold)", zoned, timezone="Europe/Vienna") == [0]


def test_days_beyond_what_events_have_are_days() -> None:
    """A day of birth and a sentinel of the far future can be compared."""
    table = {"id": ["1", "2"], "born": ["1951-05-06", "9999-12-31"]}
    assert one("year(born)", table) == [1951, 9999]
    typed = {"id": ["1", "2"], "born": pa.array([date(1951, 5, 6), date(9999, 12, 31)])}
    assert one("year(born)", typed) == [1951, 9999]
    assert one("born::date", table, timezone="America/New_York")[1] == date(9999, 12, 31)


def test_a_path_is_a_column_with_and_without_quotes() -> None:
    """What stands within a nested column is named as the mapping names it."""
    table = {"id": ["1"], "properties.revenue": ["7"], "first name": ["ann"], 'a "b"': ["x"]}
    assert one("properties.revenue + 1", table) == [8.0]
    assert one('"properties.revenue" + 1', table) == [8.0]
    assert one('upper("first name")', table) == ["ANN"]
    assert one('"a ""b""" || 1', table) == ["x1"]


def test_names_are_told_apart_by_case() -> None:
    """`Price` and `price` are two columns, as they are to a mapping."""
    table = {"id": ["1"], "Price": ["1"], "price": ["2"]}
    assert one("Price + price * 10", table) == [21.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exp(value)", "columns.new: value is no number"),
        ("value + 1 > 2", "columns.new: value is no number"),
        ("hour(value)", "columns.new: value is no instant"),
        ("value::integer", "columns.new: cannot be computed of this row"),
        ("value::decimal(3, 2)", "columns.new: cannot be computed of this row"),
        ("strptime(value, '%Y')", "columns.new: cannot be computed of this row"),
        ("(value = 'x') and value::boolean", "columns.new: cannot be computed of this row"),
        ("1 / (length(value) - 1)", "columns.new: cannot be computed of this row"),
        ("1 // (length(value) - 1)", "columns.new: cannot be computed of this row"),
        ("ln(length(value) - 1)", "columns.new: cannot be computed of this row"),
        ("9223372036854775807 + length(value)", "columns.new: cannot be computed of this row"),
        ("exp(709 + length(value))", "columns.new: no finite number"),
        ("value ->> '$.a'", "columns.new: cannot be computed of this row"),
        ("make_date(2024, 12 + length(value), 1)", "columns.new: cannot be computed of this row"),
        ("value || repeat_me", f"columns.new: over {LONGEST_RESULT:,} characters"),
        ("upper(long)", f"columns.new: long is over {LONGEST_READ:,} characters"),
    ],
)
def test_a_row_that_fails_is_set_aside_and_its_siblings_go_on(text: str, reason: str) -> None:
    """The reason names the expression and no value; rows before and after have their result."""
    fails = {"9223372036854775807 + length(value)": [None, "x", None]}
    values = fails.get(text, [None, "x", None])
    table = {
        "id": ["1", "2", "3"],
        "value": values,
        "repeat_me": ["", "y" * LONGEST_RESULT, ""],
        "long": ["a", "b" * (LONGEST_READ + 1), None],
    }
    found = computed(source({"new": text, "other": "id || '!'"}), table)
    first, second, third = found.faults.to_pylist() if found.faults is not None else ()
    assert first is None
    assert third is None
    assert second is not None
    assert second.startswith(reason)
    assert "'x'" not in second
    assert found.table["new"].to_pylist()[1] is None
    assert found.table["other"].to_pylist() == ["1!", "2!", "3!"]


def test_only_what_is_evaluated_can_fail() -> None:
    """A branch that is not taken, and a try, let a row pass whose column is no number."""
    table = {"id": ["1", "2"], "kind": ["a", "b"], "value": ["x", "2"]}
    found = computed(source({"new": "case when kind = 'b' then value * 2 end"}), table)
    assert found.faults is not None
    assert found.faults.to_pylist() == [None, None]
    assert found.table["new"].to_pylist() == [None, 4.0]
    assert one("try(value * 2)", table) == [None, 4.0]
    assert one("try_cast(value as date)", table) == [None, None]


def test_where_sees_the_source_and_what_expressions_give() -> None:
    """What is not true is not meant; a row of which nobody can tell is set aside."""
    of = source({"units": "exp(log_units)"}, where="units > 2 and price < 1000")
    found = computed(of, TEXTS)
    assert found.numbers.to_pylist() == [1, 2]
    broken = TEXTS | {"log_units": ["x", "1", "2", "y"], "price": ["1", "1", "5000", "1"]}
    found = computed(of, broken)
    assert found.numbers.to_pylist() == [0, 1, 3]
    assert found.faults is not None
    assert [bool(reason) for reason in found.faults.to_pylist()] == [True, False, True]


def test_rows_that_are_not_meant_may_fail() -> None:
    """Where `where` tells without the column that fails, the row is none of the source's."""
    table = TEXTS | {"log_units": ["x", "1", "y", "0"]}
    found = computed(source({"units": "exp(log_units)"}, where="cost > 8"), table)
    assert found.numbers.to_pylist() == [0, 1]
    found = computed(source({"units": "exp(log_units)"}), table, {"units": 1})
    assert found.numbers.to_pylist() == [0, 2, 3]


def test_conditions_hold_for_what_expressions_give() -> None:
    """The mapping of equal values selects by a new column as by any other."""
    of = source({"dear": "price > 100"}, where={"dear": True})
    assert computed(of, TEXTS, of.conditions).numbers.to_pylist() == [1, 3]


def test_the_source_is_asked_for_what_expressions_read() -> None:
    """Columns that only an expression reads are required; the new ones are nobody's."""
    of = source({"units": "exp(log_units)", "basket": "customer || day"}, where="units > price")
    wanted = columns_read(of)
    assert set(wanted.required) == {"id", "sold", "customer", "log_units", "day", "price"}
    assert wanted.readers["log_units"] == "columns.units"
    assert wanted.readers["price"] == "where"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("price > cost", "cast one"),
        ("greatest(price, cost)", "cast one"),
        ("price between cost and id", "cast one"),
        ("upper(price, cost)", "upper does not take 2 arguments"),
        ("upper(price::date - 1)", "No function matches"),
        ("price + day::date", "No function matches"),
        ("hour(at)", "at is a keyword: a column of that name is written in double quotes"),
        ("price +", "syntax error"),
        ("regexp_matches(day, customer)", "takes a constant there"),
        ("price::blob", "casts to blob; known:"),
        ("price::int[]", "casts to list; known:"),
    ],
)
def test_what_does_not_fit_is_told_without_a_row(text: str, why: str) -> None:
    """The check of a tenant's file needs no source to see that operands do not fit."""
    with (
        pytest.raises(ConfigError, match=r"columns\.new: .*") as caught,
        computing(source({"new": text})),
    ):
        pass
    assert why in str(caught.value)


def test_where_has_to_be_true_or_false() -> None:
    """A number selects nothing, and says so."""
    with (
        pytest.raises(ConfigError, match="where: gives no true or false"),
        computing(source(where="price * 2")),
    ):
        pass


def test_what_may_be_called_gives_the_same_at_any_time() -> None:
    """Every function of the list is DuckDB's, scalar and consistent, or a macro of such."""
    with duckdb.connect() as connection:
        kinds = connection.execute(
            "SELECT function_name, function_type, stability FROM duckdb_functions()"
        ).fetchall()
    known: dict[str, set[tuple[str, str | None]]] = {}
    for name, kind, stability in kinds:
        known.setdefault(name, set()).add((kind, stability))
    operators = {"/", "%", "~~", "!~~"}
    for name in sorted(set(SIGNATURES) - operators):
        if name == "position":  # the parser's name of `instr`
            continue
        assert known[name] & {("scalar", "CONSISTENT"), ("macro", None)}, name
        assert not known[name] & {("scalar", "VOLATILE"), ("scalar", "CONSISTENT_WITHIN_QUERY")}
    for name in ("now", "random", "current_localtime", "repeat", "lpad", "format", "getvariable"):
        assert name not in FUNCTIONS
    assert not [s for s in FUNCTIONS["age"] if s.startswith("i>")]


EXAMPLES = {
    "n": "price", "z": "2", "t": "customer", "i": "day", "b": "paid", "c": "'%Y'", "g": "price",
    "d": "interval 1 hour", "l": "string_split(customer, 'n')",
}  # fmt: skip
CONSTANTS = {
    "date_part": "'year'", "datepart": "'year'", "date_diff": "'day'", "datediff": "'day'",
    "date_sub": "'day'", "datesub": "'day'", "date_trunc": "'month'", "datetrunc": "'month'",
    "timezone": "'UTC'", "json_extract_string": "'$.a'", "json_array_length": "'$.a'",
    "json_exists": "'$.a'", "regexp_extract": "'a'", "regexp_replace": "'a'",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_fits_what_it_is_listed_with(name: str) -> None:
    """DuckDB's binder takes every signature of the list."""
    for signature in FUNCTIONS[name]:
        letters, _, _ = signature.partition(">")
        arguments = [
            CONSTANTS.get(name, EXAMPLES["c"]) if letter == "c" else EXAMPLES[letter]
            for letter in letters.replace("*", letters[-2:-1])
        ]
        if name in ("greatest", "least"):  # of columns alone, nobody could tell as what
            arguments[0] = "1"
        if name == "regexp_extract" and len(letters) == 3:
            arguments[2] = "1"
        if name in ("regexp_replace", "regexp_matches", "regexp_full_match") and len(letters) > 2:
            arguments[2:] = ["'x'", "'g'"][: len(letters) - 2]
            if name != "regexp_replace":
                arguments[2] = "'i'"
        call = (
            f"position('a' in {arguments[0]})"
            if name == "position"
            else (f"{name}({', '.join(arguments)})")
        )
        with computing(source({"new": call})):
            pass
