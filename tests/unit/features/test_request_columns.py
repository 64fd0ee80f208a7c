"""What an event says of itself: known with it, compared with what was known before it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.errors import ConfigError, UnknownNameError
from include.features.declarations import Derived, EventStream
from include.features.expressions import Difference, Feature, Ratio
from include.features.request_columns import with_request
from include.features.requests import RequestColumns
from include.storage.canonical import EVENTS, REPLACED, TIMESTAMP

NOON = datetime(2024, 6, 3, 12, tzinfo=UTC)  # a Monday
PAYMENTS = EventStream(("Payment Made",))
REQUEST = RequestColumns(
    PAYMENTS,
    numbers=("amount", "local_hour", "local_weekday", "properties.risk"),
    new=("properties.device", "account_id"),
    derived=(
        Derived("more", Difference(Feature("request__amount"), Feature("habits__mean"))),
        Derived("times", Ratio(Feature("request__amount"), Feature("habits__mean"))),
    ),
)


def payments(*rows: dict[str, Any]) -> pa.Table:
    made = []
    for number, row in enumerate(rows):
        at = NOON + row.get("after", timedelta(0))
        told = {key: row[key] for key in ("device", "risk") if key in row}
        made.append(
            {
                "tenant_id": "acme",
                "source": "bank",
                "event_id": row.get("id", f"e{number}"),
                "event": row.get("event", "Payment Made"),
                "user_id": row.get("user", "u"),
                "account_id": row.get("to"),
                "group_id": row.get("payment", f"p{number}"),
                "amount": row.get("amount"),
                "properties": json.dumps(told),
                "event_timestamp": at,
                "created_timestamp": at + row.get("delay", timedelta(0)),
                "month": f"{at:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(made, EVENTS)


def answered(
    events: pa.Table,
    *asked: tuple[str, timedelta],
    mean: float | None = None,
    zone: str = "UTC",
    known_at: datetime | None = None,
) -> list[dict[str, Any]]:
    table = pa.table(
        {
            "user_id": ["u"] * len(asked),
            "group_id": [name for name, _ in asked],
            "as_of": pa.array([NOON + after for _, after in asked], TIMESTAMP),
            "habits__mean": pa.array([mean] * len(asked), pa.float64()),
        }
    )
    return with_request(REQUEST, table, events, zone, known_at).to_pylist()


HOUR = timedelta(hours=1)


def test_the_events_own_columns_are_its_own_in_local_time() -> None:
    """Amount, properties and the tenant's clock; not those of other payments."""
    events = payments({"amount": 5.0, "risk": 0.5}, {"amount": 7.0, "after": HOUR})
    (row,) = answered(events, ("p0", 0 * HOUR), zone="Asia/Tokyo")
    assert row["request__amount"] == 5.0
    assert row["request__properties_risk"] == 0.5
    assert (row["request__local_hour"], row["request__local_weekday"]) == (21, 0)


def test_rows_keep_their_order_and_stand_before_the_instant() -> None:
    """Nothing is sorted, and what comes before `as_of` is not a feature."""
    events = payments({"amount": 5.0}, {"amount": 7.0, "after": HOUR})
    found = answered(events, ("p1", HOUR), ("p0", 0 * HOUR), ("p1", HOUR))
    assert [row["request__amount"] for row in found] == [7.0, 5.0, 7.0]
    names = list(found[0])
    assert set(names[: names.index("as_of")]) == {"user_id", "group_id", *REQUEST.columns}


@pytest.mark.parametrize(
    ("device", "user", "after", "delay", "new"),
    [
        ("phone", "u", -HOUR, 0 * HOUR, 0.0),
        ("tablet", "u", -HOUR, 0 * HOUR, 1.0),
        ("phone", "somebody else", -HOUR, 0 * HOUR, 1.0),
        ("phone", "u", 0 * HOUR, 0 * HOUR, 1.0),
        ("phone", "u", HOUR, 0 * HOUR, 1.0),
        ("phone", "u", -HOUR, 2 * HOUR, 1.0),
        ("phone", "u", -HOUR, HOUR, 0.0),
    ],
    ids=["before", "other text", "other user", "same time", "after", "known later", "known now"],
)
def test_a_text_is_new_unless_an_earlier_event_was_known_to_have_it(
    device: str, user: str, after: timedelta, delay: timedelta, new: float
) -> None:
    """An event at the same instant is not earlier, and one not yet known is none."""
    other = {"device": device, "user": user, "after": after, "delay": delay}
    (row,) = answered(payments({"device": "phone"}, other), ("p0", 0 * HOUR))
    assert row["request__new_properties_device"] == new


def test_an_event_without_a_text_says_nothing_of_it() -> None:
    """Missing is neither new nor known."""
    (row,) = answered(payments({"amount": 1.0}), ("p0", 0 * HOUR))
    assert row["request__new_properties_device"] is None
    assert row["request__new_account_id"] is None


def test_events_of_other_streams_do_not_count() -> None:
    """A device that was seen elsewhere is new to payments."""
    events = payments({"device": "d"}, {"device": "d", "after": -HOUR, "event": "Signed In"})
    (row,) = answered(events, ("p0", 0 * HOUR))
    assert row["request__new_properties_device"] == 1


@pytest.mark.parametrize(
    ("mean", "more", "times"), [(2.0, 4.0, 3.0), (0.0, 6.0, None), (None, None, None)]
)
def test_derived_columns_combine_the_event_with_its_past(
    mean: float | None, more: float | None, times: float | None
) -> None:
    """A null operand, or no finite value, gives null."""
    (row,) = answered(payments({"amount": 6.0}), ("p0", 0 * HOUR), mean=mean)
    assert (row["request__more"], row["request__times"]) == (more, times)


def test_of_two_rows_of_one_payment_at_one_instant_the_first_by_id_counts() -> None:
    """The answer does not depend on the order of the table."""
    twice = ({"payment": "p", "amount": 2.0, "id": "b"}, {"payment": "p", "amount": 1.0, "id": "a"})
    for rows in (twice, twice[::-1]):
        (row,) = answered(payments(*rows), ("p", 0 * HOUR))
        assert row["request__amount"] == 1.0


def test_a_row_that_is_no_event_is_refused() -> None:
    """A spine of another version of the events is told from one of this version."""
    with pytest.raises(ConfigError, match="1 rows to score are no event"):
        answered(payments({"amount": 1.0}), ("p0", HOUR))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"numbers": ("event",)}, "reads a number"),
        ({"numbers": ("item.price",)}, "attributes belong in a view"),
        ({"numbers": (), "new": (), "derived": ()}, "a Request has columns"),
        ({"numbers": ("amount", "amount")}, "each once"),
        ({"by": "group_id"}, "join key"),
        ({"by": "device"}, "join key"),
    ],
)
def test_impossible_requests_are_refused(given: dict[str, Any], message: str) -> None:
    """A declaration checks itself, with the known names."""
    with pytest.raises(ConfigError, match=message):
        RequestColumns(**{"stream": PAYMENTS, "numbers": ("amount",), **given})


def test_a_derived_column_of_something_unknown_is_refused() -> None:
    """Whatever is calculated with must be there."""
    with pytest.raises(UnknownNameError, match="habits__mean"):
        REQUEST.check_known({"habits__std": "number"})
    REQUEST.check_known({"habits__mean": "number"})


def test_the_fingerprint_follows_the_meaning() -> None:
    """Another column, or another service, is another fingerprint; the same is the same."""
    changed = RequestColumns(PAYMENTS, numbers=("amount",))
    assert REQUEST.fingerprint("f") != changed.fingerprint("f")
    assert changed.fingerprint("f") != changed.fingerprint("g")
    assert changed.fingerprint("f") == RequestColumns(PAYMENTS, numbers=("amount",)).fingerprint(
        "f"
    )


def test_of_a_corrected_request_the_version_known_then_is_scored() -> None:
    """Without an instant it is the first: a later one may know what became of the request. What was
    new to a payment is told by what was known at its own instant."""
    events = payments(
        {"id": "a", "payment": "a", "amount": 1.0, "to": "shop"},
        {"id": "a", "payment": "a", "amount": 9.0, "to": "bank", "delay": 3 * HOUR},
        {"id": "b", "payment": "b", "amount": 2.0, "to": "shop", "after": 2 * HOUR},
        {"id": "c", "payment": "c", "amount": 2.0, "to": "shop", "after": 9 * HOUR},
        {"id": "d", "payment": "d", "amount": 2.0, "to": "bank", "after": 9 * HOUR},
    )
    replaced = pa.array([NOON + 3 * HOUR, *[None] * 4], TIMESTAMP)
    events = events.append_column(REPLACED, replaced)
    asked = [("a", 0 * HOUR), ("b", 2 * HOUR), ("c", 9 * HOUR), ("d", 9 * HOUR)]
    rows = answered(events, *asked)
    assert [row["request__amount"] for row in rows] == [1.0, 2.0, 2.0, 2.0]
    assert [row["request__new_account_id"] for row in rows] == [1.0, 0.0, 0.0, 0.0]
    for hours, amount in ((2, 1.0), (3, 9.0)):
        rows = answered(events, *asked[:2], known_at=NOON + hours * HOUR)
        assert rows[0]["request__amount"] == amount
