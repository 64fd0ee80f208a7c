"""Columns of personal data: which mappings may read one, and what becomes of its values.

`pii_columns: [email, phone]` refuses every mapping that reads one of them. `pii_columns: {email:
hash, phone: refuse}` lets `email` be read where a digest does as well as the value: as an id, a
part of the event id, an event's name, a property or an attribute. Its values are then replaced by
a keyed digest before anything else sees them (`ingestion.personal`).

A name stands for every column that a person would take for it: in any case, with blanks around it,
in any source, and with what a nested column holds above or below it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from include.tenants.fields import Column

Treatment = Literal["refuse", "hash"]
MOST_COLUMNS: Final = 256
DEEPEST: Final = 5
_LONGEST_KEPT: Final = 300


@dataclass(frozen=True)
class Role:
    """What a mapping reads a column for."""

    key: str  #: where it stands in the source's part of the file
    column: str
    hashable: bool  #: whether a digest does as well as the value


def _as_mapping(value: Any) -> Any:
    """The list form refuses all of its columns."""
    if isinstance(value, (list, tuple, set, frozenset)):
        if not all(isinstance(column, (str, bool, int, float)) for column in value):
            raise ValueError("must list names of columns")
        return {str(column): "refuse" for column in value}
    return value


def _check_depth(value: str) -> str:
    if len(_path(value)) > DEEPEST:
        raise ValueError(f"must be at most {DEEPEST} levels deep; name the level above")
    return value


PersonalColumns = Annotated[
    dict[Annotated[Column, AfterValidator(_check_depth)], Treatment],
    Field(max_length=MOST_COLUMNS),
    BeforeValidator(_as_mapping),
]


class PersonalNames:
    """The declared columns, ready to be compared with many others.

    Work is bounded by the length of a column's name, however many columns are declared.
    """

    def __init__(self, declared: Mapping[str, Treatment]) -> None:
        self._within: dict[tuple[str, ...], Treatment] = {}
        self._above: dict[tuple[str, ...], Treatment] = {}
        for name, said in declared.items():
            path = _path(name)
            _add(self._within, path, said)
            for length in range(1, len(path)):
                _add(self._above, path[:length], said)
        self._lengths = sorted({len(path) for path in self._within})

    def within(self, column: str) -> bool:
        """Whether a column is a declared one or lies within one; not whether it holds one."""
        path = _path(column)
        return any(
            path[at : at + length] in self._within
            for length in self._lengths
            for at in range(len(path) - length + 1)
        )

    def treatment(self, column: str) -> Treatment | None:
        """What the file says about a column; the stricter, where two names stand for it.

        A column is personal where it is a declared one, lies within one, or holds one.
        """
        path = _path(column)
        said: set[Treatment | None] = {self._above.get(path)}
        for length in self._lengths:
            for at in range(len(path) - length + 1):
                said.add(self._within.get(path[at : at + length]))
        return "refuse" if "refuse" in said else "hash" if "hash" in said else None


def _add(known: dict[tuple[str, ...], Treatment], path: tuple[str, ...], said: Treatment) -> None:
    known[path] = "refuse" if "refuse" in (said, known.get(path)) else said


def _path(column: str) -> tuple[str, ...]:
    """The column's name as people compare names, in the parts that a nested one has."""
    # Names within the data have any length: they are not kept.
    return _known_path(column) if len(column) <= _LONGEST_KEPT else _parts(column)


def _parts(column: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKC", column).casefold()
    parts = (re.sub(r"[\W_]+", "", part) for part in re.split(r"[.\[\]/:>]+", plain))
    return tuple(part for part in parts if part and not part.isdigit()) or (plain.strip(),)


_known_path = lru_cache(maxsize=4_096)(_parts)
