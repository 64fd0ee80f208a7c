"""Events as rows: which are scored, at which instant, and what follows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include import use_cases
from include.errors import ConfigError
from include.storage.canonical import EVENTS, TIMESTAMP
from include.use_cases.declaration import Baseline, Label
from include.use_cases.spines import labels, request_spine, scored_events, scoring_spine

FRAUD, LEADS = use_cases.get("fraud"), use_cases.get("lead_scoring")
AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
HORIZON = FRAUD.label.horizon
LATER = AS_OF + 2 * HORIZON


def days(number: float) -> timedelta:
    return timedelta(days=number)


def events(*rows: tuple[str, str | None, str | None, float, float]) -> pa.Table:
    """From (event, user, group, days after AS_OF, days until known)."""
    made = []
    for number, (event, user, group, after, delay) in enumerate(rows):
        at = AS_OF + days(after)
        made.append(
            {
                "tenant_id": "acme",
                "source": "bank",
                "event_id": f"{number:03}",
                "event": event,
                "user_id": user,
                "group_id": group,
                "event_timestamp": at,
                "created_timestamp": at + days(delay),
                "month": f"{at:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(made, EVENTS)


def paid(user: str | None, group: str | None, after: float, delay: float = 0.0) -> Any:
    return ("Payment Made", user, group, after, delay)


def test_every_payment_is_a_row_at_its_own_instant() -> None:
    """Keys with the user first, in the order of time."""
    found = scoring_spine(FRAUD, events(paid("b", "2", -1), paid("a", "1", -2)), AS_OF)
    assert found.column_names == ["user_id", "group_id", "as_of"]
    assert found.to_pylist() == [
        {"user_id": "a", "group_id": "1", "as_of": AS_OF - days(2)},
        {"user_id": "b", "group_id": "2", "as_of": AS_OF - days(1)},
    ]


def test_the_window_of_payments_is_half_open() -> None:
    """One at the interval's end belongs to the next interval."""
    history = events(paid("a", "1", -7), paid("a", "2", 0), paid("a", "3", -7.001))
    found = request_spine(FRAUD, history, AS_OF - days(7), AS_OF, AS_OF)
    assert found["group_id"].to_pylist() == ["1"]


def test_what_was_scored_before_is_not_scored_again() -> None:
    """Each payment is scored once: when it is new, or when it became known."""
    since = AS_OF - days(7)
    history = events(
        paid("a", "before", -8), paid("a", "late", -8, 2), paid("a", "new", -1), paid("a", "at", -7)
    )
    found = scoring_spine(FRAUD, history, AS_OF, since)
    assert found["group_id"].to_pylist() == ["late", "at", "new"]
    earlier = scoring_spine(FRAUD, history, since, since - days(7))
    assert earlier["group_id"].to_pylist() == ["before"]


def test_a_payment_that_is_not_known_yet_is_no_row() -> None:
    """Nor is one without an id, or without a user."""
    history = events(paid("a", "1", -1, 5), paid(None, "2", -1), paid("a", None, -1))
    assert scoring_spine(FRAUD, history, AS_OF).num_rows == 0


def test_a_payment_that_comes_twice_is_one_row() -> None:
    """The first event of a payment is the payment."""
    found = scoring_spine(FRAUD, events(paid("a", "1", -1), paid("a", "1", -2)), AS_OF)
    assert found["as_of"].to_pylist() == [AS_OF - days(2)]


@pytest.mark.parametrize(
    ("after", "label"),
    [(-0.1, 0), (0, 1), (10, 1), (HORIZON / days(1) - 1e-9, 1), (HORIZON / days(1), 0)],
)
def test_a_dispute_counts_within_the_payments_own_horizon(after: float, label: int) -> None:
    """Half-open from the payment on, whenever the snapshot was."""
    dispute = ("Payment Disputed", "a", "1", -1 + after, 0.0)
    history = events(paid("a", "1", -1), paid("a", "2", -1), dispute)
    spine = scoring_spine(FRAUD, history, AS_OF)
    assert labels(FRAUD, history, spine, LATER).to_pylist() == [label, 0]


def test_labels_of_what_was_scored_are_asked_for_at_the_payments_instants() -> None:
    """Weeks later a live metric finds the payments again, and their disputes."""
    history = events(
        paid("a", "1", -6),
        paid("a", "2", -1),
        paid("a", "not scored", -3),
        ("Payment Disputed", "a", "1", -2, 0.0),
        paid("a", "late", -4, 9),
    )
    found = scored_events(FRAUD, history, pa.array(["2", "1", "gone"]), AS_OF)
    assert found["as_of"].to_pylist() == [AS_OF - days(6), AS_OF - days(1)]
    assert labels(FRAUD, history, found, LATER).to_pylist() == [1, 0]


def test_a_dispute_needs_no_user() -> None:
    """The payment's id is what it is about."""
    history = events(paid("a", "1", -1), ("Payment Disputed", None, "1", 3, 0.0))
    assert labels(FRAUD, history, scoring_spine(FRAUD, history, AS_OF), LATER).to_pylist() == [1]


def test_a_dispute_that_became_known_too_late_does_not_count() -> None:
    """A label is what could be known at its time."""
    history = events(paid("a", "1", -1), ("Payment Disputed", "a", "1", 1, 900.0))
    assert labels(FRAUD, history, scoring_spine(FRAUD, history, AS_OF), LATER).to_pylist() == [0]


def test_a_label_that_nobody_can_know_yet_is_refused() -> None:
    """The youngest payment decides."""
    history = events(paid("a", "1", -20), paid("a", "2", -1))
    spine = scoring_spine(FRAUD, history, AS_OF)
    known = AS_OF + HORIZON - days(1)
    assert labels(FRAUD, history, spine, known).to_pylist() == [0, 0]
    with pytest.raises(ConfigError, match="take earlier events"):
        labels(FRAUD, history, spine, known - timedelta(microseconds=1))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 90)), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 180)), max_size=12),
)
def test_labels_are_what_a_loop_over_the_events_would_say(
    rows: list[tuple[str, int]], disputes: list[tuple[str, int]]
) -> None:
    """Any order, repeats and several disputes of one payment included."""
    history = events(*(("Payment Disputed", "u", group, at, 0.0) for group, at in disputes))
    spine = pa.table(
        {
            "user_id": pa.array(["u"] * len(rows), pa.string()),
            "group_id": pa.array([group for group, _ in rows], pa.string()),
            "as_of": pa.array([AS_OF + days(at) for _, at in rows], TIMESTAMP),
        }
    )
    span = HORIZON / days(1)
    wanted = [
        float(any(group == other and 0 <= when - at < span for other, when in disputes))
        for group, at in rows
    ]
    found = labels(FRAUD, history, spine, AS_OF + days(400)).to_pylist()
    assert found == wanted


def test_a_lead_that_has_become_a_customer_is_not_scored_any_more() -> None:
    """A deal ends it, a coupon does not; nor does a deal that is not known yet."""
    history = events(
        *(("Page Viewed", user, None, -3, 0.0) for user in "abcd"),
        ("Deal Won", "b", None, -2, 0.0),
        ("Coupon Applied", "c", None, -2, 0.0),
        ("Deal Won", "d", None, -2, 30.0),
    )
    assert scoring_spine(LEADS, history, AS_OF)["user_id"].to_pylist() == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entity": "user_id"}, "group_id"),
        ({"label": Label("absent", HORIZON, events=("Payment Disputed",))}, "outcome follows"),
        ({"label": Label("present", HORIZON)}, "name it"),
        ({"label": Label("present", HORIZON, events=("Payment Made",))}, "name it"),
        ({"events": ("Payment Made", "Order Completed")}, "own `events`"),
        ({"baselines": (Baseline("ecod"),)}, "needs the `columns`"),
        ({"baselines": (Baseline("ecod", columns=("amount",)),)}, "amount"),
        ({"baselines": (Baseline("big", "request__amount", columns=("x",)),)}, "reads no"),
    ],
)
def test_an_impossible_use_case_of_events_is_refused(change: dict[str, Any], message: str) -> None:
    """What cannot be scored event by event is said when it is declared."""
    with pytest.raises(ConfigError, match=message):
        replace(FRAUD, **change)


def test_a_use_case_of_events_knows_its_labels_a_snapshot_later() -> None:
    """Its snapshots are spans of events, so that the last label ends one span later."""
    assert FRAUD.reach == FRAUD.snapshots.every + FRAUD.label.horizon
    assert LEADS.reach == LEADS.label.horizon
    assert FRAUD.columns[0] == "request__amount"
    assert FRAUD.fingerprint != FRAUD.features.fingerprint
    assert LEADS.fingerprint == LEADS.features.fingerprint
