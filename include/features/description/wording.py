"""Declarations in plain words: for the catalogue, for lineage and for what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from include.features.conditions import Condition
from include.features.declarations import (
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    Function,
    window_name,
)
from include.features.expressions import (
    Constant,
    Difference,
    Expression,
    Feature,
    Log1p,
    OnlyIf,
    Ratio,
)
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

_UNITS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_FUNCTIONS: Final[dict[Function, str]] = {
    "count": "number of events",
    "sum": "sum of {}",
    "mean": "mean of {}",
    "min": "smallest {}",
    "max": "largest {}",
    "std": "standard deviation of {}",
    "first": "earliest {}",
    "last": "latest {}",
    "distinct_count": "number of different {}",
    "time_since_last": "days since the latest event",
    "time_since_first": "days since the earliest event",
    "days_active": "number of days with an event",
    "entropy": "entropy (how evenly spread) of {}",
    "trend": "{}",
    "net_count": "{}",
}
_LESS_RETURNS: Final = "number of events less returns"
_COMPARISONS: Final = {"at_least": "≥", "below": "<"}


def feature_words(view: FeatureView) -> dict[str, str]:
    """Every output column of the view → what it means."""
    words = {}
    for aggregation in view.aggregations:
        for window in aggregation.windows:
            name = view.column(aggregation.feature(window))
            words[name] = aggregation_words(aggregation, window)
    for lookup in view.attributes:
        words[view.column(lookup.feature)] = attribute_words(lookup)
    for derived in view.derived:
        words[view.column(derived.name)] = expression_words(derived.expression)
    return words


def aggregation_words(aggregation: Aggregation, window: timedelta) -> str:
    """`sum of amount in the last 30 days where quantity ≥ 2`."""
    return _over(_function_words(aggregation), aggregation, window)


def attribute_words(lookup: AttributeLookup) -> str:
    """What an attribute feature is."""
    return f"{lookup.column} as a {lookup.reading}, valid and known at as_of"


def condition_words(conditions: Iterable[Condition]) -> list[str]:
    """The same texts, in the same order, for conditions that are true of the same events."""
    given = list(conditions)
    purchases = set(NO_RETURN) <= set(given)
    others = [one for one in given if not purchases or one not in NO_RETURN]
    parts = {json.dumps(part): part for c in others for part in c.meaning()}
    return [*["it is no return"] * purchases, *(_comparison(*parts[key]) for key in sorted(parts))]


def expression_words(expression: Expression) -> str:
    """`(a - b) / c`."""
    match expression:
        case Feature(name):
            return name
        case Constant(value):
            return _literal(value)
        case Ratio(numerator, denominator):
            return f"{_operand(numerator)} / {_operand(denominator)}"
        case Difference(left, right):
            return f"{_operand(left)} - {_operand(right)}"
        case Log1p(operand):
            return f"ln(1 + {_operand(operand)})"
        case OnlyIf(operand, support, minimum):
            return f"{_operand(operand)} where {_operand(support)} ≥ {minimum}, else null"


def duration_words(duration: timedelta) -> str:
    """`30 days`, `1 hour`."""
    name = window_name(duration)
    number, unit = int(name[:-1]), _UNITS[name[-1]]
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _function_words(aggregation: Aggregation) -> str:
    value = aggregation.value
    if aggregation.function == "trend":
        value = f"sum of {value}" if value else "number of events"
    if aggregation.function == "net_count":
        value = f"number of different {value} less those of returns" if value else _LESS_RETURNS
    read = f" as a {aggregation.read_as}" if aggregation.read_as else ""
    return _FUNCTIONS[aggregation.function].format(value) + read


def _over(text: str, aggregation: Aggregation, window: timedelta) -> str:
    last = "" if window == ALL_HISTORY else duration_words(window).removeprefix("1 ")
    ending = f"in the last {last}" if last else "in all history"
    if where := " and ".join(condition_words(aggregation.where)):
        ending += f" where {where}"
    if aggregation.function == "trend":
        ending += f", against the {duration_words(window)} before: (now - before) / both"
    return f"{text} {ending}"


def _comparison(column: object, operator: object, *values: object) -> str:
    listed = ", ".join(map(_literal, values))
    match operator:
        case "not_below":
            return f"{column} is missing or ≥ {listed}"
        case "missing":
            return f"{column} is missing"
        case "present":
            return f"{column} is there"
        case "one_of":
            return f"{column} is {listed}" if len(values) == 1 else f"{column} is one of {listed}"
        case "none_of":
            return f"{column} is there and not {listed}"
    return f"{column} {_COMPARISONS[str(operator)]} {listed}"


def _literal(value: object) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return json.dumps(value, ensure_ascii=False)


def _operand(expression: Expression) -> str:
    text = expression_words(expression)
    return text if isinstance(expression, Feature | Constant | Log1p) else f"({text})"
