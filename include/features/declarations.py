"""The feature language: frozen declarations that check themselves. No SQL, no frames.

Meaning, the same on every engine and fixed by `tests/spec`:

- A window `w` at `as_of` is `[as_of - w, as_of)`; `ALL_HISTORY` has no lower bound.
- An event counts only if it was known: `created_timestamp <= as_of`; of one that was corrected, the
  version that was not replaced yet: `as_of < replaced_timestamp`.
- An event with a null join key, and a spine row with one, match nothing.
- Values that are null, NaN or infinite are skipped by every function that reads a value.
- Of nothing, `count`, `distinct_count`, `net_count`, `days_active` and `sum` are 0; everything else
  is null.
- Events are ordered by (event_timestamp, event_id, source).
- An attribute is what was valid and known: of the facts with `valid_from <= as_of` and
  `created_timestamp <= as_of`, the one with the latest (valid_from, created_timestamp, event_id,
  source).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.features.columns import (
    JOIN_KEYS,
    Column,
    Reading,
    check_reading,
    check_text,
    parse_column,
)
from include.features.conditions import Condition
from include.features.expressions import (
    Difference,
    Expression,
    Feature,
    Ratio,
    check_size,
    features_of,
)
from include.features.returns import NO_RETURN, RETURNS
from include.storage.entities import ENTITY_COLUMNS

Function = Literal[
    "count", "sum", "mean", "min", "max", "std", "first", "last", "distinct_count",
    "time_since_last", "time_since_first", "days_active", "entropy", "trend", "net_count",
]  # fmt: skip

Kind = Literal["integer", "number", "text"]

#: Function → how it reads its value; None where it takes no value, "any" where both go.
FUNCTIONS: Final[dict[str, Reading | Literal["any"] | None]] = {
    "count": None,  # events
    "sum": "number",
    "mean": "number",
    "min": "number",
    "max": "number",
    "std": "number",  # of a sample (n - 1); null for fewer than two values
    "first": "any",  # the earliest value that is not null; see `Aggregation.read_as`
    "last": "any",  # the latest value that is not null
    "distinct_count": "text",
    "time_since_last": None,  # days, as float
    "time_since_first": None,  # days, as float
    "days_active": None,  # distinct dates in the tenant's time zone
    "entropy": "text",  # Shannon's, in nats, of the distribution of values
    "trend": "number",  # (window - the window before it) / both, of events or of a value's sum
    # Events less returns; or the different values of events, less those of returns.
    "net_count": "text",
}
#: Functions that read a value or, without one, count events.
_VALUE_OPTIONAL: Final = frozenset({"trend", "net_count"})
#: What `net_count` is made of: the first less the others.
_NET: Final = tuple(zip(("bought", "returned", "refunded"), (NO_RETURN, *RETURNS), strict=True))
#: A window without lower bound.
ALL_HISTORY: Final = timedelta.max
_LONGEST_WINDOW: Final = timedelta(days=36_500)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def window_name(window: timedelta) -> str:
    """`30d`, `12h`, `90m`, `45s` or `all`: the largest unit that divides the window."""
    if window == ALL_HISTORY:
        return "all"
    check_duration(window, "a window", "; use ALL_HISTORY for no lower bound")
    seconds = window.days * 86_400 + window.seconds
    unit, size = next(u for u in _UNITS if seconds % u[1] == 0)
    return f"{seconds // size}{unit}"


def check_duration(duration: object, what: str, otherwise: str = "") -> None:
    """Refuse what is no whole number of seconds between none and a hundred years."""
    if not isinstance(duration, timedelta) or not timedelta(0) < duration <= _LONGEST_WINDOW:
        raise ConfigError(
            f"{what} is a timedelta longer than zero and at most {_LONGEST_WINDOW.days} days, got "
            f"{duration!r}{otherwise}"
        )
    if duration.microseconds:
        raise ConfigError(f"{what} is a whole number of seconds, got {duration!r}")


def _may_be_named(name: object) -> bool:
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and len(name) <= 60


def check_name(name: str, where: str) -> None:
    """Refuse a name that could not be part of a feature's name."""
    if not _may_be_named(name):
        raise ConfigError(
            f"{where} name {name!r} must be lower_snake_case of at most 60 characters"
        )


def check_tuple(values: object, of: type, where: str) -> None:
    """Refuse what is no tuple of `of`: a list, or the one thing that should be in it."""
    if not isinstance(values, tuple) or not all(isinstance(value, of) for value in values):
        raise ConfigError(
            f"{where} is a tuple of {of.__name__}, got {values!r}; a tuple of one is written (x,)"
        )


@dataclass(frozen=True)
class Entity:
    """Whom features are about: the event columns that must equal the spine's."""

    name: str
    join_keys: tuple[str, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "Entity")
        check_tuple(self.join_keys, str, f"Entity {self.name!r}.join_keys")
        for key in self.join_keys:
            if key not in JOIN_KEYS:
                raise UnknownNameError("join key", key, JOIN_KEYS, f"Entity {self.name!r}")
        if len(set(self.join_keys)) < len(self.join_keys):
            raise ConfigError(f"Entity {self.name!r} repeats a join key: {self.join_keys}")


USER: Final = Entity("user", ("user_id",))
ACCOUNT: Final = Entity("account", ("account_id",))
ITEM: Final = Entity("item", ("item_id",))
USER_ITEM: Final = Entity("user_item", ("user_id", "item_id"))
#: The whole tenant: every event matches.
TENANT: Final = Entity("tenant", ())


@dataclass(frozen=True)
class AttributeLookup:
    """The attribute `name` of a user, account or item.

    Among a view's `attributes` it is a feature: the value valid and known at `as_of`. Among a
    stream's `lookups` the event carries the value valid at its `event_timestamp` and known at its
    `created_timestamp`. `reading` is how a view reads it; a stream reads it as each use needs.
    """

    entity_kind: str
    name: str
    reading: Reading = "text"

    def __post_init__(self) -> None:
        where = f"AttributeLookup {self.name!r}"
        if not isinstance(self.entity_kind, str) or self.entity_kind not in ENTITY_COLUMNS:
            raise UnknownNameError("entity kind", self.entity_kind, ENTITY_COLUMNS, where)
        if not _is_name(self.name):
            raise ConfigError(f"{where} has no name of an attribute")
        check_reading(parse_column(self.column, where), self.reading, where)

    @property
    def column(self) -> str:
        """The name under which the stream's columns hold it, e.g. `item.category`."""
        return f"{self.entity_kind}.{self.name}"

    @property
    def feature(self) -> str:
        """Name of the feature in a view, without the view: the attribute's, in lower case."""
        return self.name.lower()

    @property
    def kind(self) -> Kind:
        """What the feature holds: float64 or string."""
        return "text" if self.reading == "text" else "number"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name)


@dataclass(frozen=True)
class EventStream:
    """Events with one of these names for which every condition holds.

    `retention` is how long such events are kept, where that is less than for ever: a longer window
    is then refused.
    """

    events: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    lookups: tuple[AttributeLookup, ...] = ()
    retention: timedelta | None = None

    def __post_init__(self) -> None:
        check_tuple(self.where, Condition, "EventStream.where")
        check_tuple(self.lookups, AttributeLookup, "EventStream.lookups")
        named: object = self.events
        if not isinstance(named, tuple) or not named or not all(map(_is_name, named)):
            raise ConfigError(f"EventStream.events is a tuple of event names, got {named!r}")
        for event in self.events:
            check_text(event, "EventStream.events")
        if self.retention is not None:
            check_duration(self.retention, "EventStream.retention")
        for condition in self.where:
            self.check_column(condition.source, "EventStream.where")

    def check_column(self, column: Column, where: str) -> None:
        """Refuse an attribute that the stream does not look up."""
        known = [lookup.column for lookup in self.lookups]
        if column.origin == "attribute" and column.name not in known:
            raise UnknownNameError("looked-up attribute", column.name, known, where)


@dataclass(frozen=True)
class Aggregation:
    """One function over the windows, hence one feature per window.

    `where` narrows the stream for this aggregation alone and then needs a `label`, which goes
    into the feature's name.
    """

    function: Function
    value: str | None = None
    windows: tuple[timedelta, ...] = (ALL_HISTORY,)
    where: tuple[Condition, ...] = ()
    label: str = ""
    #: Of `first` and `last`: how they read a property or attribute; else these as a number, those
    #: as a text.
    read_as: Reading | None = None

    def __post_init__(self) -> None:
        where = f"Aggregation {self.function!r}"
        if not isinstance(self.function, str) or self.function not in FUNCTIONS:
            raise UnknownNameError("function", self.function, FUNCTIONS, "Aggregation")
        wanted = FUNCTIONS[self.function]
        if wanted is None and self.value is not None:
            raise ConfigError(f"{where} counts events and takes no value, got {self.value!r}")
        if wanted is not None and self.value is None and self.function not in _VALUE_OPTIONAL:
            raise ConfigError(f"{where} needs a value: the column it reads")
        if self.value is not None and wanted in ("number", "text"):
            check_reading(parse_column(self.value, where), wanted, where)
        elif self.value is not None:
            parse_column(self.value, where)
        self._check_reading(where)
        check_tuple(self.where, Condition, f"{where}.where")
        if bool(self.where) != bool(self.label):
            raise ConfigError(f"{where}: `where` and `label` are given together or not at all")
        if self.label:
            check_name(self.label, f"{where}.label")
        if not isinstance(self.windows, tuple) or not self.windows:
            raise ConfigError(
                f"{where}.windows is a tuple of at least one timedelta or ALL_HISTORY"
            )
        for window in self.windows:
            window_name(window)
        if len(set(self.windows)) < len(self.windows):
            raise ConfigError(f"{where} repeats a window")
        if self.function == "trend":
            if ALL_HISTORY in self.windows:
                raise ConfigError(f"{where} needs finite windows: nothing is before all history")
            for window in self.windows:
                window_name(2 * window)

    def _check_reading(self, where: str) -> None:
        if self.read_as is None:
            return
        if FUNCTIONS[self.function] != "any" or self.source is None:
            raise ConfigError(f"{where} takes no `read_as`: only first and last do")
        check_reading(self.source, self.read_as, where)
        if self.read_as == self.source.readings[0]:  # as it would be read anyway
            object.__setattr__(self, "read_as", None)

    @property
    def source(self) -> Column | None:
        """The parsed value column."""
        return None if self.value is None else parse_column(self.value, "an aggregation")

    @property
    def reading(self) -> Reading | None:
        """How the value is read; None where there is no value."""
        if self.value is None:
            return None
        wanted = FUNCTIONS[self.function]
        if wanted == "any":
            return self.read_as or parse_column(self.value, "").readings[0]
        return wanted

    @property
    def kind(self) -> Kind:
        """What its features hold: int64, float64 or string."""
        if self.function in ("count", "distinct_count", "days_active"):
            return "integer"
        return "text" if FUNCTIONS[self.function] == "any" and self.reading == "text" else "number"

    def feature(self, window: timedelta) -> str:
        """Name of the feature over `window`, without its view: `sum_amount_30d`."""
        return "_".join(
            filter(None, (self.label, self.function, self._value_name, window_name(window)))
        )

    def primitives(self, window: timedelta) -> tuple[Aggregation, ...]:
        """What an engine computes for it: itself, or the counts and sums it is made of."""
        if self.function == "trend":
            return (self._part(window), self._part(2 * window))
        if self.function == "net_count":
            return tuple(self._counted(window, *part) for part in _NET)
        return (replace(self, windows=(window,)),)

    def expression(self, window: timedelta) -> Expression:
        """`feature(window)` in terms of the primitives' names."""
        if self.function == "trend":
            now, both = (Feature(p.feature(p.windows[0])) for p in self.primitives(window))
            return Ratio(Difference(now, Difference(both, now)), both)
        if self.function == "net_count":
            stand, *back = (Feature(p.feature(window)) for p in self.primitives(window))
            net: Expression = stand
            for part in back:
                net = Difference(net, part)
            return net
        return Feature(self.feature(window))

    @property
    def _value_name(self) -> str:
        return self.value.replace(".", "_").lower() if self.value else ""

    def _counted(self, window: timedelta, label: str, where: tuple[Condition, ...]) -> Aggregation:
        function: Function = "distinct_count" if self.value else "count"
        label = f"{self.label}_{label}" if self.label else label
        return Aggregation(function, self.value, (window,), (*self.where, *where), label)

    def _part(self, window: timedelta) -> Aggregation:
        function: Function = "sum" if self.value else "count"
        return Aggregation(function, self.value, (window,), self.where, self.label)


@dataclass(frozen=True)
class Derived:
    """A float feature computed from others of the same view, derived ones before it included."""

    name: str
    expression: Expression

    def __post_init__(self) -> None:
        check_name(self.name, "Derived")
        check_size(self.expression, f"Derived {self.name!r}")
        read = tuple(features_of(self.expression))
        if not read:
            raise ConfigError(f"Derived {self.name!r} reads no feature")
        if not all(map(_is_name, read)):
            raise ConfigError(f"Derived {self.name!r} reads features by their names, got {read}")
