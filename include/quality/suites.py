"""What is expected of landed data: pure declarations, built from shape, source and use cases.

Row checks are evaluated on every row of a slice. Fact checks are evaluated on one row of numbers
that describe the whole slice (`events.pos.lag_days`), one column per fact; a fact that cannot be
known (a share of nothing, a volume without a past) is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from include.handoffs import INSTANTS
from include.quality.checks import Result, Severity
from include.quality.needs import DataNeeds
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.entities import ENTITY_COLUMNS
from include.tenants.config import Source

#: Column → the least and the largest number that is plausible (`plausible`).
Limits = Mapping[str, tuple[float, float]]

#: Columns that row checks read besides the canonical ones; `rows.prepared` adds them.
SUBJECT: Final = "subject_id"  #: first of user, account and item that is not null
OCCURRENCE: Final = "occurrence"  #: 1 for the first row with its event_id in the slice, else 2
DERIVED: Final = {"events": (SUBJECT, OCCURRENCE), "attributes": (OCCURRENCE,)}

LONGEST_ID: Final = 1024
LONGEST_NAME: Final = 200
LONGEST_VALUE: Final = 10_000
#: The zero of most clocks, which an instant is that nobody set: no event is older, unless the
#: tenant's history begins before.
CLOCK_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Rows of an interval relative to what its predecessors let expect.
USUAL_VOLUME: Final = (0.5, 3.0)
ORPHANS: Final = 0.05  #: share of events whose item has no attribute
SET_ASIDE_NOTED: Final = 0.1
SET_ASIDE_REFUSED: Final = 0.9  #: above this share the source or its mapping is broken

NOT_NULL: Final = "expect_column_values_to_not_be_null"
LENGTH: Final = "expect_column_value_lengths_to_be_between"
BETWEEN: Final = "expect_column_values_to_be_between"
IN_SET: Final = "expect_column_values_to_be_in_set"
OF_TYPE: Final = "expect_column_values_to_be_of_type"
NOT_BEFORE: Final = "expect_column_pair_values_a_to_be_greater_than_b"
COLUMNS: Final = "expect_table_columns_to_match_set"


@dataclass(frozen=True)
class Check:
    """One check. `name` is unique within its suite."""

    name: str
    type: str  #: Great Expectations' name of the expectation
    kwargs: Mapping[str, Any]  #: its arguments, the column excepted
    severity: Severity
    column: str = ""  #: empty for one about the whole table or about two columns

    def result(self, suite: str, outcome: Outcome, observed: Mapping[str, Any]) -> Result:
        """What the check came to, with the fact that it is about."""
        error = {"error": outcome.error} if outcome.error else {}
        return Result(
            suite,
            self.name,
            self.severity,
            self.type,
            outcome.success,
            outcome.unexpected_count,
            outcome.element_count,
            {**observed, **error},
            self.kwargs,
        )


@dataclass(frozen=True)
class Outcome:
    """What one expectation found, in one frame or in several added up."""

    success: bool = True
    unexpected_count: int = 0
    element_count: int = 0
    error: str = ""  #: why it could not be evaluated
    unexpected: tuple[int, ...] = ()  #: numbers of the rows, of a check of rows in one frame

    def __add__(self, other: Outcome) -> Outcome:
        """Both frames together, whose rows have no numbers in common."""
        return Outcome(
            self.success and other.success,
            self.unexpected_count + other.unexpected_count,
            self.element_count + other.element_count,
            self.error or other.error,
        )


def event_row_checks(limits: Limits, history_start: datetime) -> tuple[Check, ...]:
    """Checks of every row of `landing_events`.

    Args:
        limits: of `quantity` and `amount`.
        history_start: where the tenant's history begins.
    """
    earliest = min(CLOCK_ZERO, history_start.astimezone(UTC))
    ids = (*ENTITY_COLUMNS.values(), "group_id")
    return (
        *_shape("events"),
        Check("event_id.present", NOT_NULL, {}, "quarantine", "event_id"),
        Check("event.present", NOT_NULL, {}, "quarantine", "event"),
        _length("event_id", LONGEST_ID),
        _length("event", LONGEST_NAME),
        *(_length(column, LONGEST_ID) for column in ids),
        Check("subject.present", NOT_NULL, {}, "quarantine", SUBJECT),
        *(_between(f"{column}.sane", column, low, high) for column, (low, high) in limits.items()),
        _between("event_timestamp.sane", "event_timestamp", earliest, None),
        Check(
            "known_after_it_happened",
            NOT_BEFORE,
            {"column_A": "created_timestamp", "column_B": "event_timestamp", "or_equal": True},
            "quarantine",
        ),
        _between("event_id.unique", OCCURRENCE, None, 1),
    )


def attribute_row_checks() -> tuple[Check, ...]:
    """Checks of every row of `landing_attributes`."""
    kinds = {"value_set": sorted(ENTITY_COLUMNS)}
    return (
        *_shape("attributes"),
        Check("event_id.present", NOT_NULL, {}, "quarantine", "event_id"),
        Check("entity.known", IN_SET, kinds, "quarantine", "entity"),
        _length("event_id", LONGEST_ID),
        _length("entity_id", LONGEST_ID),
        _length("name", LONGEST_NAME),
        _length("value", LONGEST_VALUE, shortest=0),
        _between("valid_from.sane", "valid_from", *INSTANTS),
        _between("event_id.unique", OCCURRENCE, None, 1),
    )


def slice_checks(suite: str) -> tuple[Check, ...]:
    """Fact checks of any slice: how much of it was set aside."""
    return (
        _fact(suite, "set_aside", "set_aside_share", "warn", max_value=SET_ASIDE_NOTED),
        _fact(suite, "mostly_good", "set_aside_share_of_many", "fail", max_value=SET_ASIDE_REFUSED),
    )


def source_checks(suite: str, source: Source, *, items_known: bool) -> tuple[Check, ...]:
    """Fact checks of a source of events: freshness, volume, references.

    Args:
        items_known: whether the tenant has a source of item attributes to refer to.
    """
    low, high = USUAL_VOLUME
    freshest = source.freshness / timedelta(days=1)
    checks = [
        _fact(suite, "freshness", "lag_days", "warn", max_value=freshest),
        _fact(suite, "volume", "volume_ratio", "warn", min_value=low, max_value=high),
        _fact(suite, "data_loss", "lost_days", "warn", max_value=0),
    ]
    if items_known:
        checks.append(_fact(suite, "items_known", "orphan_share", "warn", max_value=ORPHANS))
    return tuple(checks)


def needs_checks(suite: str, needs: DataNeeds) -> tuple[Check, ...]:
    """Fact checks of one use case's needs, over all sources of events together."""
    low, high = needs.label_rate
    checks = [_fact(suite, "events", "needed_events", "warn", min_value=1)]
    for column in needs.entity_columns:
        some = {"min_value": 0, "strict_min": True}
        checks += [
            _fact(suite, f"{column}.any", f"{column}_share_of_many", "fail", **some),
            _fact(suite, f"{column}.most", f"{column}_share", "warn", min_value=0.5),
        ]
    for position, name in enumerate(needs.attributes):
        checks.append(
            _fact(suite, f"attribute.{name}", f"attribute_{position}", "warn", min_value=1)
        )
    if needs.label_event:
        checks.append(_fact(suite, "label", "label_rate", "warn", min_value=low, max_value=high))
    return tuple(checks)


def _shape(table: str) -> tuple[Check, ...]:
    schema = {"events": EVENTS, "attributes": ATTRIBUTES}[table]
    names = [*schema.names, *DERIVED[table]]
    types = {"double": "float64", "timestamp[us, tz=UTC]": "Timestamp"}
    return (
        Check("columns", COLUMNS, {"column_set": names, "exact_match": True}, "fail"),
        *(
            Check(
                f"{field.name}.type", OF_TYPE, {"type_": types[str(field.type)]}, "fail", field.name
            )
            for field in schema
            if str(field.type) in types
        ),
    )


def _length(column: str, longest: int, shortest: int = 1) -> Check:
    limits = {"min_value": shortest, "max_value": longest}
    return Check(f"{column}.length", LENGTH, limits, "quarantine", column)


def _between(name: str, column: str, low: object, high: object) -> Check:
    limits = {"min_value": low, "max_value": high}
    return Check(name, BETWEEN, limits, "quarantine", column)


def _fact(suite: str, name: str, fact: str, severity: Severity, **limits: Any) -> Check:
    return Check(name, BETWEEN, limits, severity, f"{suite}.{fact}")
