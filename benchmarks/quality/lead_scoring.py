"""Lead scoring: offers of Complete Journey, and simulated leads of a CRM.

- Complete Journey: households are leads, a campaign that is sent to one is an `Email Delivered`, a
  coupon redeemed a `Coupon Applied`, order lines are activity. Two protocols: every household that
  bought in the last 60 days on the first of September to December, as the template is declared; and
  the households to which a campaign was sent, one day after each campaign's start. The label is a
  redemption within 30 days. Training rows are those whose labels were known on 1 September.
- Simulated CRM (`include/simulate`: 8,000 leads, 300 days, 15 % convert): the template as it is
  declared. The best hour is measured against the hour around which a lead truly is active.

Estimator and settings are chosen among training snapshots. Intervals of 95 % come from a bootstrap
of leads.

    python -m benchmarks.quality.lead_scoring [--json FILE]
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.quality import stores
from benchmarks.quality.judging import (
    Figures,
    Judged,
    judge,
    load,
    main,
    pin,
    reliability,
    report,
    tenant_of,
)
from benchmarks.quality.simulated import Simulated, simulate_tenant
from include import use_cases
from include.features.inputs import read
from include.features.spine import Spine
from include.handoffs import Interval
from include.simulate.world import TenantPlan, World
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.use_cases.details import BestHour
from include.use_cases.spines import event_columns, scoring_spine

LEADS = use_cases.get("lead_scoring")
MONTH, DAY = timedelta(days=30), timedelta(days=1)
YEAR = Interval(datetime(2016, 11, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))
CUT = datetime(2017, 9, 1, 12, tzinfo=UTC)
LATER = [datetime(2017, month, 1, 12, tzinfo=UTC) for month in (9, 10, 11, 12)]
END = datetime(2018, 1, 1, tzinfo=UTC)
#: Whoever was written to within a day of the snapshot.
CAMPAIGNS = replace(LEADS, events=("Email Delivered",), active_window=DAY)

START = datetime(2024, 1, 1, tzinfo=UTC)
WORLD = World(5, "crm", (TenantPlan("leads", users=8_000),), start=START.date(), days=300)
SPAN = Interval(START - DAY, START + timedelta(days=301))


def measure() -> Figures:
    """Figures of both data sets."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        chain = stores.chain(lake)
        starts = _offers(lake, chain)
        return {
            "Complete Journey, households": _told(
                "Complete Journey, households",
                judge(LEADS, chain, lake, since=YEAR.start, cut=CUT, later=LATER, end=END),
            ),
            "Complete Journey, campaigns": _told(
                "Complete Journey, campaigns",
                judge(
                    CAMPAIGNS,
                    chain,
                    lake,
                    since=YEAR.start,
                    cut=CUT,
                    later=[at for at in starts if CUT <= at <= END - MONTH],
                    end=END,
                    earlier=[at for at in starts if at <= CUT - MONTH],
                ),
            ),
            "Simulated CRM": crm(lake),
        }


def crm(lake: Lake) -> Figures:
    """Simulated leads: conversion, and the best hour against the truth."""
    simulated = simulate_tenant(WORLD, "leads")
    tenant = tenant_of("leads", LEADS)
    load(lake, tenant, simulated.events, simulated.attributes, SPAN)
    cut = START + timedelta(days=200)
    later = [cut + timedelta(days=14 * step) for step in range(5)]
    found = judge(LEADS, tenant, lake, since=START, cut=cut, later=later, end=SPAN.end - DAY)
    return _told("Simulated CRM", found) | hours(tenant, lake, simulated, later[-1])


def hours(tenant: TenantConfig, lake: Lake, simulated: Simulated, at: datetime) -> Figures:
    """How often the best hour is within one of the truth, beside the hour that suits most."""
    pinned = pin(tenant, lake)
    inputs = read(
        tenant,
        LEADS.features,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=at,
        lake=lake,
        also=event_columns(LEADS),
    )
    spine = scoring_spine(LEADS, inputs.events, at)
    features = inputs.compute(LEADS.features, Spine(spine))
    detail = next(one for one in LEADS.details if isinstance(one, BestHour))
    said = np.array(detail.values(features, np.zeros(features.num_rows)))
    everybody = np.array([features[name][0].as_py() for name in detail.everybody])
    users = simulated.truth.users
    truth = dict(zip(*(users[name].to_pylist() for name in ("user_id", "best_hour")), strict=True))
    right = np.array([truth[user] for user in features["user_id"].to_pylist()])
    own = np.sum([features[name].to_numpy() for name in detail.own], axis=0)
    figures: Figures = {}
    print("  best hour within one hour of the truth")
    for name, mask in (("all", own >= 0), ("10 responses or more", own >= 10)):
        found = [_near(guess, right[mask]) for guess in (said[mask], int(everybody.argmax()))]
        figures[f"best hour, {name}"] = {"own": found[0], "tenant's": found[1]}
        print(f"    {name:22}{found[0]}, tenant's busiest hour {found[1]}")
    return figures


def _near(said: np.ndarray | int, right: np.ndarray) -> list[float]:
    """Share within one hour, with its 95 % interval (Wilson 1927)."""
    apart = np.abs(said - right) % 24
    share, n, z = float((np.minimum(apart, 24 - apart) <= 1).mean()), len(right), 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return [round(one, 3) for one in (share, middle - half, middle + half)]


def _told(title: str, found: Judged) -> Figures:
    figures = report(title, LEADS, found.rows, found.scores)
    return figures | reliability(found.rows.label, found.scores[found.model.kind])


def _offers(lake: Lake, chain: TenantConfig) -> list[datetime]:
    """Write campaigns and redemptions; one day after each campaign's start."""
    sent = stores.read("campaigns").merge(stores.read("campaign_descriptions"), on="campaign_id")
    used = stores.read("coupon_redemptions")
    parts = [
        _rows(chain.id, "Email Delivered", sent, sent["start_date"]),
        _rows(chain.id, "Coupon Applied", used, used["redemption_date"]),
    ]
    for source, part in zip(("campaigns", "redemptions"), parts, strict=True):
        table = part.set_column(1, "source", pa.array([source] * part.num_rows))
        lake.replace_slice(chain.ref, "events", source, YEAR, table.cast(EVENTS).to_batches())
    begun = pd.to_datetime(sent["start_date"].unique()).tz_localize("UTC") + pd.Timedelta(36, "h")
    return sorted(one.to_pydatetime() for one in begun)


def _rows(tenant: str, event: str, frame: pd.DataFrame, day: pd.Series[pd.Timestamp]) -> pa.Table:
    at = (day.dt.tz_localize("UTC") + pd.Timedelta(12, "h")).astype("datetime64[us, UTC]")
    columns = {
        "tenant_id": tenant,
        "source": "",
        "event_id": [f"{event}:{number}" for number in range(len(frame))],
        "event": event,
        "user_id": frame["household_id"].astype(str),
        "account_id": None,
        "item_id": None,
        "group_id": frame["campaign_id"].astype(str),
        "quantity": None,
        "amount": None,
        "properties": None,
        "event_timestamp": at,
        "created_timestamp": at,
        "month": at.dt.strftime("%Y-%m"),
    }
    return pa.Table.from_pandas(
        pd.DataFrame(columns, index=frame.index), EVENTS, preserve_index=False
    )


if __name__ == "__main__":
    main(measure, __doc__)
