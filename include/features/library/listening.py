"""Views of a user, an item and both together, over what was played and what was skipped."""

from __future__ import annotations

from typing import Final

from include.features.conditions import equals
from include.features.declarations import (
    ALL_HISTORY,
    ITEM,
    USER,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.expressions import Difference, Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_28, OWNER, WEEKLY
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

#: One event is one item put on; a skip is a negative.
PLAYS: Final = EventStream(("Content Played", "Content Skipped"), NO_RETURN)
_PLAYED: Final = (equals("event", "Content Played"),)
_SKIPPED: Final = (equals("event", "Content Skipped"),)

LISTENING: Final = FeatureView(
    "listening",
    USER,
    PLAYS,
    (
        Aggregation("count", None, (DAYS_7, DAYS_28), _PLAYED, "played"),
        Aggregation("count", None, (DAYS_28,), _SKIPPED, "skipped"),
        Aggregation("distinct_count", "item_id", (DAYS_28,)),
        Aggregation("days_active", windows=(DAYS_28,)),
        Aggregation("time_since_last"),
    ),
    derived=(
        Derived(
            "skipped_per_play_28d",
            Ratio(Feature("skipped_count_28d"), Feature("played_count_28d")),
        ),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the user plays and skips, how often, and how varied.",
    tags=("content", "activity"),
)

CONTENT: Final = FeatureView(
    "content",
    ITEM,
    PLAYS,
    (
        Aggregation("count", None, (DAYS_7, DAYS_28), _PLAYED, "played"),
        Aggregation("count", None, (DAYS_28,), _SKIPPED, "skipped"),
        Aggregation("distinct_count", "user_id", (DAYS_28,)),
        Aggregation("time_since_first"),
    ),
    attributes=(AttributeLookup("item", "category"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the item is played and skipped, how new it is, and of what kind.",
    tags=("content", "activity"),
)

#: Offline only, as every view of pairs.
USER_CONTENT: Final = FeatureView(
    "user_content",
    USER_ITEM,
    PLAYS,
    (
        Aggregation("count", None, (ALL_HISTORY,), _PLAYED, "played"),
        Aggregation("count", None, (ALL_HISTORY,), _SKIPPED, "skipped"),
        Aggregation("time_since_last"),
        Aggregation("time_since_first"),
    ),
    derived=(
        Derived(
            "liking_all", Difference(Feature("played_count_all"), Feature("skipped_count_all"))
        ),
    ),
    owner=OWNER,
    description="How often the user played the item rather than skipped it.",
    tags=("content", "activity"),
)
