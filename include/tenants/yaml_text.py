"""A tenant file's text → plain values, as YAML 1.2 reads them, in time that its size bounds.

One pass over libyaml's events builds mappings, lists and scalars, and stops at the first node too
many. Nothing is expanded, imported or computed: there are no aliases, tags, merge keys or
directives, no numbers to the base 60, and no integer of more than 18 digits is ever converted.

A scalar without quotes is

- null, `true` or `false`, or a number, where it is spelled as YAML 1.2 itself would write it;
- `Unquoted`, where YAML 1.2 reads a value but another spelling was meant perhaps: `010`, `1.10`,
  `0x1F`, `1e3`, `TRUE`. It is the text as written; a field that wants a number reads one from it,
  and a field of which text is a possible value refuses it and says "quote it";
- text in all other cases, among them what YAML 1.1 took for something else: `NO`, `on`, `12:30`,
  `1_000`, `2024-01-31`.

A key is always text, as written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import yaml

from include.errors import ConfigError
from include.tenants.wording import shown

#: Levels; a tenant file has seven.
DEEPEST: Final = 20
#: Keys, values, lists and mappings; a file of twenty sources has some hundreds.
MOST_NODES: Final = 2_500

_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN: Final = {"true": True, "false": False}
_BOOLEAN_OTHERWISE: Final = frozenset({"True", "TRUE", "False", "FALSE"})
_NO_NUMBER: Final = {
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
#: What the core schema of YAML 1.2 reads as a number (10.3.2).
_NUMBER: Final = re.compile(
    r"0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LONGEST_FLOAT: Final = 25  #: characters of Python's own spelling
#: Characters that anything but text may begin with.
_FIRST: Final = frozenset("+-.0123456789~nNtTfF")


class Unquoted(str):
    """A scalar without quotes, as written, of which a reader may think that it is something else.

    `010` is eight to YAML 1.1, ten to YAML 1.2, and a shop's number to the person who wrote it.
    """

    __slots__ = ()


def read(text: str, most_nodes: int = MOST_NODES) -> Any:
    """The one document of the text; `most_nodes` keys, values, lists and mappings at most.

    Raises:
        ConfigError: it is no YAML, or holds what a tenant file must not.
        yaml.YAMLError: it is no YAML.
    """
    return _Reader(text, most_nodes).document()


def lines(text: str) -> Mapping[tuple[str | int, ...], int]:
    """The line of each value, by the keys and positions that lead to it.

    A second pass, for files that something is wrong with: the good ones need not pay for it.
    """
    found: dict[tuple[str | int, ...], int] = {}
    with suppress(ConfigError, yaml.YAMLError):  # what came before the problem is known
        _Reader(text, MOST_NODES, found).document()
    return found


def scalar(text: str) -> Any:
    """What a scalar without quotes stands for."""
    if text and text[0] not in _FIRST:
        return text
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if text in _NO_NUMBER:
        return _NO_NUMBER[text]
    if text in _BOOLEAN_OTHERWISE:
        return Unquoted(text)
    if _NUMBER.fullmatch(text):
        as_python_writes_it = len(text) <= _LONGEST_FLOAT and _spelled(text) == text
        return float(text) if as_python_writes_it else Unquoted(text)
    return text


def write(content: Any) -> str:
    """Plain values as YAML that reads as the same values."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Safe YAML that quotes what `scalar` would not read as that text."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if type(scalar(value)) is str else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _spelled(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:  # 0x1F, 0o17
        return ""


class _Reader:
    """Builds the values of one document from libyaml's events."""

    def __init__(
        self,
        text: str,
        most_nodes: int,
        found: dict[tuple[str | int, ...], int] | None = None,
    ) -> None:
        if re.search(r"^%", text, re.MULTILINE):
            raise ConfigError("directives (lines that begin with %) are not allowed")
        self._events: Iterator[Any] = yaml.parse(text, _PARSER)
        self._lines = found
        self._most_nodes = most_nodes
        self.nodes = 0

    def document(self) -> Any:
        value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ConfigError("holds more than one document")
                value = self._value(next(self._events), (), 0)
        return value

    def _value(self, event: Any, path: tuple[str | int, ...], depth: int) -> Any:
        if type(event) is yaml.ScalarEvent:
            self._count(event)
            if self._lines is not None:
                self._lines[path] = _line(event)
            return event.value if event.style else scalar(event.value)
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"aliases are not allowed; write out what *{event.anchor} stands for")
        self._count(event)
        if depth >= DEEPEST:
            raise ConfigError(f"nested more than {DEEPEST} levels deep")
        if self._lines is not None:
            self._lines[path] = _line(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth + 1)
        return self._list(path, depth + 1)

    def _mapping(self, path: tuple[str | int, ...], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        events = self._events
        tracked = self._lines is not None
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if type(event) is not yaml.ScalarEvent:
                if isinstance(event, yaml.AliasEvent):
                    raise ConfigError(
                        f"aliases are not allowed; write out what *{event.anchor} stands for"
                    )
                raise ConfigError(f"line {_line(event)}: a key must be text, not a list or mapping")
            self._count(event)
            key = event.value
            if key == "<<" and not event.style:
                raise ConfigError("merge keys (<<) are not allowed; write out what they stand for")
            if key in found:
                raise ConfigError(
                    f"the key {shown(key)} stands there twice, the second time in line "
                    f"{_line(event)}"
                )
            below = (*path, key) if tracked else path
            found[key] = self._value(next(events), below, depth)
            if tracked and self._lines is not None:
                self._lines[below] = _line(event)
        return found

    def _list(self, path: tuple[str | int, ...], depth: int) -> list[Any]:
        found: list[Any] = []
        events = self._events
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            below = (*path, len(found)) if self._lines is not None else path
            found.append(self._value(event, below, depth))
        return found

    def _count(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > self._most_nodes:
            raise ConfigError(
                f"holds more than {self._most_nodes:,} keys and values, by line "
                f"{_line(event)}; a tenant file is a page, not a data set"
            )
        if event.tag is not None:
            raise ConfigError(f"line {_line(event)}: tags ({shown(event.tag)}) are not allowed")
