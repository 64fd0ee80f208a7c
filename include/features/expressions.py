"""Expressions: the closed language in which a derived feature combines others of its view.

A null operand gives null, and so does whatever has no finite value: a ratio whose denominator is 0,
`Log1p` of −1 or less, an overflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from include.errors import ConfigError


@dataclass(frozen=True)
class Feature:
    """A feature of the same view, by its name without the view, e.g. `sum_amount_30d`."""

    name: str


@dataclass(frozen=True)
class Constant:
    """A finite number."""

    value: float

    def __post_init__(self) -> None:
        value = self.value
        with suppress(OverflowError):  # a whole number that is no float
            if (
                not isinstance(value, bool)
                and isinstance(value, int | float)
                and math.isfinite(value)
            ):
                object.__setattr__(self, "value", float(value) + 0.0)
                return
        raise ConfigError(f"Constant takes a finite number, got {value!r}")


@dataclass(frozen=True)
class Ratio:
    """`numerator / denominator`."""

    numerator: Expression
    denominator: Expression


@dataclass(frozen=True)
class Difference:
    """`left - right`."""

    left: Expression
    right: Expression


@dataclass(frozen=True)
class Log1p:
    """`ln(1 + operand)`: tames long tails such as spend."""

    operand: Expression


@dataclass(frozen=True)
class OnlyIf:
    """`operand` where `support` is at least `minimum`, else null: no mean of three events."""

    operand: Expression
    support: Expression
    minimum: int

    def __post_init__(self) -> None:
        if isinstance(self.minimum, bool) or not isinstance(self.minimum, int) or self.minimum < 1:
            raise ConfigError(f"OnlyIf.minimum is a whole number from 1, got {self.minimum!r}")


#: How many expressions may be inside one another, and how many there may be in all.
MOST_DEEP: Final = 50
MOST_NODES: Final = 1_000

Expression: TypeAlias = Feature | Constant | Ratio | Difference | Log1p | OnlyIf


def operands(expression: Expression) -> tuple[Expression, ...]:
    """The direct operands; raises `ConfigError` for what is no expression."""
    match expression:
        case Feature() | Constant():
            return ()
        case Ratio(numerator, denominator):
            return (numerator, denominator)
        case Difference(left, right):
            return (left, right)
        case Log1p(operand):
            return (operand,)
        case OnlyIf(operand, support, _):
            return (operand, support)
    raise ConfigError(
        f"{expression!r} is no expression; known: Constant, Difference, Feature, Log1p, OnlyIf, "
        "Ratio"
    )


def check_size(expression: Expression, where: str) -> None:
    """Refuse an expression that is nested too deeply or too large to be evaluated step by step."""
    waiting, nodes = [(expression, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        nodes += 1
        if depth > MOST_DEEP or nodes > MOST_NODES:
            raise ConfigError(
                f"{where} is too large: it may nest {MOST_DEEP} expressions and have "
                f"{MOST_NODES:,} in all, each counted wherever it is used; let an aggregation do "
                "part of it"
            )
        waiting += [(operand, depth + 1) for operand in operands(one)]


def features_of(expression: Expression) -> Iterator[str]:
    """Names of the features an expression reads, in order of appearance."""
    if isinstance(expression, Feature):
        yield expression.name
    for operand in operands(expression):
        yield from features_of(operand)


def replaced(expression: Expression, named: Mapping[str, Expression]) -> Expression:
    """The expression with every feature replaced by what it is."""
    match expression:
        case Feature(name):
            return named[name]
        case Constant():
            return expression
        case Log1p(operand):
            return Log1p(replaced(operand, named))
        case Ratio(left, right):
            return Ratio(replaced(left, named), replaced(right, named))
        case Difference(left, right):
            return Difference(replaced(left, named), replaced(right, named))
        case OnlyIf(operand, support, minimum):
            return OnlyIf(replaced(operand, named), replaced(support, named), minimum)


def meaning(expression: Expression) -> list[object]:
    """Nested lists that are equal for equal expressions."""
    if isinstance(expression, Feature):
        return ["feature", expression.name]
    if isinstance(expression, Constant):
        return ["constant", expression.value]
    parts: list[object] = [meaning(operand) for operand in operands(expression)]
    if isinstance(expression, OnlyIf):
        parts.append(expression.minimum)
    return [type(expression).__name__.lower(), *parts]
