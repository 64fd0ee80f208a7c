"""Views of profiles, jobs and both together, over job boards' events and skill texts."""

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
from include.features.expressions import Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_28, OWNER, WEEKLY
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

#: What a profile looks at, and what it applies for; `item_id` is the job.
JOB_EVENTS: Final = EventStream(("Job Viewed", "Job Applied"), NO_RETURN)
_APPLIED: Final = (equals("event", "Job Applied"),)

JOB_SEEKER: Final = FeatureView(
    "job_seeker",
    USER,
    JOB_EVENTS,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28)),
        Aggregation("count", None, (DAYS_28, ALL_HISTORY), _APPLIED, "applied"),
        Aggregation("days_active", windows=(DAYS_28,)),
        Aggregation("time_since_last"),
        Aggregation("time_since_first"),
    ),
    attributes=(AttributeLookup("user", "skills"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="How actively the profile looks for a job, and what it can do.",
    tags=("matching", "activity"),
)

JOB_POSTING: Final = FeatureView(
    "job_posting",
    ITEM,
    JOB_EVENTS,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28)),
        Aggregation("distinct_count", "user_id", (DAYS_7, DAYS_28)),
        Aggregation("count", None, (DAYS_28, ALL_HISTORY), _APPLIED, "applied"),
        Aggregation("time_since_first"),
    ),
    derived=(
        Derived("applied_share_28d", Ratio(Feature("applied_count_28d"), Feature("count_28d"))),
    ),
    attributes=(AttributeLookup("item", "skills"), AttributeLookup("item", "group")),
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the job is looked at and applied for, what it asks, whose it is.",
    tags=("matching", "activity"),
)

#: Offline only, as every view of pairs.
USER_JOB: Final = FeatureView(
    "user_job",
    USER_ITEM,
    JOB_EVENTS,
    (
        Aggregation("count"),
        Aggregation("count", None, (ALL_HISTORY,), _APPLIED, "applied"),
        Aggregation("time_since_last"),
    ),
    owner=OWNER,
    description="What the profile did with the job so far.",
    tags=("matching", "activity"),
)
