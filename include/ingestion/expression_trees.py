"""The parse trees of expressions, by DuckDB's own parser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import duckdb

from include.errors import ConfigError
from include.tenants.expressions import keywords_in, names_in

MOST_NODES: Final = 500

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Tree:
    """A parsed expression."""

    text: str
    node: Node
    columns: tuple[str, ...]  #: what it reads, of the source or of other expressions


@lru_cache(maxsize=4_096)
def parsed(text: str) -> Tree:
    """The tree of an expression, in which every column is one that its words named.

    Raises:
        ConfigError: it is none, or holds what no expression may.
    """
    names_in(text)  # what is no expression by its words alone goes no further
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        row = connection.execute("SELECT json_serialize_sql($1)", [f"SELECT {text}"]).fetchone()
    try:
        told = json.loads(row[0] if row else "{}")
        if told.get("error"):
            raise ConfigError(f"is no expression of DuckDB: {_why(told, text)}")
        node = _only_expression(told)
        columns: dict[str, None] = {}
        _collect(node, columns, [MOST_NODES])
    except RecursionError:
        raise ConfigError("nests too deep") from None
    if missed := set(columns) - names_in(text):
        raise ConfigError(f"names a column in a way that is not read: {sorted(missed)[0]!r}")
    return Tree(text, node, tuple(columns))


def _why(told: Node, text: str) -> str:
    why = str(told.get("error_message") or "it cannot be parsed").partition("\n")[0][:200]
    if keywords := keywords_in(text):
        why += f"; {keywords[0]} is a keyword: a column of that name is written in double quotes"
    return why


def _only_expression(told: Node) -> Node:
    """The one expression of a statement that is nothing else than that."""
    statements = told["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    empty = ("modifiers", "where_clause", "group_expressions", "having", "sample", "qualify")
    alone = (
        node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node[part] for part in empty)
        and not node["cte_map"]["map"]
        and not node["select_list"][0]["alias"]
    )
    if not alone:
        raise ConfigError("must be one expression and nothing else")
    return cast(Node, node["select_list"][0])


def _collect(node: Any, columns: dict[str, None], left: list[int]) -> None:
    """Names of the columns below a node, in their order."""
    if isinstance(node, list):
        for part in node:
            _collect(part, columns, left)
    elif isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            columns[".".join(node["column_names"])] = None
        if "class" in node:
            left[0] -= 1
            if left[0] < 0:
                raise ConfigError(f"has more than {MOST_NODES} parts; split it into several")
        for part in node.values():
            _collect(part, columns, left)
