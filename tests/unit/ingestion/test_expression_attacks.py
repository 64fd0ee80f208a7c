"""Expressions that try to reach, to remember, to tell, or to exhaust something: all are refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pytest
from pydantic import ValidationError

from include.errors import ConfigError, SourceError
from include.ingestion.expression_engine import private
from include.ingestion.expressions import LONGEST_READ, computing
from include.ingestion.rows import Rows
from include.tenants.config import Source
from tests.unit.ingestion.test_expressions import computed, source

UNSTABLE = [
    "now()", "current_date", "current_timestamp", "today()", "random()", "uuid()",
    "gen_random_uuid()", "nextval('s')", "current_localtime()", "current_localtimestamp()",
    "get_current_timestamp()", "transaction_timestamp()", "localtime", "localtimestamp",
    "age(day)", "ago(interval 1 day)", "txid_current()", "setseed(0.5)", "version()", "user()",
    "pg_conf_load_time()", "price + random()", "hash(day)", "price + Current_Date",
]  # fmt: skip
REACHING = [
    "current_setting('threads')", "getenv('HOME')", "read_text('/etc/passwd')", "glob('/*')",
    "(select 1)", "(SELECT content FROM read_text('/etc/passwd'))", "exists(select 1)",
    "price in (select 1)", "price = any(select 1)", "price = any([1])", "getvariable('x')",
    "current_database()", "current_schema()", "current_schemas(true)",
    "in_search_path('a', 'b')", "pg_sleep(100)", "sleep_ms(1000)", "write_log('x')",
    "error('x')", "query('select 1')", "json_execute_serialized_sql('{}')",
    "json_serialize_sql('select 1')", "parse_path(day)", "price from batch", "a.b.c.d.e.f()",
    "main.lower(day)", "day.upper()", "which_secret()",
]  # fmt: skip
MANY_ROWS = [
    "sum(price)", "count(*)", "max(price)", "row_number() over ()", "sum(price) over ()",
    "lag(price) over (order by day)", "unnest([1, 2])", "generate_series(1, 10)", "range(10)",
    "first(price)", "list(price)", "price filter (where true)", "sum(price) filter (where true)",
    "lower(day order by day)", "lower(distinct day)", "grouping(day)",
]  # fmt: skip
SYNTAX = [
    "*", "price.*", "columns(*)", "$1", "?", "#1", "default", "price, day", "price as other",
    "price p", "price; select 2", "1); DROP TABLE batch; --", "price -- note",
    "price /* note */", "distinct price", "price limit 1", "price union select 2",
    "price where true", "price order by 1", "x -> x + 1", "list_transform([1], x -> x + 1)",
    "[x for x in [1, 2]]", "lambda x: x", "{'a': 1}", "[1, 2]", "map {'a': 1}", "(price, day)",
    "row(price)", "e'\\n'", "x'00'", "$$text$$", "U&'d'", "price::my_enum",
    "price::struct(a int)", "price::varchar collate nocase", "'open", '"open', "price)",
    "((price)", "lower(day := 1)", "", "   ", "price \x00", "price \u202e", "\\", "`price`",
    "@price", "price & 1", "'a' 'b'", "select price", "from batch", "values (1)",
    "with x as (select 1) select 1",
]  # fmt: skip
ENDLESS = [
    "repeat('x', 10000000000)", "repeat(repeat(repeat('x', 100000), 100000), 100000)",
    "lpad('x', 1000000000, 'y')", "rpad(day, 1000000000, 'y')", "format('{:1000000000}', 1)",
    "printf('%1000000000d', 1)", "bar(1, 0, 1, 100000000)", "list_resize([1], 100000000)",
    "array_resize([1], 100000000)", "string_agg(day)", "levenshtein(day, day)", "to_base64(day)",
    "(" * 1_000 + "1" + ")" * 999, "(" * 999 + "1" + ")" * 999, "((" * 400 + "price",
    "not " * 490 + "true", "- " * 990 + "price", "price || " * 200 + "day", "x" * 2_001,
    "'" + "x" * 2_000 + "'", "[" * 51 + "1" + "]" * 51,
    "replace(replace(replace(day, '-', 'xxxxxxxxxx'), 'x', 'yyyyyyyyyy'), 'y', 'zzzzzzzzzz')",
    "regexp_replace(regexp_replace(day, '', 'xxxxxxxxxxxx', 'g'), '', 'xxxxxxxxxxxx', 'g')",
    "replace(day, '-', day)", "regexp_matches(day, day)", "regexp_replace(day, day, 'x')",
    "concat_ws(day, day, day)" + " || concat_ws(day, day, day)" * 40,
    "array_to_string(string_split(day, ''), '" + "x" * 200 + "')", "url_encode(url_encode(day))",
    "strftime(day, price)",
]  # fmt: skip


def refused(text: str) -> str:
    """The error of a file, or of its check, in which an expression stands."""
    try:
        of = source({"new": text})
    except ValidationError as error:
        return str(error)
    with pytest.raises(ConfigError) as caught, computing(of):
        pass
    return str(caught.value)


@pytest.mark.parametrize("text", [*UNSTABLE, *REACHING, *MANY_ROWS, *SYNTAX, *ENDLESS])
def test_no_expression_does_this(text: str) -> None:
    """It is refused when the file is read or checked, not when rows are, in a short message."""
    assert len(refused(text)) < 1_000


@pytest.mark.parametrize(
    "text",
    ["current_date", "current_timestamp", "localtime", "user", "current_user", "batch.price"],
)
def test_what_looks_like_a_column_is_one(text: str) -> None:
    """Where a source has a column of that name, its value is meant, and nothing else ever is."""
    name = text
    found = computed(source({"new": f"\"{name}\" || '!'"}), {"id": ["1"], name: ["mine"]})
    assert found.table["new"].to_pylist() == ["mine!"]


@pytest.mark.parametrize(
    "statement",
    [
        "SET threads = 4", "RESET memory_limit", "SET enable_external_access = true",
        "PRAGMA memory_limit = '10GB'", "COPY (SELECT 1) TO '{path}'", "ATTACH '{path}'",
        "SELECT * FROM read_text('{there}')", "SELECT * FROM '{there}'", "SELECT * FROM glob('/*')",
        "INSTALL httpfs", "LOAD httpfs", "EXPORT DATABASE '{path}'", "SELECT * FROM frame",
        "SELECT * FROM read_csv('http://127.0.0.1:9/')", "SELECT getenv('HOME')",
    ],
)  # fmt: skip
def test_nothing_is_within_reach_of_the_private_database(statement: str, tmp_path: Path) -> None:
    """Were a statement ever to run there, it would find no file, network, setting or variable."""
    there, path = tmp_path / "there.csv", tmp_path / "new"
    there.write_text("secret\n")
    frame = pa.table({"secret": ["x"]})
    with private("UTC") as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(path=path, there=there)).fetchall()
    assert not path.exists()
    assert len(frame) == 1


def test_text_is_bounded_however_it_is_made_longer() -> None:
    """The longest values, made as long as any expression may, stay within a fixed memory."""
    long = "-" * LONGEST_READ
    count = 400
    table = {"id": [str(n) for n in range(count)], "day": [long] * count}
    of = source({"new": "replace(replace(day, '-', 'xxxx'), 'x', 'yyyy') || 'end'"})
    process = psutil.Process()
    before = process.memory_info().rss
    tracemalloc.start()
    found = computed(of, table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.faults is not None
    assert all("over" in reason for reason in found.faults.to_pylist())
    assert peak < 100 << 20
    assert process.memory_info().rss - before < 400 << 20


@pytest.mark.parametrize("text", ["'now'::timestamp", "'today'::date", "strptime('now', '%Y')"])
def test_there_is_no_text_that_means_now(text: str) -> None:
    """What older databases took for an instant is none: every row fails, on every day."""
    found = computed(source({"new": f"coalesce(nullif(id, id)::date, {text})"}), {"id": ["1"]})
    assert found.faults is not None
    assert found.faults.to_pylist() != [None]


def test_nesting_costs_no_more_than_its_length() -> None:
    """What depends on where it stands is looked at once at every level, not twice."""
    text = "coalesce(" * 40 + "price" + ", 1)" * 40
    assert (
        computed(source({"new": text}), {"id": ["1"], "price": ["2"]}).table["new"][0].as_py() == 2
    )
    text = "case when true then " * 40 + "price" + " end" * 40
    assert computed(source({"new": text}), {"id": ["1"], "price": ["2"]}).table["new"][0].as_py()


def test_a_hostile_pattern_takes_time_in_proportion() -> None:
    """RE2 has no catastrophic pattern, and refuses one that is too large."""
    table = {"id": ["1"], "day": ["a" * 10_000 + "!"]}
    found = computed(source({"new": "regexp_matches(day, '^(a+)+$')"}), table)
    assert found.table["new"].to_pylist() == [False]
    large = source({"new": "regexp_matches(day, '((((a{1000}){1000}){1000}){1000})')"})
    try:
        rows = computed(large, table)
    except (ConfigError, SourceError):
        return
    assert rows.faults is not None
    assert rows.faults.to_pylist()[0] is not None


def test_an_expression_does_not_tell_what_is_in_a_row() -> None:
    """Whatever fails, neither reason nor error has a value in it."""
    secret = "4242-ann@shop.example"
    texts = ["value::int", "exp(value)", "strptime(value, '%Y')", "value ->> '$.x'", "value::date"]
    texts += ["value::boolean", "make_date(length(value) * 100000, 1, 1)", "chr(-length(value))"]
    for text in texts:
        found = computed(source({"new": text}), {"id": ["1"], "value": [secret]})
        assert found.faults is not None
        (reason,) = found.faults.to_pylist()
        assert reason is not None, text
        assert secret not in reason
        assert "4242" not in reason


def test_names_of_columns_are_never_read_as_sql() -> None:
    """A column may be called like an injection; it is a name."""
    name = '"; DROP TABLE batch; --'
    quoted = '"' + name.replace('"', '""') + '"'
    found = computed(source({name + "x": f"{quoted} || '!'"}), {"id": ["1"], name: ["v"]})
    assert found.table[name + "x"].to_pylist() == ["v!"]


def test_constants_are_never_read_as_sql() -> None:
    """Quotes, braces and semicolons within a text stay within it."""
    for text in ("it''s", "{}", "{0}", "'';--", "%s", "\\"):
        found = computed(source({"new": f"'{text}' || id"}), {"id": ["1"]})
        assert found.table["new"].to_pylist() == [text.replace("''", "'") + "1"]


def test_a_batch_without_rows_has_the_columns() -> None:
    """Nothing is evaluated, and whoever reads finds the columns there."""
    of: Source = source({"new": "exp(price)"})
    empty: Any = pa.table({"price": pa.array([], pa.string()), "id": pa.array([], pa.string())})
    with computing(of) as expressions:
        assert expressions is not None
        found = expressions.computed(Rows(empty, pa.array([], pa.int64())), {})
    assert found.table.column_names == ["price", "id", "new"]
