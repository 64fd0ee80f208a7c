"""Pieces of SQL that an expression is printed in, and how long the text of each can become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["text", "number", "instant", "boolean", "interval", "list", "null"]
#: How a column's values are handed to DuckDB; of numbers and instants, also where there is none.
Form = Literal["text", "digits", "number", "no_number", "instant", "no_instant"]


@dataclass(frozen=True)
class Compiled:
    """A piece of SQL, and what is known of it."""

    sql: str
    kind: Kind
    #: Characters of its value per character of the longest text that is read, and beside them.
    growth: float = 0.0
    constant: int = 40
    #: The same, of everything computed on the way.
    work: float = 0.0
    #: A column's number in `Tree.columns`, in one of its forms.
    reads: frozenset[tuple[int, Form]] = frozenset()
    given: frozenset[str] = frozenset()  #: columns of other expressions that it reads
    lazy: bool = False  #: whether a part of it may be left unevaluated


def form_name(at: int, form: Form) -> str:
    """What a form of a column is called in the SQL."""
    return f"c{at}_{form}"


def given_name(at: int) -> str:
    """What the result of the expression at a place is called in the SQL of `where`."""
    return f"given_{at}"


def joined(
    sql: str, kind: Kind, parts: Sequence[Compiled], growth: float = 0.0, constant: int = 40
) -> Compiled:
    """A node over its parts, which stand in the places of the SQL."""
    pieces = sql.split("{}")
    text = pieces[0] + "".join(
        part.sql + piece for part, piece in zip(parts, pieces[1:], strict=True)
    )
    return Compiled(
        text,
        kind,
        growth,
        constant,
        growth + sum(part.work for part in parts),
        frozenset().union(*(part.reads for part in parts)),
        frozenset().union(*(part.given for part in parts)),
        any(part.lazy for part in parts),
    )


def one_of(sql: str, parts: Sequence[Compiled], results: Sequence[Compiled]) -> Compiled:
    kinds = [one.kind for one in results if one.kind != "null"]
    growth = max(one.growth for one in results)
    constant = max(one.constant for one in results)
    made = joined(sql, kinds[0] if kinds else "null", parts, growth, constant)
    return replace(made, lazy=True)


def text_of(name: str, letters: str, result: str, parts: Sequence[Compiled]) -> tuple[float, int]:
    """How long a function's text can become."""
    if result not in "tl":
        return 0.0, 40
    growth, constant = sum(one.growth for one in parts), sum(one.constant for one in parts)
    if name in ("replace", "regexp_replace"):
        times = max(1, parts[2].constant)
        every = times + 1 if name == "regexp_replace" else times
        return parts[0].growth * every, (parts[0].constant + 1) * every
    if name in ("concat_ws", "array_to_string"):
        times = len(parts) if name == "concat_ws" else max(1, parts[1].constant) + 1
        return growth * times, constant * times
    if name in ("url_encode", "regexp_escape", "strftime"):
        return growth * 20, constant * 20
    return growth, constant + 80
