"""Views of a lead over what it does with a product's pages, mails and forms."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import Final

from include.features.conditions import between, equals
from include.features.declarations import (
    ALL_HISTORY,
    TENANT,
    USER,
    Aggregation,
    Derived,
    Entity,
    EventStream,
)
from include.features.expressions import Constant, Difference, Expression, Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_28, DAYS_90, OWNER, WEEKLY
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

PAGE, OPENED, CLICKED = "Page Viewed", "Email Opened", "Email Link Clicked"
FORM, TRIAL, SIGNED_IN = "Form Submitted", "Trial Started", "Signed In"
DELIVERED: Final = "Email Delivered"
#: What a lead does; what is done to it, such as `Email Delivered`, is no activity.
RESPONSES: Final = (PAGE, OPENED, CLICKED, FORM, TRIAL, SIGNED_IN)
ACTIVITY: Final = (*RESPONSES, "Order Completed")
#: What a lead converts to: a deal, or the taking up of an offer.
CONVERSIONS: Final = ("Deal Won", "Coupon Applied")
DAYS_180: Final = timedelta(days=180)

#: Points of an activity; those of the last week count twice.
POINTS: Final = {PAGE: 1, OPENED: 2, CLICKED: 4, SIGNED_IN: 3, FORM: 8, TRIAL: 15}
#: Points that make an engagement of 50.
HALF: Final = 25


def _label(event: str) -> str:
    return event.lower().replace(" ", "_")


def _count(event: str, *windows: timedelta) -> Aggregation:
    return Aggregation("count", None, windows, (equals("event", event),), _label(event))


def _sum(left: Expression, right: Expression) -> Expression:
    return Difference(left, Difference(Constant(0), right))


def _points() -> Expression:
    parts: list[Expression] = [
        Ratio(Feature(f"{_label(event)}_count_{window}"), Constant(1 / points))
        for event, points in POINTS.items()
        for window in ("28d", "7d")
    ]
    return reduce(_sum, parts)


LEAD_ACTIVITY: Final = FeatureView(
    "lead_activity",
    USER,
    EventStream(ACTIVITY, NO_RETURN),
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28, DAYS_90)),
        Aggregation("distinct_count", "event", (DAYS_28,)),
        Aggregation("days_active", windows=(DAYS_7, DAYS_28, DAYS_90)),
        Aggregation("time_since_last"),
        Aggregation("time_since_first"),
        Aggregation("trend", windows=(DAYS_7, DAYS_28)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the lead does, how recently, and whether it is getting more.",
    tags=("leads", "activity", "timing"),
)

LEAD_INTENT: Final = FeatureView(
    "lead_intent",
    USER,
    EventStream((*RESPONSES, DELIVERED), NO_RETURN),
    (
        _count(PAGE, DAYS_7, DAYS_28),
        _count(FORM, DAYS_28, ALL_HISTORY),
        _count(TRIAL, DAYS_28, ALL_HISTORY),
        _count(SIGNED_IN, DAYS_28),
        _count(OPENED, DAYS_28),
        _count(CLICKED, DAYS_28, ALL_HISTORY),
        _count(DELIVERED, DAYS_28, ALL_HISTORY),
    ),
    derived=(
        Derived(
            "opened_share_90d",
            Ratio(Feature("email_opened_count_90d"), Feature("email_delivered_count_90d")),
        ),
        Derived(
            "clicked_share_90d",
            Ratio(Feature("email_link_clicked_count_90d"), Feature("email_opened_count_90d")),
        ),
    ),
    inputs=(
        _count(OPENED, DAYS_90),
        _count(CLICKED, DAYS_90),
        _count(DELIVERED, DAYS_90),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="What the lead does that speaks of interest, and how often it was written to.",
    tags=("leads", "activity"),
)

LEAD_ENGAGEMENT: Final = FeatureView(
    "lead_engagement",
    USER,
    EventStream(RESPONSES, NO_RETURN),
    derived=(
        Derived(
            "score",
            Difference(Constant(100), Ratio(Constant(100 * HALF), _sum(Constant(HALF), _points()))),
        ),
    ),
    inputs=tuple(_count(event, DAYS_28, DAYS_7) for event in POINTS),
    ttl=WEEKLY,
    owner=OWNER,
    description="Engagement from 0 to 100: points of the last four weeks, the last week twice.",
    tags=("leads", "activity"),
)

LEAD_CONVERSIONS: Final = FeatureView(
    "lead_conversions",
    USER,
    EventStream(CONVERSIONS, NO_RETURN),
    (Aggregation("count", windows=(DAYS_90, ALL_HISTORY)), Aggregation("time_since_last")),
    ttl=WEEKLY,
    owner=OWNER,
    description="Offers that the lead took up before.",
    tags=("leads",),
)


def hours(view: str) -> tuple[str, ...]:
    """The columns of a view of response hours, midnight first."""
    return tuple(f"{view}__at_{hour:02}_count_180d" for hour in range(24))


def _response_hours(name: str, entity: Entity, whose: str) -> FeatureView:
    return FeatureView(
        name,
        entity,
        EventStream(RESPONSES, NO_RETURN),
        tuple(
            Aggregation(
                "count", None, (DAYS_180,), (between("local_hour", h, h + 1),), f"at_{h:02}"
            )
            for h in range(24)
        ),
        owner=OWNER,
        description=f"At which local hours {whose} active.",
        tags=("leads", "timing"),
    )


RESPONSE_HOURS: Final = _response_hours("response_hours", USER, "the lead is")
TENANT_RESPONSE_HOURS: Final = _response_hours(
    "tenant_response_hours", TENANT, "the tenant's leads are"
)
