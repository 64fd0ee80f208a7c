"""What an event says of itself: columns that are known with the event, beside features of its past.

Such an event is scored when it happens. Its features look at `[as_of - w, as_of)` with `as_of` the
event's own instant, so they never see the event; the columns made here hold what it brings along.
In a stored table they stand before `as_of`, with the keys: nothing but the event itself gives them
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from include.errors import ConfigError, UnknownNameError
from include.features.columns import JOIN_KEYS, Reading, check_reading, parse_column
from include.features.declarations import Derived, EventStream, check_tuple
from include.features.expressions import features_of
from include.features.fingerprints import digest

#: How these columns begin, as those of a view begin with the view's name.
PREFIX: Final = "request__"
#: Which event of an entity is meant.
ENTITY: Final = "group_id"


@dataclass(frozen=True)
class RequestColumns:
    """The columns, all of them numbers.

    A column `amount` of the event becomes `request__amount`. Of a text such as
    `properties.device`, `request__new_properties_device` is 1 where no earlier event of the stream
    and of the same `by` was known to have the same text, 0 where one was, null without a text.
    """

    stream: EventStream  #: the events that are scored, each a `group_id` of its own
    numbers: tuple[str, ...]
    new: tuple[str, ...] = ()
    #: Of columns above, with their prefix, and of features of the service.
    derived: tuple[Derived, ...] = ()
    by: str = "user_id"  #: whose event it is; the key that the service's views join by

    def __post_init__(self) -> None:
        check_tuple(self.numbers, str, "Request.numbers")
        check_tuple(self.new, str, "Request.new")
        check_tuple(self.derived, Derived, "Request.derived")
        kinds: tuple[tuple[tuple[str, ...], Reading], ...] = (
            (self.numbers, "number"),
            (self.new, "text"),
        )
        for names, reading in kinds:
            for name in names:
                column = parse_column(name, "Request")
                check_reading(column, reading, "Request")
                if column.origin == "attribute":
                    raise ConfigError(f"Request reads {name!r}; attributes belong in a view")
        if self.by not in JOIN_KEYS or self.by == ENTITY:
            known = [key for key in JOIN_KEYS if key != ENTITY]
            raise UnknownNameError("join key", self.by, known, "Request.by")
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ConfigError(f"a Request has columns, each once, got {self.columns}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in declared order."""
        own = (*map(column_of, self.numbers), *(column_of(f"new_{name}") for name in self.new))
        return (*own, *(f"{PREFIX}{derived.name}" for derived in self.derived))

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of `events` that it reads, beside those that every spine does."""
        named = [parse_column(name, "Request") for name in (*self.numbers, *self.new)]
        fields = [column.field for column in named if column.origin == "event"]
        properties = ["properties"] if any(c.origin == "property" for c in named) else []
        return tuple(dict.fromkeys(["event_id", self.by, *fields, *properties]))

    def check_known(self, features: Mapping[str, str]) -> None:
        """Refuse a derived column of something that is neither a column nor a number feature.

        Args:
            features: the service's columns and what they hold.
        """
        own = self.columns[: len(self.columns) - len(self.derived)]
        known = [*own, *(name for name, kind in features.items() if kind != "text")]
        for derived in self.derived:
            for name in features_of(derived.expression):
                if name not in known:
                    raise UnknownNameError("feature", name, known, f"Derived {derived.name!r}")

    def fingerprint(self, features: str) -> str:
        """Sixteen hex digits that change with the columns' meaning, or with the features'."""
        return digest([features, repr(self)])


def column_of(name: str) -> str:
    """The column that holds an event's column of that name."""
    return f"{PREFIX}{name.replace('.', '_').lower()}"
