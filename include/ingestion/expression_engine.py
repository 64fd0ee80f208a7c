"""The private DuckDB in which a source's expressions are evaluated, and what its binder says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import duckdb
import pyarrow as pa

from include.errors import ConfigError
from include.ingestion.expression_pieces import Compiled, Form, form_name, given_name

WHERE: Final = ""  #: what `where` is called, beside the names of columns
_MEMORY: Final = "256MB"
_TYPES: Final[dict[Form, pa.DataType]] = {
    "text": pa.string(),
    "digits": pa.string(),
    "number": pa.float64(),
    "no_number": pa.string(),
    "instant": pa.timestamp("us"),
    "no_instant": pa.string(),
}


@dataclass(frozen=True)
class Expressions:
    """All of a source's, compiled."""

    columns: tuple[str, ...]  #: of the source, that they read
    given: dict[str, Compiled]  #: by the names of the columns that they give
    where: Compiled | None = None

    @property
    def all(self) -> dict[str, Compiled]:
        """Each with the name that messages have for it."""
        return self.given | ({WHERE: self.where} if self.where else {})


def bound(connection: duckdb.DuckDBPyConnection, found: Expressions) -> Expressions:
    """The expressions, each of a type that has a plain form.

    Raises:
        ConfigError: one does not fit its operands.
    """
    given: dict[str, Compiled] = {}
    kinds: dict[str, str] = {}
    for name, one in found.given.items():
        kind = _type_of(connection, name, one, kinds)
        if kind.startswith(("INTERVAL", "TIME ", "TIME_", "BLOB", '"NULL"')) or kind == "TIME":
            one = replace(one, sql=f"CAST({one.sql} AS VARCHAR)")
            kind = "VARCHAR"
        given[name] = one
        kinds[given_name(len(given) - 1)] = "VARCHAR" if kind.endswith("]") else kind
    where = found.where
    if where is not None:
        kind = _type_of(connection, WHERE, where, kinds)
        if kind not in ("BOOLEAN", '"NULL"'):
            if where.kind != "text":
                raise ConfigError(
                    "where: gives no true or false; compare something, such as price > 100"
                )
            where = replace(where, sql=f"CAST({where.sql} AS BOOLEAN)")
    return replace(found, given=given, where=where)


def _type_of(
    connection: duckdb.DuckDBPyConnection, name: str, one: Compiled, given: dict[str, str]
) -> str:
    """The type of what an expression gives, as DuckDB's binder says."""
    columns = {form_name(at, form): pa.nulls(0, _TYPES[form]) for at, form in one.reads}
    connection.register("nothing", pa.table({"row": pa.nulls(0, pa.int64()), **columns}))
    others = "".join(f", CAST(NULL AS {kind}) AS {column}" for column, kind in given.items())
    try:
        described = connection.execute(
            f"DESCRIBE SELECT {one.sql} AS v FROM (SELECT *{others} FROM nothing)"  # noqa: S608
        ).fetchall()
    except duckdb.Error as error:
        # At that time there is no row: what is quoted are words of the expression.
        told = str(error).partition("\n")[0].partition(": ")[2][:200]
        raise ConfigError(f"{shown(name)}: {told or type(error).__name__}") from None
    finally:
        connection.unregister("nothing")
    ((_, kind, *_),) = described  # one column, in one row
    return str(kind)


@contextmanager
def private(timezone: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with nothing within its reach, of bounded memory."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "enable_external_access": "false",
        "ieee_floating_point_ops": "false",  # a division by zero fails, of whatever type
        "memory_limit": _MEMORY,
        "python_enable_replacements": "false",
        "temp_directory": "",
        "threads": "1",
    }
    with duckdb.connect(config=config) as connection:
        try:
            connection.execute(f"SET TimeZone = '{timezone}'")
        except duckdb.Error:
            raise ConfigError(f"the time zone {timezone} is unknown to expressions") from None
        # The optimizer computes what stands twice once, beforehand: outside of the branch or the
        # TRY that keeps a row that fails from ending the others.
        connection.execute("PRAGMA disable_optimizer")
        connection.execute("SET lock_configuration = true")
        yield connection


def shown(name: str) -> str:
    return f"columns.{name}" if name else "where"
