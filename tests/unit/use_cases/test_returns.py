"""Returns are no purchases, in every template: see docs/returns.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import use_cases
from include.errors import ConfigError
from include.features import in_memory, vectorized
from include.features.library.streams import PURCHASES
from include.features.request_columns import with_request
from include.features.spine import Spine
from include.features.vectorized.columns import EventColumns
from include.models.baselines import BaselinePredictor
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.use_cases.declaration import Baseline, UseCase
from include.use_cases.kept import kept, returned
from include.use_cases.spines import (
    basket_spine,
    labels,
    matured_labels,
    popular_items,
    relevant_items,
    scoring_spine,
    wanted,
    wanted_pairs,
)

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
LATER = AS_OF + timedelta(days=90)
CHURN, RANKING = use_cases.get("churn"), use_cases.get("recommendation")
DEMAND, BASKETS = use_cases.get("demand"), use_cases.get("bought_together")
FRAUD, LEADS = use_cases.get("fraud"), use_cases.get("lead_scoring")
PLAYLIST, MATCHING = use_cases.get("weekly_playlist"), use_cases.get("matching")
ENGAGEMENT = use_cases.get("engagement")
NAMES = sorted(use_cases.names())


@dataclass(frozen=True)
class Row:
    """One event, so many days after `AS_OF`."""

    user: str | None
    item: str | None
    days: float
    quantity: float | None = 1.0
    amount: float | None = None
    event: str = "Order Completed"
    group: str | None = None


def back(user: str | None, item: str | None, days: float, **more: Any) -> Row:
    """One piece that is brought back."""
    return Row(user, item, days, **{"quantity": -1.0, **more})


def history(*rows: Row) -> pa.Table:
    made = []
    for number, row in enumerate(rows):
        at = AS_OF + timedelta(days=row.days)
        made.append(
            {
                "tenant_id": "acme",
                "source": "shop",
                "event_id": f"{number:04}",
                "event": row.event,
                "user_id": row.user,
                "item_id": row.item,
                "group_id": row.group,
                "quantity": row.quantity,
                "amount": row.amount,
                "event_timestamp": at,
                "created_timestamp": at,
                "month": f"{at:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(made, EVENTS)


def computed(case: UseCase, spine: pa.Table, events: pa.Table) -> pa.Table:
    """Features of the rows, by the fast engine, after the reference agreed."""
    nothing = ATTRIBUTES.empty_table()
    fast, reference = (
        engine.compute(case.features, Spine(spine), events, nothing, "UTC")
        for engine in (vectorized, in_memory)
    )
    for name in case.features.columns:
        for one, other in zip(fast[name].to_pylist(), reference[name].to_pylist(), strict=True):
            assert one == other or math.isclose(one, other, rel_tol=1e-9), name
    return fast


def rule(case: UseCase, name: str) -> BaselinePredictor:
    (declared,) = (one for one in case.baselines if one.name == name)
    assert isinstance(declared, Baseline)
    return BaselinePredictor(declared.column, declared.descending, declared.then)


def named(case: UseCase, **changes: Any) -> Row:
    """An event of the use case's first name that has every key."""
    row = {"quantity": -1.0, "event": case.events[0], "group": "g", **changes}
    return Row("only", "thing", -1, **row)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [{"quantity": -1.0}, {"quantity": 2.0, "amount": -5.0}])
def test_nobody_is_scored_for_a_return(name: str, sign: dict[str, float]) -> None:
    """In every template: what was only brought back is not active, by quantity or by amount."""
    case = use_cases.get(name)
    bought, brought = history(named(case, quantity=3.0)), history(named(case, **sign))
    assert scoring_spine(case, brought, AS_OF).num_rows == 0
    assert scoring_spine(case, pa.concat_tables([bought, brought]), AS_OF).num_rows == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quantity", [None, 0.0, -0.0, math.nan])
@pytest.mark.parametrize("amount", [None, 0.0])
def test_a_quantity_of_nothing_is_an_event(
    name: str, quantity: float | None, amount: float | None
) -> None:
    """In every template: missing or zero takes nothing back, and is an event like any other."""
    case = use_cases.get(name)
    events = history(named(case, quantity=quantity, amount=amount))
    assert scoring_spine(case, events, AS_OF).num_rows == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_return_changes_only_sums_and_net_counts(name: str) -> None:
    """In every template: no count, recency or rhythm of a feature sees a return."""
    case = use_cases.get(name)
    stays = [named(case, quantity=3.0, amount=9.0, group="g")]
    before = history(*stays)
    after = history(*stays, named(case, quantity=-1.0, amount=-3.0, group="h"))
    spine = scoring_spine(case, before, AS_OF)
    assert scoring_spine(case, after, AS_OF).equals(spine)
    one, other = computed(case, spine, before), computed(case, spine, after)
    changed = {n for n in case.features.columns if one[n].to_pylist() != other[n].to_pylist()}
    assert not {
        n for n in changed if not any(part in n for part in ("sum", "net", *DERIVED_OF_SUMS))
    }


#: Derived features that are made of sums of quantity or amount, or of net counts.
DERIVED_OF_SUMS = (
    "spend__", "basket_size__amount", "basket_size__quantity", "average_value", "item_demand__",
    "season__", "lines_per_user", "item_popularity__trend",
)  # fmt: skip


@pytest.mark.parametrize("event", ["Order Refunded", "Order Cancelled"])
@pytest.mark.parametrize("quantity", [1.0, -1.0, None])
def test_an_event_named_as_a_refund_is_read_by_no_template(
    event: str, quantity: float | None
) -> None:
    """It makes nobody active, not even as a newcomer, is no outcome, and nets nothing."""
    refund = Row("u", "i", -1, quantity, event=event, group="g")
    later = Row("u", "i", 1, quantity, event=event, group="g")
    for name in NAMES:
        assert scoring_spine(use_cases.get(name), history(refund), AS_OF).num_rows == 0
    sold = Row("u", "i", -2, 5.0)
    events = history(sold, refund, later)
    for case in (CHURN, DEMAND):
        spine = scoring_spine(case, events, AS_OF)
        assert computed(case, spine, events).equals(computed(case, spine, history(sold)))
        expected = labels(case, history(sold), spine, LATER)
        assert labels(case, events, spine, LATER).equals(expected)


def test_who_only_brings_back_has_churned() -> None:
    """A return in the horizon is no order; an order that is brought back later was one."""
    active = [Row(user, None, -3) for user in ("back", "buys", "none")]
    events = history(*active, back("back", None, 5), Row("buys", None, 5), back("buys", None, 6))
    spine = scoring_spine(CHURN, events, AS_OF)
    assert labels(CHURN, events, spine, LATER).to_pylist() == [1, 0, 1]


def test_recency_and_frequency_are_of_purchases() -> None:
    """The baselines of churn look past returns; spend nets them."""
    events = history(
        Row("u", "i", -20, 2, 10.0, group="a"), back("u", "i", -1, amount=-5.0, group="b")
    )
    spine = scoring_spine(CHURN, events, AS_OF)
    (row,) = computed(CHURN, spine, events).to_pylist()
    assert row["recency__time_since_last_all"] == 20
    assert row["frequency__distinct_count_group_id_90d"] == 1
    assert row["spend__sum_amount_90d"] == 5
    assert row["basket_size__quantity_90d"] == 1
    assert row["spend__bought_mean_amount_90d"] == 10


def test_what_is_always_brought_back_is_not_recommended() -> None:
    """It is nobody's own, it is not popular, and rules of thumb rank it last."""
    rows = []
    for number in range(12):
        user = f"u{number:02}"
        rows += [Row(user, "boots", -20), back(user, "boots", -10), Row(user, "tea", -20 - number)]
        rows += [Row(user, "boots", -8), back(user, "boots", -2)]
    rows += [Row("keeps", "boots", -9), Row("new", None, -1, None, event="Product Viewed")]
    events = history(*rows)
    assert popular_items(RANKING, events, AS_OF) == ["tea", "boots"]
    spine = scoring_spine(RANKING, events, AS_OF)
    table = computed(RANKING, spine, events)
    pairs = list(zip(spine["user_id"].to_pylist(), spine["item_id"].to_pylist(), strict=True))
    for name in ("popularity", "own_history"):
        score = dict(zip(pairs, rule(RANKING, name).predict(table).tolist(), strict=True))
        for user in {user for user, _ in pairs} - {"keeps"}:
            assert score[user, "boots"] < score[user, "tea"], (name, user)
    assert ("new", "boots") in pairs  # one of those who took it home kept it


def test_who_brought_all_of_it_back_has_not_had_it() -> None:
    """Where what was had is dropped, it may be listed again and counts as wanted again."""
    rows = [Row("u", "tea", -20), back("u", "tea", -10), Row("u", "ale", -20, 3)]
    rows += [back("u", "ale", -10, quantity=-2.0), Row("v", "tea", -5), Row("v", "ale", -5)]
    events = history(*rows, Row("u", "tea", 3), Row("u", "ale", 3))
    drop = RANKING.with_seen("drop")
    spine = scoring_spine(drop, events, AS_OF)
    assert spine.filter(pc.equal(spine["user_id"], "u"))["item_id"].to_pylist() == ["tea"]
    assert labels(drop, events, spine, LATER).to_pylist() == [1]
    assert relevant_items(drop, events, AS_OF, LATER) == {"u": 1}


def test_what_is_brought_back_within_the_horizon_was_not_wanted() -> None:
    """Nor offered rightly; what is bought anew after it was brought back was."""
    rows = [Row("u", "tea", -20), Row("u", "ale", -20), Row("u", "ink", -20)]
    rows += [Row("u", "tea", 3), back("u", "tea", 9)]
    rows += [back("u", "ale", 3), Row("u", "ale", 9)]
    rows += [Row("u", "ink", 3), back("u", "ink", 40)]
    events = history(*rows)
    spine = scoring_spine(RANKING, events, AS_OF)
    assert labels(RANKING, events, spine, LATER).to_pylist() == [1, 1, 0]
    assert spine["item_id"].to_pylist() == ["ale", "ink", "tea"]
    matured = matured_labels(RANKING, events, AS_OF, ["u"], LATER)
    assert matured["item_id"].to_pylist() == ["ale", "ink"]


def test_demand_is_net_and_what_only_comes_back_is_not_forecast() -> None:
    """Pieces brought back count against those sold, in the label and in every sum of the past."""
    events = history(
        Row("u", "tea", -3, 5.0, 25.0), back("u", "tea", -2, quantity=-2.0, amount=-10.0),
        back("v", "ale", -2), Row("u", "tea", 2, 4.0), back("u", "tea", 3),
    )  # fmt: skip
    spine = scoring_spine(DEMAND, events, AS_OF)
    assert spine["item_id"].to_pylist() == ["tea"]
    assert labels(DEMAND, events, spine, LATER).to_pylist() == [3]
    (row,) = computed(DEMAND, spine, events).to_pylist()
    assert row["item_demand__sum_quantity_7d"] == 3
    assert row["item_demand__bought_count_7d"] == 1
    assert row["item_offer__price_7d"] == 5
    assert row["tenant_orders__average_value_28d"] is None  # no baskets named


def test_a_line_voided_in_its_basket_lies_in_none() -> None:
    """A basket holds what was taken home; what a later receipt brings back was bought together."""
    events = history(
        Row("u", "tea", 1, group="a"), Row("u", "ale", 1, group="a"),
        Row("u", "ink", 1, group="a"), back("u", "ink", 1, group="a"),
        back("u", "ale", 5, group="b"), Row("u", "tea", 5, group="b"),
    )  # fmt: skip
    rows = basket_spine(BASKETS, events, AS_OF, LATER).to_pylist()
    assert [(one["group_id"], one["item_id"]) for one in rows] == [("a", "ale"), ("a", "tea")]
    assert wanted_pairs(BASKETS, events, AS_OF, LATER).num_rows == 2


def test_a_refunded_payment_is_not_scored_and_not_counted() -> None:
    """A refund is no payment, while a dispute is one whatever the sign of its amount."""
    events = history(
        Row("u", None, -3, None, 50.0, "Payment Made", "p"),
        Row("u", None, -2, None, -50.0, "Payment Made", "q"),
        Row("u", None, -1, None, 20.0, "Payment Made", "r"),
        Row("u", None, 4, None, -50.0, "Payment Disputed", "p"),
    )
    spine = scoring_spine(FRAUD, events, AS_OF)
    assert spine["group_id"].to_pylist() == ["p", "r"]
    assert labels(FRAUD, events, spine, LATER).to_pylist() == [1, 0]
    table = computed(FRAUD, spine, events)
    assert FRAUD.request is not None
    table = with_request(FRAUD.request, table, events, "UTC")
    assert table["payment_velocity__count_7d"].to_pylist() == [0, 1]
    assert table["payment_velocity__sum_amount_7d"].to_pylist() == [0, 50]
    assert table["request__amount"].to_pylist() == [50, 20]


def test_a_deal_that_is_taken_back_is_none() -> None:
    """A reversal is neither a conversion, nor the end of a lead, nor its activity."""
    won = {"event": "Deal Won", "quantity": None}
    viewed = [Row(user, None, -3, None, event="Page Viewed") for user in ("a", "b", "c")]
    events = history(
        *viewed, Row("a", None, -1, amount=-9.0, **won), Row("b", None, -1, amount=9.0, **won),
        Row("a", None, 3, amount=9.0, **won), Row("c", None, 3, amount=-9.0, **won),
    )  # fmt: skip
    spine = scoring_spine(LEADS, events, AS_OF)
    assert spine["user_id"].to_pylist() == ["a", "c"]
    assert labels(LEADS, events, spine, LATER).to_pylist() == [1, 0]


def test_plays_that_are_taken_back_were_not_had() -> None:
    """Nothing is learnt from them, and the item may be listed as new."""
    play = {"event": "Content Played"}
    events = history(
        Row("u", "song", -3, **play), back("u", "song", -2, **play), Row("u", "talk", -3, **play),
        Row("u", "song", 2, **play), back("u", "talk", 2, **play),
    )  # fmt: skip
    spine = scoring_spine(PLAYLIST, events, AS_OF)
    assert spine["item_id"].to_pylist() == ["talk"]
    assert wanted(PLAYLIST, events, spine, AS_OF, LATER) == [("song",)]


def test_an_application_that_is_withdrawn_at_once_is_none() -> None:
    """Neither the job's popularity nor the profile's label has it."""
    applied = {"event": "Job Applied"}
    events = history(
        Row("u", "job", -3, event="Job Viewed"), Row("u", "job", 2, **applied),
        back("u", "job", 2, **applied), Row("u", "post", -3, event="Job Viewed"),
        Row("u", "post", 2, **applied),
    )  # fmt: skip
    spine = scoring_spine(MATCHING, events, AS_OF)
    assert labels(MATCHING, events, spine, LATER).to_pylist() == [0, 1]


def test_a_day_on_which_something_was_only_undone_is_not_active() -> None:
    """Engagement counts days with a deed."""
    done = {"event": "Task Completed"}
    events = history(
        Row("u", None, -3, **done), back("u", None, 2, **done), Row("u", None, 4, **done)
    )
    spine = scoring_spine(ENGAGEMENT, events, AS_OF)
    assert labels(ENGAGEMENT, events, spine, LATER).to_pylist() == [1]


def test_a_request_is_declared_without_returns() -> None:
    """What is scored when it happens is what spines hold, so both leave returns out."""
    assert FRAUD.request is not None
    stream = replace(FRAUD.request.stream, where=())
    with pytest.raises(ConfigError, match="all of them but returns; give its stream"):
        replace(FRAUD, request=replace(FRAUD.request, stream=stream))


PIECES = st.sampled_from([1.0, 2.0, -1.0, -2.0, 0.0, None])


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4), PIECES,
            st.sampled_from([None, 3.0, -3.0]),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_kept_is_a_balance_that_never_falls_below_zero(
    rows: list[tuple[str, str, int, float | None, float | None]],
) -> None:
    """What is left of an item follows purchases and returns in the order of time."""
    events = history(*(Row(user, item, at, q, amount) for user, item, at, q, amount in rows))
    moments: dict[tuple[str, str], dict[int, float]] = {}
    for user, item, at, quantity, amount in rows:
        sign = -1 if (quantity or 0) < 0 or (amount or 0) < 0 else 1
        moment = moments.setdefault((user, item), {})
        moment[at] = moment.get(at, 0) + sign * (abs(quantity or 0) or 1)
    left = {}
    for pair, changes in moments.items():
        balance = 0.0
        for at in sorted(changes):
            balance = max(0.0, balance + changes[at])
        left[pair] = balance
    expected = [
        f"{number:04}"
        for number, (user, item, _, quantity, amount) in enumerate(rows)
        if left[user, item] > 0 and not ((quantity or 0) < 0 or (amount or 0) < 0)
    ]
    assert kept(events, ("user_id", "item_id"))["event_id"].to_pylist() == expected


def test_a_return_is_told_the_same_by_frames_and_by_features() -> None:
    """Spines and features have one meaning of it."""
    signs = [None, math.nan, -1.0, -0.0, 0.0, 1.0]
    events = history(*(Row("u", "i", 0, q, a) for q in signs for a in signs))
    columns = EventColumns(events, ATTRIBUTES.empty_table(), ZoneInfo("UTC"))
    assert columns.in_stream(PURCHASES).tolist() == pc.invert(returned(events)).to_pylist()
