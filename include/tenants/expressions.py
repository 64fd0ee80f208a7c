"""Expressions in a tenant's file, as far as they can be read without DuckDB.

DuckDB's own parser decides (`include.ingestion.expression_trees`), where rows are read and where a
file is checked. It is too heavy for the parsing of DAGs. What is here reads words and marks only:
it bounds an expression, refuses what none may hold, and knows every name that could be a column's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from include.tenants.fields import Text, check_visible
from include.tenants.functions import FUNCTIONS

LONGEST: Final = 2_000
DEEPEST: Final = 50  #: brackets within brackets
#: The type of the error that a list of columns is where one is read; its context has the list.
SEVERAL: Final = "several_columns"
_PAGE: Final = "docs/expressions.md"
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")+")|(?P<comment>--|/\*)
        |(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[^\W\d]\w*)
        |(?P<mark>::|->>|[-+*/%^|<>=!~:.,()\[\]]))""",
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
_QUERY: Final = frozenset({"select", "exists", "over", "union", "join", "lambda"})
_PREFIXES: Final = frozenset({"b", "e", "n", "u", "x"})


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The word as keywords are compared; nothing for other tokens."""
        return self.text.lower() if self.kind == "word" else ""


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
    check_visible(text.replace("\n", " "))
    tokens = _tokens(text)
    _check_brackets(tokens)
    for before, token, after in zip((None, *tokens), tokens, (*tokens[1:], None), strict=False):
        if token.word in _QUERY:
            raise ValueError(
                f"{token.text}: an expression reads the source's own row alone: no query, window "
                "or lambda"
            )
        if token.kind != "word" or after is None:
            continue
        if after.kind == "text" and after.start == token.end and token.word in _PREFIXES:
            raise ValueError(f"{token.text}'...' is not read; write text in plain single quotes")
        if after.text == "(" and not _is_type(before):
            _check_function(token, before)
    return text


def names_in(text: str) -> frozenset[str]:
    """Every name in a checked expression that could be a column's, as a path with dots."""
    tokens = _tokens(text)
    names, at = set(), 0
    while at < len(tokens):
        if tokens[at].kind not in ("word", "quoted"):
            at += 1
            continue
        start, path = at, [_name(tokens[at])]
        while (
            at + 2 < len(tokens)
            and tokens[at + 1].text == "."
            and tokens[at + 2].kind in ("word", "quoted")
        ):
            at += 2
            path.append(_name(tokens[at]))
        at += 1
        if at - start > 1 or not _is_syntax(tokens, start):
            names.add(".".join(path))
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
    words = (token.word for token in _tokens(text))
    return [word for word in words if word in _RESERVED - _SYNTAX]


def unknown_function(name: str) -> str:
    """What to say of a function that no expression may call."""
    near = get_close_matches(name, FUNCTIONS, 3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return (
        f"{name}() is no function that expressions may call: those give the same for the same row "
        f"at any time, and bounded text{hint} ({_PAGE} lists them)"
    )


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None:
            rest = text[at:].lstrip()
            raise ValueError(
                f"{'a quote is not closed' if rest[0] in QUOTES else f'{rest[0]!r} has no meaning'}"
                " in an expression"
            )
        if kind == "comment":
            raise ValueError("an expression has no comments; write them in the file, after #")
        found.append(_Token(kind, match[kind], match.start(kind), match.end()))
        at = match.end()
    return found


QUOTES: Final = ("'", '"')


def _check_brackets(tokens: Iterable[_Token]) -> None:
    opened: list[str] = []
    for token in tokens:
        if token.kind == "mark" and token.text in _CLOSES.values():
            opened.append(token.text)
        closes = _CLOSES.get(token.text) if token.kind == "mark" else None
        if closes and (not opened or opened.pop() != closes):
            raise ValueError(f"a {token.text} closes nothing")
        if len(opened) > DEEPEST:
            raise ValueError(f"nests brackets deeper than {DEEPEST}")
    if opened:
        raise ValueError(f"a {opened[-1]} is not closed")


def _check_function(token: _Token, before: _Token | None) -> None:
    if before is not None and before.text == ".":
        raise ValueError(f"write {token.text}(…) without anything before the name")
    if token.word not in FUNCTIONS and token.word not in _SYNTAX:
        raise ValueError(unknown_function(token.text))


def _is_type(before: _Token | None) -> bool:
    """Whether what follows a token is a type's name."""
    return before is not None and (before.text == "::" or before.word == "as")


def _is_syntax(tokens: Sequence[_Token], at: int) -> bool:
    """Whether a single word is no name: a keyword, a function, a type or a unit of time."""
    token = tokens[at]
    if token.kind == "quoted":
        return at + 1 < len(tokens) and tokens[at + 1].text == "("
    if token.word in _RESERVED or _is_type(tokens[at - 1] if at else None):
        return True
    if at + 1 < len(tokens) and (tokens[at + 1].text == "(" or tokens[at + 1].kind == "text"):
        return True
    if at >= 2 and tokens[at - 1].text == "(" and tokens[at - 2].word == "extract":
        return True
    return (
        at >= 2
        and tokens[at - 1].kind in ("number", "text")
        and (tokens[at - 2].word == "interval")
    )


def _name(token: _Token) -> str:
    return token.text[1:-1].replace('""', '"') if token.kind == "quoted" else token.text


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
