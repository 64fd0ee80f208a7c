"""Churn on Complete Journey and CDNOW: the template against recency and frequency.

Protocol, the same throughout. A row is a customer at a snapshot who has bought before it, within
the active window; its label is 1 where no purchase follows within the horizon. Training snapshots
lie so early that their labels are known at the cut, and whatever is chosen (estimator, settings)
is chosen among them; test snapshots lie at or after the cut. Rows whose horizon the data does not
cover are no rows. Intervals of 95 % come from a bootstrap of customers, so that several snapshots
of one customer are no independent evidence.

- Complete Journey, all households: the whole chain as one tenant (2,469 households, 457 stores),
  everybody who ever bought before, horizon of 30 days; cut on 1 September 2017, tested on the first
  of September, October, November and December. Households that left long ago are easy to tell.
- The same, active households: as the template is declared, only who bought in the last 60 days.
- CDNOW: 23,570 customers whose first purchase was in the first quarter of 1997; horizon of 180
  days, cut and test on 1 January 1998.

    python -m benchmarks.quality.churn [--json FILE]
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmarks.quality import stores
from benchmarks.quality.judging import Figures, judge, load, main, reliability, report, tenant_of
from benchmarks.quality.wheels import data_file
from include import use_cases
from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.use_cases.declaration import UseCase

CHURN = use_cases.get("churn")
#: Everybody who ever bought.
ALWAYS = timedelta(days=3_000)
START = datetime(2017, 1, 1, tzinfo=UTC)
CUT = datetime(2017, 9, 1, 4, tzinfo=UTC)
LATER = [datetime(2017, month, 1, 4, tzinfo=UTC) for month in (9, 10, 11, 12)]
END = datetime(2018, 1, 2, tzinfo=UTC)
CDNOW = Interval(datetime(1997, 1, 1, tzinfo=UTC), datetime(1998, 7, 1, tzinfo=UTC))


def measure() -> Figures:
    """Figures of both data sets."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        chain = stores.chain(lake)
        return {
            "Complete Journey, all households": households(
                "all households", replace(CHURN, active_window=ALWAYS), chain, lake
            ),
            "Complete Journey, active households": households(
                "active households", CHURN, chain, lake
            ),
            "CDNOW": cdnow(lake),
        }


def households(which: str, case: UseCase, chain: TenantConfig, lake: Lake) -> Figures:
    """Households of the whole chain."""
    found = judge(case, chain, lake, since=START, cut=CUT, later=LATER, end=END)
    figures = report(f"Complete Journey, {which}", case, found.rows, found.scores)
    return figures | reliability(found.rows.label, found.scores[found.model.kind])


def cdnow(lake: Lake) -> Figures:
    """Customers of an online shop for CDs."""
    half = timedelta(days=180)
    case = replace(
        CHURN,
        active_window=ALWAYS,
        label=replace(CHURN.label, horizon=half),
        snapshots=replace(CHURN.snapshots, entities=30_000),
    )
    tenant = tenant_of("cdnow", CHURN)
    load(lake, tenant, _purchases(tenant.id), ATTRIBUTES.empty_table(), CDNOW)
    cut = CDNOW.end - half - timedelta(days=1)
    found = judge(case, tenant, lake, since=CDNOW.start, cut=cut, later=[cut], end=CDNOW.end)
    return report("CDNOW, 180 days", case, found.rows, found.scores)


def _purchases(tenant: str) -> pa.Table:
    path = data_file("lifetimes", "0.11.3", "lifetimes/datasets/CDNOW_master.txt")
    names = ["customer", "date", "quantity", "amount"]
    rows = pd.read_csv(str(path), sep=r"\s+", skiprows=1, names=names, dtype={"customer": str})
    at = pd.to_datetime(rows["date"].astype(str), format="%Y%m%d").dt.tz_localize("UTC")
    at = at.astype("datetime64[us, UTC]")
    frame = pd.DataFrame(
        {
            "tenant_id": tenant,
            "source": "benchmark",
            "event_id": rows.index.astype(str),
            "event": "Order Completed",
            "user_id": rows["customer"],
            "account_id": None,
            "item_id": None,
            "group_id": rows.index.astype(str),
            "quantity": rows["quantity"].astype(float),
            "amount": rows["amount"].astype(float),
            "properties": None,
            "event_timestamp": at,
            "created_timestamp": at,
            "month": at.dt.strftime("%Y-%m"),
        }
    )
    return pa.Table.from_pandas(frame, EVENTS, preserve_index=False)


if __name__ == "__main__":
    main(measure, __doc__)
