"""Conditions: typed predicates over one column of an event.

A null satisfies only `missing` and `not_below`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.features.columns import Column, Reading, check_reading, check_text, parse_column

Operator = Literal[
    "one_of", "none_of", "at_least", "not_below", "below", "between", "missing", "present"
]  # fmt: skip
Value = str | float

#: Operator → how many values it takes; None for one or more.
_OPERANDS: dict[str, int | None] = {
    "one_of": None,
    "none_of": None,
    "at_least": 1,
    "not_below": 1,
    "below": 1,
    "between": 2,
    "missing": 0,
    "present": 0,
}
_COMPARE: Final = ("at_least", "not_below", "below", "between")


@dataclass(frozen=True)
class Condition:
    """One predicate; the functions below make them."""

    column: str
    operator: Operator
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        where = f"condition {self.operator} on {self.column!r}"
        if not isinstance(self.operator, str) or self.operator not in _OPERANDS:
            raise UnknownNameError(
                "operator", self.operator, _OPERANDS, f"a condition on {self.column!r}"
            )
        wanted = _OPERANDS[self.operator]
        if not isinstance(self.values, tuple):
            raise ConfigError(f"{where} takes a tuple of values, got {self.values!r}")
        if len(self.values) != wanted and not (wanted is None and self.values):
            raise ConfigError(
                f"{where} needs {'at least one' if wanted is None else wanted} value(s), "
                f"got {len(self.values)}"
            )
        object.__setattr__(self, "values", tuple(_checked(value, where) for value in self.values))
        if len({type(value) for value in self.values}) > 1:
            raise ConfigError(f"{where} mixes numbers and texts: {self.values!r}")
        if self.operator in _COMPARE and self.reading == "text":
            raise ConfigError(f"{where} compares numbers, got the text {self.values[0]!r}")
        if self.operator == "between" and self.values[0] >= self.values[1]:  # type: ignore[operator]
            raise ConfigError(f"{where} is empty: {self.values[0]} is not below {self.values[1]}")
        check_reading(parse_column(self.column, where), self.reading, where)

    @property
    def reading(self) -> Reading:
        """How the column is read: as the values are; without any as text wherever it can be."""
        if not self.values:
            return "text" if "text" in self.source.readings else "number"
        return "text" if isinstance(self.values[0], str) else "number"

    @property
    def source(self) -> Column:
        """The parsed column."""
        return parse_column(self.column, "a condition")

    def meaning(self) -> list[list[object]]:
        """Lists that do not depend on the order of the values, nor on one that stands twice."""
        if self.operator == "between":
            low, high = self.values
            return [[self.column, "at_least", low], [self.column, "below", high]]
        if self.operator in ("one_of", "none_of"):
            return [[self.column, self.operator, *sorted(set(self.values))]]
        return [[self.column, self.operator, *self.values]]


def equals(column: str, value: Value) -> Condition:
    """True where `column` is `value`."""
    return Condition(column, "one_of", (value,))


def one_of(column: str, *values: Value) -> Condition:
    """True where `column` is one of `values`."""
    return Condition(column, "one_of", values)


def none_of(column: str, *values: Value) -> Condition:
    """True where `column` has a value that is not one of `values`."""
    return Condition(column, "none_of", values)


def missing(column: str) -> Condition:
    """True where `column` has no value."""
    return Condition(column, "missing", ())


def present(column: str) -> Condition:
    """True where `column` has a value."""
    return Condition(column, "present", ())


def at_least(column: str, low: float) -> Condition:
    """True where `column >= low`."""
    return Condition(column, "at_least", (low,))


def not_below(column: str, low: float) -> Condition:
    """True where `column` has no value, or `column >= low`."""
    return Condition(column, "not_below", (low,))


def below(column: str, high: float) -> Condition:
    """True where `column < high`."""
    return Condition(column, "below", (high,))


def between(column: str, low: float, high: float) -> Condition:
    """True where `low <= column < high`, half-open like a window."""
    return Condition(column, "between", (low, high))


def _checked(value: object, where: str) -> Value:
    if isinstance(value, str):
        return check_text(value, where)
    with suppress(OverflowError):  # a whole number that is no float
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value) + 0.0
    raise ConfigError(f"{where} takes texts or finite numbers, got {value!r}")
