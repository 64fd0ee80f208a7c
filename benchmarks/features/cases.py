"""Generated cases: one user each, with events and facts of its own and one instant to look at.

Built to leak: instants at the edges of windows, exactly at `as_of` and one microsecond either side;
rows that become known at `as_of`, just after it, or weeks later; ties, repeats, nulls, values
that cancel or overflow; clock changes, leap days and the turn of the year.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from include.features.conditions import at_least, between, equals, missing
from include.features.declarations import (
    ALL_HISTORY,
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.expressions import Feature, Log1p, Ratio
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP

ZONE: Final = "America/New_York"
TENANT: Final = "cases"
ORDER: Final = "Order Completed"
MICROSECOND: Final = timedelta(microseconds=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
WINDOWS: Final = (HOUR, DAY, 30 * DAY, 365 * DAY, ALL_HISTORY)

#: Instants to look at; a case's number decides which one it takes.
INSTANTS: Final = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in (
        "2024-03-10 06:59:59.999999",  # clocks are put forward in New York at 07:00
        "2024-03-10 07:00",
        "2024-03-11 04:00",  # the end of the day with 23 hours
        "2024-11-03 05:30",  # 01:30 for the first time
        "2024-11-03 06:30",  # 01:30 for the second time
        "2024-11-04 05:00",  # the end of the day with 25 hours
        "2024-02-29 05:00",
        "2024-03-01 05:00",
        "2025-03-01 00:00",  # a year after a leap day is 366 days
        "2025-01-01 05:00",
        "2024-12-31 23:59:59.999999",
        "2024-07-14 15:09:26.535897",
    )
)

_TEXTS: Final = (None, "", "tea", "ale", "ä", "Tea")
_AMOUNTS: Final = (
    *(None, math.nan, math.inf, -math.inf, 0.0, -0.0, 0.1, 0.2, 0.3, -5.0, 1e-9, 7.25),
    *(1e15, -1e15, 1e15 + 0.5, 1e300, 5e-324),
)
_DOCUMENTS: Final = (
    *(None, "", "{", "[1]", "{}", '{"grade": 2.5}', '{"grade": "7"}', '{"grade": NaN}'),
    *('{"grade": "x"}', '{"grade": true}'),
)

_STREAM: Final = EventStream((ORDER,), lookups=(AttributeLookup("item", "category"),))
SERVICE: Final = FeatureService(
    "cases",
    (
        FeatureView(
            "all",
            USER,
            _STREAM,
            (
                Aggregation("count", windows=WINDOWS),
                *(
                    Aggregation(function, "amount", WINDOWS)
                    for function in ("sum", "mean", "min", "max", "std", "first", "last")
                ),
                Aggregation("distinct_count", "item_id", WINDOWS),
                Aggregation("entropy", "item_id", (30 * DAY, ALL_HISTORY)),
                Aggregation("days_active", windows=(7 * DAY, ALL_HISTORY)),
                Aggregation("time_since_last", windows=(DAY, ALL_HISTORY)),
                Aggregation("time_since_first", windows=(30 * DAY, ALL_HISTORY)),
                Aggregation("first", "item_id", (30 * DAY,)),
                Aggregation("last", "item.category", (ALL_HISTORY,)),
                Aggregation("max", "properties.grade", (30 * DAY,)),
                Aggregation("trend", windows=(DAY, 30 * DAY)),
                Aggregation("trend", "quantity", (7 * DAY,)),
                Aggregation("count", None, (30 * DAY,), (at_least("amount", 0.2),), "large"),
                Aggregation("sum", "quantity", (DAY,), (equals("item.category", "drinks"),), "dr"),
                Aggregation("count", None, (7 * DAY,), (between("local_hour", 0, 2),), "night"),
                Aggregation("count", None, (7 * DAY,), (missing("group_id"),), "loose"),
            ),
            derived=(
                Derived("share_1d", Ratio(Feature("count_1d"), Feature("count_all"))),
                Derived("log_count", Log1p(Feature("count_all"))),
            ),
            attributes=(
                AttributeLookup("user", "grade"),
                AttributeLookup("user", "score", "number"),
            ),
            ttl=400 * DAY,
        ),
    ),
)
#: Counts and order statistics: equal to the bit on every engine. The others to 1e-9, relatively.
EXACT: Final = frozenset(
    name
    for name, kind in SERVICE.columns.items()
    if kind != "number"
    or name == "all__score"
    or any(f"__{f}_" in name for f in ("min", "max", "first", "last", "time_since"))
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Cases:
    """Cases that share an instant. Rows of events and facts are in no order."""

    as_of: datetime
    users: tuple[str, ...]
    events: tuple[Row, ...]
    facts: tuple[Row, ...]

    def knowable(self) -> Cases:
        """Without every row that `as_of` cannot know."""
        return Cases(
            self.as_of,
            self.users,
            tuple(e for e in self.events if self._is_known(e, "event_timestamp", open_end=True)),
            tuple(f for f in self.facts if self._is_known(f, "valid_from", open_end=False)),
        )

    def tampered(self) -> Cases:
        """With other values in every row that `as_of` cannot know, and with more such rows."""
        events, facts = [], []
        for event in self.events:
            hidden = not self._is_known(event, "event_timestamp", open_end=True)
            events.append(event | _TAMPERED if hidden else event)
        for fact in self.facts:
            hidden = not self._is_known(fact, "valid_from", open_end=False)
            facts.append(fact | {"value": "99"} if hidden else fact)
        for number, user in enumerate(self.users):
            late = _event(user, f"late-{number}", self.as_of - HOUR, self.as_of + MICROSECOND)
            now = _event(user, f"now-{number}", self.as_of, self.as_of)
            events += [late | _TAMPERED, now | _TAMPERED]
        return Cases(self.as_of, self.users, tuple(events), tuple(facts))

    def spine(self) -> pa.Table:
        """One row per case."""
        instants = pa.array([self.as_of] * len(self.users), TIMESTAMP)
        return pa.table({"user_id": pa.array(self.users, pa.string()), "as_of": instants})

    def _is_known(self, row: Row, instant: str, *, open_end: bool) -> bool:
        past = row[instant] < self.as_of if open_end else row[instant] <= self.as_of
        return bool(past and row["created_timestamp"] <= self.as_of)


def generate(cases: int, seed: int) -> list[Cases]:
    """So many cases, spread over `INSTANTS`."""
    draw = random.Random(seed)
    items = [_item_fact(draw, number) for number in range(12)]
    found = []
    for index, as_of in enumerate(INSTANTS):
        users = tuple(f"u{number:06d}" for number in range(index, cases, len(INSTANTS)))
        events = [event for user in users for event in _events(draw, user, as_of)]
        facts = [fact for user in users for fact in _facts(draw, user, as_of)] + items
        draw.shuffle(events)
        found.append(Cases(as_of, users, tuple(events), tuple(facts)))
    return [one for one in found if one.users]


def event_table(rows: list[Row]) -> pa.Table:
    """Canonical events."""
    return pa.Table.from_pylist(rows, schema=EVENTS)


def fact_table(rows: list[Row]) -> pa.Table:
    """Canonical attributes."""
    return pa.Table.from_pylist(rows, schema=ATTRIBUTES)


def _events(draw: random.Random, user: str, as_of: datetime) -> list[Row]:
    ages: list[timedelta] = []
    rows = []
    for number in range(draw.choice((0, 1, 2, 3, 5, 8, 12))):
        age = draw.choice(ages) if ages and draw.random() < 0.2 else _age(draw)
        ages.append(age)
        at = as_of - age
        row = _event(user, f"{user}-{number}", at, _created(draw, at, as_of)) | {
            "event": ORDER if draw.random() < 0.9 else "Product Viewed",
            "item_id": draw.choice(_TEXTS),
            "group_id": draw.choice((None, "b1", "b2")),
            "quantity": draw.choice((None, 0.0, 0.5, 1.0, 2.0, 3.0)),
            "amount": draw.choice(_AMOUNTS),
            "properties": draw.choice(_DOCUMENTS),
        }
        rows.append(row)
        if draw.random() < 0.15:  # another source tells of it too, perhaps later
            again = {"source": "app", "created_timestamp": _created(draw, at, as_of)}
            rows.append(row | again)
    return rows


def _age(draw: random.Random) -> timedelta:
    """How long before `as_of`; negative is after it."""
    edge = draw.choice((HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 60 * DAY, 365 * DAY, timedelta(0)))
    kinds: tuple[Callable[[], timedelta], ...] = (
        lambda: edge,
        lambda: edge + MICROSECOND,
        lambda: edge - MICROSECOND,
        lambda: edge * draw.random(),
        lambda: timedelta(seconds=draw.randrange(3 * 86_400)),
        lambda: timedelta(days=draw.randrange(800), seconds=draw.randrange(86_400)),
        lambda: -timedelta(seconds=draw.randrange(20 * 86_400)),
    )
    return draw.choice(kinds)()


def _created(draw: random.Random, at: datetime, as_of: datetime) -> datetime:
    """When the row became known: mostly at once, else late in every way that matters."""
    if draw.random() < 0.5:
        return at
    exact = (as_of, as_of + MICROSECOND, as_of - MICROSECOND, as_of + 14 * DAY, as_of - 3 * DAY)
    delays = (HOUR, DAY, 10 * DAY, -DAY)
    return draw.choice((*exact, *(at + delay for delay in delays)))


def _facts(draw: random.Random, user: str, as_of: datetime) -> list[Row]:
    rows = []
    for number in range(draw.choice((0, 0, 1, 2, 4))):
        at = as_of - _age(draw)
        name, value = draw.choice(
            (("grade", "gold"), ("grade", None), ("score", "3"), ("score", "x"))
        )
        fact = _fact("user", user, name, value, at, _created(draw, at, as_of))
        rows.append(fact | {"event_id": f"{user}-{number}"})
    return rows


def _item_fact(draw: random.Random, number: int) -> Row:
    """Facts of items are older than every event: what an event carries must not hide a leak."""
    item, value = draw.choice(("tea", "ale", "ä")), draw.choice(("drinks", "3", "food", None))
    at = datetime(2020, 1, 1, tzinfo=UTC) + draw.randrange(100) * DAY
    return _fact("item", item, "category", value, at, at) | {"event_id": f"item-{number}"}


_TAMPERED: Final[Row] = {
    "event": ORDER,
    "item_id": "tampered",
    "group_id": None,
    "quantity": 99.0,
    "amount": 123_456_789.0,
    "properties": json.dumps({"grade": 99}),
}


def _event(user: str, event_id: str, at: datetime, created: datetime) -> Row:
    return {
        "tenant_id": TENANT,
        "source": "shop",
        "event_id": event_id,
        "user_id": user,
        "event_timestamp": at,
        "created_timestamp": created,
        "month": f"{created:%Y-%m}",
    }


def _fact(
    entity: str, entity_id: str, name: str, value: str | None, at: datetime, created: datetime
) -> Row:
    return {
        "tenant_id": TENANT,
        "source": "shop",
        "entity": entity,
        "entity_id": entity_id,
        "name": name,
        "value": value,
        "valid_from": at,
        "created_timestamp": created,
        "month": f"{created:%Y-%m}",
    }
