"""Expressions in a tenant's file, as far as they can be read without DuckDB.

DuckDB's own parser decides (`include.ingestion.expression_trees`), where rows are read and where a
file is checked. It is too heavy for the parsing of DAGs. What is here reads words and marks only:
it bounds an expression, refuses what none may hold, and knows every name that could be a column's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from include.tenants.fields import Text, check_visible
from include.tenants.functions import FUNCTIONS

_Piece = tuple[str, str, str]  #: its kind, its text, and of a word how keywords are compared
_NONE: Final = ("", "", "")
LONGEST: Final = 2_000
DEEPEST: Final = 50  #: brackets within brackets
MOST_COLUMNS: Final = 64
#: The type of the error that a list of columns is where one is read; its context has the list.
SEVERAL: Final = "several_columns"
_PAGE: Final = "docs/expressions.md"
_PIECE: Final = re.compile(
    r"""(?P<string>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")+")|(?P<comment>--|/\*)
        |(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<glued>[^\W\d]\w*')
        |(?P<word>[^\W\d]\w*)|(?P<mark>::|->>|[-+*/%^|<>=!~:.,()\[\]])|(?P<odd>\S)""",
    re.VERBOSE,
)
_CLOSES: Final = {")": "(", "]": "["}
#: Words that stand for a column in double quotes only; a test asks DuckDB.
_RESERVED: Final = frozenset(
    {
        *("all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof"),
        *("asymmetric", "at", "authorization", "binary", "both", "by", "case", "cast", "check"),
        *("collate", "collation", "column", "concurrently", "constraint", "create", "cross"),
        *("default", "deferrable", "desc", "describe", "distinct", "do", "else", "end", "except"),
        *("false", "fetch", "for", "foreign", "freeze", "from", "full", "glob", "group", "having"),
        *("ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join"),
        *("lambda", "lateral", "leading", "left", "like", "limit", "natural", "not", "notnull"),
        *("null", "offset", "on", "only", "or", "order", "outer", "overlaps", "pivot"),
        *("pivot_longer", "pivot_wider", "placing", "positional", "primary", "qualify"),
        *("references", "returning", "right", "select", "semi", "show", "similar", "some"),
        *("summarize", "symmetric", "table", "tablesample", "then", "to", "trailing", "true"),
        *("union", "unique", "unpack", "unpivot", "using", "variadic", "verbose", "when", "where"),
        *("window", "with"),
    }
)
#: Those of them that expressions are made of, and others that a bracket may follow.
_SYNTAX: Final = frozenset(
    {
        *("all", "and", "any", "as", "between", "both", "case", "cast", "coalesce", "distinct"),
        *("else", "end", "escape", "extract", "false", "for", "from", "glob", "ifnull", "ilike"),
        *("in", "interval", "is", "isnull", "leading", "like", "not", "notnull", "null", "or"),
        *("placing", "similar", "then", "to", "trailing", "true", "try", "try_cast", "when"),
    }
)
_CHANGING: Final = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
_ALONE: Final = "an expression reads the source's own row alone: no query, window or lambda"
_QUERY: Final = frozenset({"select", "exists", "over", "union", "join", "lambda"})


def check_expression(text: str) -> str:
    """The expression, stripped.

    Raises:
        ValueError: no expression may look like this.
    """
    text = text.strip()
    if not text:
        raise ValueError("must be an expression, such as price * quantity")
    if len(text) > LONGEST:
        raise ValueError(f"must be at most {LONGEST:,} characters long")
    if not text.isprintable():
        check_visible(text.replace("\n", " "))
    names_in(text)
    return text


@lru_cache(maxsize=1_024)
def names_in(text: str) -> frozenset[str]:
    """Every name in an expression that could be a column's, as a path with dots.

    Raises:
        ValueError: no expression may look like this.
    """
    pieces = [_NONE, _NONE, *_pieces(text), _NONE]
    names: set[str] = set()
    opened: list[str] = []
    path: list[str] = []
    # No more calls than needed: every parse of DAGs comes along here.
    for first, before, this, after in zip(pieces, pieces[1:], pieces[2:], pieces[3:], strict=False):
        kind, piece, word = this
        if kind == "mark":
            if piece in "([)]":
                _step(opened, piece)
            if piece != ".":
                path = []
            continue
        dotted = before[1] == "." and bool(path)
        if kind == "word" and piece in names and not dotted and after[1] not in ("(", "."):
            continue
        if word in _CHANGING:
            raise ValueError(
                f"{piece} is another one every day; a column of that name is written in double "
                "quotes"
            )
        if kind == "word" and after[1] == "(":
            _check_function(piece, word, before)
        elif kind in ("word", "quoted") and (dotted or not _is_syntax(first, before, this, after)):
            name = piece if kind == "word" else piece[1:-1].replace('""', '"')
            path = [*path, name] if dotted else [name]
            if after[1] != ".":
                names.add(".".join(path))
        else:
            path = []
    if opened:
        raise ValueError(f"a {opened[-1]} is not closed")
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"reads more than {MOST_COLUMNS} columns")
    return frozenset(names)


def joining(key: str, columns: Sequence[str]) -> str:
    """How to write what a list of columns stands for, where one column is read."""
    between = " || '|' || "
    if key in ("quantity", "amount"):
        between = " * "
    elif key in ("event_timestamp", "valid_from", "column"):
        between = " || ' ' || "
    expression = between.join(map(quoted, columns)).replace("\\", "\\\\").replace('"', '\\"')
    return (
        "one column is read here; give the source an expression that joins them, "
        f'`columns: {{{key}: "{expression}"}}`, and its name here, `{key}: {key}`'
    )


def quoted(name: str) -> str:
    """A column's name as an expression has it."""
    if re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in _RESERVED | _SYNTAX:
        return name
    return '"' + name.replace('"', '""') + '"'


def keywords_in(text: str) -> list[str]:
    """Words of a checked expression that would be columns, were they in double quotes."""
    return [word for _, _, word in _pieces(text) if word in _RESERVED - _SYNTAX]


def unknown_function(name: str) -> str:
    """What to say of a function that no expression may call."""
    near = get_close_matches(name, FUNCTIONS, 3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return (
        f"{name}() is no function that expressions may call: those give the same for the same row "
        f"at any time, and bounded text{hint} ({_PAGE} lists them)"
    )


def _pieces(text: str) -> list[_Piece]:
    found = [
        (one.lastgroup or "", one[0], one[0].lower() if one.lastgroup == "word" else "")
        for one in _PIECE.finditer(text)
    ]
    for kind, piece, _ in found:
        if kind == "comment":
            raise ValueError("an expression has no comments; write them in the file, after #")
        if kind == "glued":
            raise ValueError(f"write text in single quotes without {piece[:-1]} before it")
        if kind == "odd":
            odd = f"{piece!r} has no meaning in an expression"
            raise ValueError("a quote is not closed" if piece in ("'", '"') else odd)
    return found


def _step(opened: list[str], piece: str) -> None:
    """Into a bracket, or out of it."""
    closes = _CLOSES.get(piece)
    if closes is None:
        opened.append(piece)
        if len(opened) > DEEPEST:
            raise ValueError(f"nests brackets deeper than {DEEPEST}")
    elif not opened or opened.pop() != closes:
        raise ValueError(f"a {piece} closes nothing")


def _check_function(piece: str, word: str, before: _Piece) -> None:
    if before[1] == ".":
        raise ValueError(f"write {piece}(…) without anything before the name")
    if word in _QUERY:
        raise ValueError(f"{piece}: {_ALONE}")
    is_type = before[1] == "::" or before[2] == "as"
    if not is_type and word not in FUNCTIONS and word not in _SYNTAX:
        raise ValueError(unknown_function(piece))


def _is_syntax(first: _Piece, before: _Piece, this: _Piece, after: _Piece) -> bool:
    """Whether a single word is no name: a keyword, a function, a type or a unit of time.

    Args:
        first: two places before it.
    """
    kind, piece, word = this
    if kind == "quoted":
        return after[1] == "("
    if word in _QUERY:
        raise ValueError(f"{piece}: {_ALONE}")
    if word in _RESERVED or before[1] == "::" or before[2] == "as" or after[0] == "string":
        return True
    if first[2] == "extract" and before[1] == "(":
        return True
    return first[2] == "interval" and before[0] in ("number", "string")


def _read_expression(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _one_column(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        columns = [part for part in value if isinstance(part, str)]
        told = joining("NAME", columns or ["customer", "day"])
        raise PydanticCustomError(SEVERAL, "{told}", {"told": told, "columns": columns})
    return value


Expression = Annotated[str, BeforeValidator(_read_expression), AfterValidator(check_expression)]
#: A column that a mapping reads: the source's, or one that an expression gives.
OneColumn = Annotated[Text, BeforeValidator(_one_column)]
