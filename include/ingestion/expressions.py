"""Columns that a source's expressions give, and its `where`, where that is an expression.

A batch of rows is evaluated as a whole, in a private DuckDB in memory that reaches no file, network
or setting. Only where that fails, it is evaluated once more in a way that tells the rows that fail;
they carry the reason from here on, and their siblings go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, SourceError
from include.ingestion.columns import Spelling, numbers, texts
from include.ingestion.conditions import Where, meant
from include.ingestion.expression_engine import WHERE, Expressions, bound, private, shown
from include.ingestion.expression_pieces import Compiled, Form, form_name, given_name
from include.ingestion.expression_sql import compiled
from include.ingestion.expression_trees import parsed
from include.ingestion.instants import instants
from include.ingestion.plain import plain
from include.ingestion.rows import Rows
from include.tenants.config import Source, TenantConfig

#: Characters of a text that an expression reads, and of what it gives.
LONGEST_READ: Final = 16_384
LONGEST_RESULT: Final = 8_192
#: Bytes that the texts on the way may come to at once.
_AT_ONCE: Final = 16 << 20
_MOST_ROWS: Final = 65_536
#: Whatever has a day of the calendar, such as a day of birth or `9999-12-31`.
_ENDS: Final = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
_DAY: Final = r"^\s*\d{4}-\d\d-\d\d\s*$"
_ODD: Final[tuple[Form, ...]] = ("no_number", "no_instant")
_FAILS: Final = (
    "cannot be computed of this row: a text that is no number, a division by zero, "
    "or a value out of range"
)


def expressions_of(source: Source) -> Expressions:
    """The source's expressions.

    Raises:
        ConfigError: one of them is none, or no expression may do what it does; names it.
    """
    columns = columns_of(source)
    given = {
        name: _named(name, lambda text=text: compiled(text, columns))
        for name, text in source.columns.items()
    }
    where = source.where_expression
    # What has no plain type is text to whoever reads the column.
    plain_given = {
        name: replace(one, kind="text") if one.kind in ("list", "interval") else one
        for name, one in given.items()
    }
    chosen = where and _named(WHERE, lambda: compiled(where, columns, plain_given))
    return Expressions(columns, given, chosen or None)


def columns_of(source: Source) -> tuple[str, ...]:
    """The columns of the source that its expressions read."""
    read: dict[str, None] = {}
    for name, text in source.expressions():
        tree = _named(name, lambda text=text: parsed(text))
        known = source.columns if name == WHERE else ()
        read |= dict.fromkeys(column for column in tree.columns if column not in known)
    return tuple(read)


def readers_of(source: Source) -> dict[str, str]:
    """For each column that an expression reads, how a message names the first that does."""
    readers: dict[str, str] = {}
    for name, text in source.expressions():
        for column in _named(name, lambda text=text: parsed(text)).columns:
            readers.setdefault(column, shown(name))
    return readers


def expression_problems(tenant: TenantConfig) -> list[str]:
    """What is wrong with a tenant's expressions, as far as no row tells: a line for each."""
    problems = []
    for source in tenant.sources:
        try:
            with computing(source):
                pass
        except (ConfigError, SourceError) as error:
            problems.append(f"tenant {tenant.id}, source {source.name}: {error}")
    return problems


@contextmanager
def computing(source: Source) -> Iterator[Computing | None]:
    """What computes the source's expressions; None where it has none.

    Raises:
        ConfigError: an expression may not do what it does, or does not fit its operands.
    """
    if not source.columns and source.where_expression is None:
        yield None
        return
    found = expressions_of(source)
    with private(_zone(source)) as connection:
        yield Computing(source, bound(connection, found), connection)


@dataclass(frozen=True)
class Computing:
    """A source's expressions, and where they are evaluated."""

    source: Source
    expressions: Expressions
    connection: duckdb.DuckDBPyConnection

    def computed(self, rows: Rows, conditions: Where) -> Rows:
        """The rows that `where` means, with the columns that expressions give; in order.

        A row of which an expression fails has the reason among `faults`. The expressions of rows
        that are not meant may fail; where that leaves open whether a row is meant, it is.

        Args:
            conditions: on columns that expressions give.
        """
        found, faults = self.expressions, {}
        if not len(rows):
            columns = {name: pa.nulls(0, pa.string()) for name in found.given}
            return _with_columns(rows, columns, pa.nulls(0, pa.string()))
        forms, long = self._forms(rows)
        results: dict[str, pa.Array] = {}
        for name, one in found.given.items():
            results[name], faults[name] = self._evaluated(name, one, forms, long, rows.numbers)
        meant_rows = pa.repeat(True, len(rows))
        if conditions:
            meant_rows = meant(pa.table(results), conditions)
            meant_rows = _or_open(meant_rows, [faults[name] for name in conditions])
        if found.where is not None:
            for at, values in enumerate(results.values()):
                forms[given_name(at)] = values
            chosen, faults[WHERE] = self._evaluated(WHERE, found.where, forms, long, rows.numbers)
            chosen = pc.fill_null(chosen.cast(pa.bool_()), False)
            read = [faults[name] for name in (WHERE, *found.where.given)]
            meant_rows = pc.and_(meant_rows, _or_open(chosen, read))
        rows = _with_columns(rows, results, pc.coalesce(*faults.values()))
        return rows.filter(meant_rows)

    def _forms(self, rows: Rows) -> tuple[dict[str, pa.Array], list[pa.Array]]:
        """Forms of the columns by their names in SQL; and where each column is too long."""
        source, found = self.source, self.expressions
        connector = source.connector
        spelling = Spelling(connector.decimal, connector.thousands)
        needed = {read for one in found.all.values() for read in one.reads}
        forms: dict[str, pa.Array] = {}
        long = []
        for at, name in enumerate(found.columns):
            wanted = {form for place, form in needed if place == at}
            column = rows.table[name].combine_chunks()
            text = texts(column)
            too_long = pc.fill_null(pc.greater(pc.utf8_length(text), LONGEST_READ), False)
            long.append(too_long)
            text = pc.if_else(too_long, pa.scalar(None, pa.string()), text)
            made: dict[Form, pa.Array] = {"text": text}
            if "digits" in wanted:
                is_text = pa.types.is_string(column.type)
                made["digits"] = spelling.plain(text) if is_text else text
            if "number" in wanted:
                made["number"] = numbers(column, spelling)
                made["no_number"] = _lacking(made["number"], text, "no number")
            if "instant" in wanted:
                made["instant"] = _local(column, _zone(source), connector.timestamp_format)
                made["no_instant"] = _lacking(made["instant"], text, "no instant")
            forms |= {form_name(at, form): made[form] for form in wanted}
        return forms, long

    def _evaluated(
        self,
        name: str,
        one: Compiled,
        forms: dict[str, pa.Array],
        long: Sequence[pa.Array],
        rows: pa.Array,
    ) -> tuple[pa.Array, pa.Array]:
        """The results for all rows, and why there is none, part by part of bounded size."""
        read = {form_name(at, form) for at, form in one.reads}
        read |= {given_name(list(self.expressions.given).index(other)) for other in one.given}
        table = pa.table({"row": rows, **{column: forms[column] for column in read}})
        step = _rows_at_once(table, one)
        values, reasons_of_parts = [], []
        for start in range(0, len(rows), step):
            rows_of_part = table.slice(start, step)
            part, failed = self._values(name, one, rows_of_part)
            why = _reasons(name, one, failed, rows_of_part, self.expressions.columns)
            part, why = _sane(name, plain(part), why)
            values.append(part)
            reasons_of_parts.append(why)
        result, reasons = pa.concat_arrays(values), pa.concat_arrays(reasons_of_parts)
        for at in sorted({at for at, _ in one.reads}):
            column = self.expressions.columns[at]
            told = f"{shown(name)}: {column} is over {LONGEST_READ:,} characters"
            reasons = pc.if_else(long[at], pa.scalar(told), reasons)
        return result, reasons

    def _values(self, name: str, one: Compiled, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        """The result for each row, and whether there is none as it failed."""
        odd = [form_name(at, form) for at, form in one.reads if form in _ODD]
        fails = pa.repeat(False, len(rows))
        if (
            not one.lazy and odd
        ):  # all of it is evaluated: what is no number ends it, without trying
            fails = pc.is_valid(pc.coalesce(*(rows[column].combine_chunks() for column in odd)))
            rows = rows.filter(pc.invert(fails))
        self.connection.register("batch", rows)
        try:
            values, failed = self._tried(one.sql)
        except duckdb.Error as error:
            # Not chained: what DuckDB says quotes values.
            kind = type(error).__name__
            raise SourceError(f"{shown(name)}: cannot be computed ({kind})") from None
        finally:
            self.connection.unregister("batch")
        if len(rows) == len(fails):
            return values, failed
        places = pc.if_else(fails, None, pc.subtract(pc.cumulative_sum(_ones(fails)), 1))
        return values.take(places), pc.fill_null(failed.take(places), True)

    def _tried(self, sql: str) -> tuple[pa.Array, pa.Array]:
        """Of the batch: at once, or else in a way that tells which rows fail."""
        try:
            values = _fetched(self.connection, f"SELECT {sql} AS v FROM batch")  # noqa: S608
        except (duckdb.DataError, duckdb.InvalidInputException, duckdb.OutOfRangeException):
            query = f"SELECT TRY(struct_pack(v := {sql})) AS v FROM batch"  # noqa: S608
            tried = _fetched(self.connection, query)
            return pc.struct_field(tried, "v"), pc.is_null(tried)
        return values, pa.repeat(False, len(values))


def _ones(fails: pa.Array) -> pa.Array:
    return pc.invert(fails).cast(pa.int64())


def _fetched(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Array:
    return connection.sql(query).to_arrow_table()["v"].combine_chunks()


def _rows_at_once(table: pa.Table, one: Compiled) -> int:
    longest = 0
    for column in table.columns:
        if pa.types.is_string(column.type):
            longest = max(longest, pc.max(pc.binary_length(column)).as_py() or 0)
    return max(1, min(_MOST_ROWS, int(_AT_ONCE // (one.work * longest + one.constant + 1))))


def _reasons(
    name: str, one: Compiled, failed: pa.Array, rows: pa.Table, columns: Sequence[str]
) -> pa.Array:
    """Why each failed row failed: what it reads of it that is no number or instant, if anything."""
    none = pa.scalar(None, pa.string())
    reasons = pa.nulls(len(failed), pa.string())
    if not pc.any(failed).as_py():
        return reasons
    for at, form in sorted(one.reads):
        if form in _ODD:
            told = f"{shown(name)}: {columns[at]} is {form.replace('_', ' ')}"
            odd = pc.and_(failed, pc.is_valid(rows[form_name(at, form)].combine_chunks()))
            reasons = pc.coalesce(reasons, pc.if_else(odd, pa.scalar(told), none))
    return pc.coalesce(reasons, pc.if_else(failed, pa.scalar(f"{shown(name)}: {_FAILS}"), none))


def _sane(name: str, result: pa.Array, reasons: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Results without those that no later step could hold."""
    kind = result.type
    if pa.types.is_floating(kind):
        odd, told = pc.invert(pc.is_finite(result)), "no finite number"
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        first, last = (_edge(edge, kind) for edge in _ENDS)
        odd = pc.or_(pc.less(result, first), pc.greater(result, last))
        told = "no day or instant of the years 1 to 9999"
    elif pa.types.is_string(kind):
        odd = pc.greater(pc.utf8_length(result), LONGEST_RESULT)
        told = f"over {LONGEST_RESULT:,} characters"
    else:
        return result, reasons
    odd = pc.fill_null(odd, False)
    none = pa.scalar(None, pa.string())
    if not pc.any(odd).as_py():
        return result, reasons
    told_all = pc.if_else(odd, pa.scalar(f"{shown(name)}: {told}"), none)
    # Taken anew: what replaces values in place would keep the room that they had.
    places = pc.if_else(odd, None, pa.array(range(len(odd)), pa.int64()))
    return result.take(places), pc.coalesce(reasons, told_all)


def _edge(edge: datetime, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_date(kind):
        return pa.scalar(edge.date(), kind)
    if kind.tz is None:
        return pa.scalar(edge.replace(tzinfo=None), kind)
    # Room for any time zone: Python has no year 0 and no year 10,000.
    inside = edge + timedelta(days=2 if edge.year == 1 else -2)
    return pa.scalar(inside, kind)


def _local(column: pa.Array, timezone: str, form: str) -> pa.Array:
    """Instants by the clock of the mapping's time zone; a day is its midnight, in any zone."""
    kind, days = column.type, pa.nulls(len(column), pa.timestamp("us"))
    if pa.types.is_date(kind):
        first, last = (_edge(edge, kind) for edge in _ENDS)
        near = pc.and_(pc.greater_equal(column, first), pc.less_equal(column, last))
        return pc.if_else(near, column, pa.scalar(None, kind)).cast(days.type)
    if form == "iso" and pa.types.is_string(kind):
        is_day = pc.fill_null(pc.match_substring_regex(column, _DAY), False)
        with suppress(pa.ArrowInvalid):  # a 13th month: one by one, then
            days = pc.if_else(is_day, pc.utf8_trim_whitespace(column), None).cast(days.type)
        column = pc.if_else(pc.is_null(days), column, pa.scalar(None, kind))
    read = instants(column, timezone, form, _ENDS)
    return pc.coalesce(days, pc.local_timestamp(read.cast(pa.timestamp("us", timezone))))


def _or_open(is_meant: pa.Array, faults: Sequence[pa.Array]) -> pa.Array:
    """Whether a row is meant, or something failed that would tell."""
    for one in faults:
        is_meant = pc.or_(is_meant, pc.is_valid(one))
    return is_meant


def _lacking(values: pa.Array, text: pa.Array, told: str) -> pa.Array:
    """Text that cannot be cast, where a text is none of the values."""
    is_odd = pc.and_(pc.is_null(values), pc.is_valid(text))
    return pc.if_else(is_odd, pa.scalar(told), pa.scalar(None, pa.string()))


def _with_columns(rows: Rows, columns: dict[str, pa.Array], faults: pa.Array) -> Rows:
    table = rows.table
    kept = [name for name in table.column_names if name not in columns]
    table = table.select(kept)
    for name, values in columns.items():
        table = table.append_column(name, values)
    return replace(rows, table=table, faults=faults)


def _zone(source: Source) -> str:
    mapping = source.events or source.attributes
    return mapping.timezone if mapping else "UTC"


def _named(name: str, make: Any) -> Any:
    try:
        return make()
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{shown(name)}: {error}") from None
