"""Next month's active days: simulated learners, and households of Complete Journey.

Protocol. A row is somebody active in the 60 days before a snapshot; the label is on how many of the
30 days after it there was activity. Models are fitted on snapshots whose labels were known at the
cut, as the template is declared, and judged on later ones; everything that is chosen, is chosen
within training. Baselines are persistence (as many days as last month) and the mean of three
months. Intervals of 95 % come from a bootstrap of users.

- Simulated: three tenants of the simulator's business `learning`, of 300 to 3,000 users, whose
  activity goes up and down by months; they are no evidence about any real product. What is known of
  them is the expected number of lessons, not of days, so that the truth itself is no competitor.
- Complete Journey, the whole chain as one tenant: days with a purchase stand in for days with a
  lesson. A shop is no learning product; this shows that the template works on data that nobody made
  for it.

    python -m benchmarks.quality.engagement [--json FILE]
"""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.quality import stores
from benchmarks.quality.draws import Draws, mean_of
from benchmarks.quality.judging import Figures, judge, load, main, report, tenant_of
from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.handoffs import Interval
from include.models.forecast import ForecastPredictor
from include.simulate.world import TenantPlan, World
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.use_cases.engagement import ACTIVE

ENGAGEMENT: Final = use_cases.get("engagement")
WORLD: Final = World(
    seed=11,
    business="learning",
    tenants=(
        TenantPlan("school-1", users=300),
        TenantPlan("school-2", users=1_000, deviation=0.2),
        TenantPlan("school-3", users=3_000, deviation=0.4),
    ),
    start=date(2024, 1, 1),
    days=400,
)
YEAR: Final = Interval(datetime(2016, 12, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))


def measure() -> Figures:
    """Figures of both data sets."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        return {**simulated(lake), "Complete Journey": shoppers(lake)}


def simulated(lake: Lake) -> Figures:
    """Learners with a known past."""
    whole = Interval(WORLD.instant(0) - timedelta(days=1), WORLD.instant(WORLD.days + 30))
    found: Figures = {}
    for plan in WORLD.tenants:
        tenant, made = tenant_of(plan.id, ENGAGEMENT), simulate_tenant(WORLD, plan.id)
        load(lake, tenant, made.events, made.attributes, whole)
        cut = WORLD.instant(WORLD.days - 90)
        later = [cut + timedelta(days=14 * step) for step in range(5)]
        title = f"simulated, {plan.users:,} users"
        span = {"since": WORLD.instant(0), "cut": cut, "end": WORLD.instant(WORLD.days)}
        found[title] = _figures(title, tenant, lake, later, span)
    return found


def shoppers(lake: Lake) -> Figures:
    """Households of the whole chain, whose purchases are called lessons."""
    chain = stores.chain(lake)
    events = lake.read(chain.ref, "events", version=lake.version(chain.ref, "events").version)
    name = events.column_names.index("event")
    lessons = pa.array(["Lesson Completed"] * events.num_rows, events.schema.field("event").type)
    days = events.set_column(name, events.schema.field("event"), lessons)
    # One line of each basket is enough to know the day.
    first = days.group_by("group_id").aggregate([("event_id", "min")])["event_id_min"]
    days = days.filter(pc.is_in(days["event_id"], value_set=first.combine_chunks()))
    tenant = tenant_of("shoppers", ENGAGEMENT, "America/New_York")
    renamed = pa.array([tenant.id] * days.num_rows, days.schema.field("tenant_id").type)
    owner = days.column_names.index("tenant_id")
    days = days.set_column(owner, days.schema.field("tenant_id"), renamed)
    load(lake, tenant, days, ATTRIBUTES.empty_table(), YEAR)
    cut = datetime(2017, 9, 1, 4, tzinfo=UTC)
    later = [datetime(2017, month, 1, 4, tzinfo=UTC) for month in (9, 10, 11, 12)]
    span = {"since": datetime(2017, 1, 1, tzinfo=UTC), "cut": cut, "end": YEAR.end}
    return _figures("Complete Journey, days with a purchase", tenant, lake, later, span)


def _figures(
    title: str,
    tenant: TenantConfig,
    lake: Lake,
    later: list[datetime],
    span: dict[str, Any],
) -> Figures:
    found = judge(ENGAGEMENT, tenant, lake, later=later, **span)
    rows = found.rows
    figures = report(title, ENGAGEMENT, rows, found.scores)
    bounds = cast(ForecastPredictor, found.model.predictor).intervals(rows.features)
    draws = Draws(rows.entity, ENGAGEMENT.seed)
    everyone = np.arange(len(rows))
    for level in ("80", "95"):
        low, high = bounds[f"low_{level}"], bounds[f"high_{level}"]
        inside = ((low <= rows.label) & (rows.label <= high)).astype(np.float64)
        share = draws.interval(mean_of(inside, everyone))
        print(
            f"  {level} % intervals cover {share.value:.3f} ({share.low:.3f} to {share.high:.3f}), "
            f"median width {np.median(high - low):.1f} days"
        )
        figures[f"coverage {level}"] = [share.value, share.low, share.high]
    gone = rows.label == 0
    for name, scores in found.scores.items():
        said = scores < ACTIVE
        told, right = float(said[gone].mean()), float(gone[said].mean())
        print(
            f"  {name}: finds {100 * told:.0f} % of the inactive, who are "
            f"{100 * gone.mean():.0f} %; of those it calls so {100 * right:.0f} % are"
        )
        figures[f"inactive {name}"] = [told, right]
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
