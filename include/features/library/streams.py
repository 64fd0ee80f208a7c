"""What the views of the library have in common: streams, windows, owner, time to live."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.declarations import AttributeLookup, EventStream
from include.features.expressions import Constant, Difference, Expression, Feature, Ratio

DAYS_7: Final = timedelta(days=7)
DAYS_28: Final = timedelta(days=28)
DAYS_30: Final = timedelta(days=30)
DAYS_90: Final = timedelta(days=90)
OWNER: Final = "platform"
#: Of views that are served online: tenants run weekly, and a run may be a day late.
WEEKLY: Final = timedelta(days=8)

#: One event is one line of a basket: `user_id`, `item_id`, `group_id` (the basket), `quantity`,
#: `amount` (what the line cost) and `properties.discount` (what was taken off it).
ORDER_LINES: Final = EventStream(
    ("Order Completed",), lookups=(AttributeLookup("item", "category"),)
)


def mean_gap(window: str) -> Expression:
    """Days between one day with events and the next."""
    span = Difference(Feature(f"time_since_first_{window}"), Feature(f"time_since_last_{window}"))
    return Ratio(span, Difference(Feature(f"days_active_{window}"), Constant(1)))
