"""What the views of the library have in common: streams, windows, owner, time to live."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.declarations import (
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    EventStream,
    Function,
)
from include.features.expressions import Constant, Difference, Expression, Feature, Ratio
from include.features.returns import NO_RETURN

DAYS_7: Final = timedelta(days=7)
DAYS_28: Final = timedelta(days=28)
DAYS_30: Final = timedelta(days=30)
DAYS_90: Final = timedelta(days=90)
OWNER: Final = "platform"
#: Of views that are served online: tenants run weekly, and a run may be a day late.
WEEKLY: Final = timedelta(days=8)

#: One event is one line of a basket, bought or brought back: `user_id`, `item_id`, `group_id` (the
#: basket), `quantity`, `amount` (what the line cost) and `properties.discount` (what was taken off
#: it). Sums over it net returns; what else is counted or dated is about `PURCHASES`.
ORDER_LINES: Final = EventStream(
    ("Order Completed",), lookups=(AttributeLookup("item", "category"),)
)
#: The lines that were bought.
PURCHASES: Final = EventStream(ORDER_LINES.events, NO_RETURN, ORDER_LINES.lookups)
#: Before the names of features of `ORDER_LINES` that are about purchases alone.
BOUGHT: Final = "bought"


def bought(
    function: Function, value: str | None = None, windows: tuple[timedelta, ...] = (ALL_HISTORY,)
) -> Aggregation:
    """An aggregation of the purchases among `ORDER_LINES`; its features begin with `bought`."""
    return Aggregation(function, value, windows, NO_RETURN, BOUGHT)


def mean_gap(window: str, label: str = "") -> Expression:
    """Days between one day with events and the next.

    Args:
        label: of the three aggregations that it is made of.
    """
    first, last, days = (
        Feature("_".join(filter(None, (label, function, window))))
        for function in ("time_since_first", "time_since_last", "days_active")
    )
    return Ratio(Difference(first, last), Difference(days, Constant(1)))
