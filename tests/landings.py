"""Tenants whose landing tables a test fills by hand, on whatever stores keep their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.handoffs import Checked, Ingested, Interval
from include.incidents import Incident
from include.ingestion.slices import Rejected, Slice
from include.pipeline import translate
from include.quality.checks import FailedRow, Result
from include.quality.incidents import DATA_LOSS
from include.quality.inspection import check
from include.quality.needs import DataNeeds
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.stores import Stores
from include.tenants.config import TenantConfig
from tests.unused import unused

HISTORY_START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def week(number: int) -> Interval:
    """The week that starts `number` weeks after the history does."""
    return Interval(HISTORY_START + number * WEEK, HISTORY_START + (number + 1) * WEEK)


def weeks(first: int, end: int) -> Interval:
    """Weeks `[first, end)` as one interval."""
    return Interval(week(first).start, week(end).start)


@dataclass
class Shop:
    """A tenant with one source of events, `pos`, and one of item attributes, `products`."""

    lake: Lake
    stores: Stores
    config: TenantConfig
    needs: list[DataNeeds] = field(default_factory=list)

    def land(
        self,
        interval: Interval,
        rows: int | Sequence[dict[str, Any]],
        source: str = "pos",
        along_with: Interval | None = None,
    ) -> None:
        """What ingestion does: the slice in the lake, and its record."""
        given = [{}] * rows if isinstance(rows, int) else rows
        table = events(self.config.id, source, interval, given)
        version = self.lake.replace_slice(
            self.config.ref, "landing_events", source, interval, table.to_batches()
        )
        self.record(interval, len(given), version.version, source, along_with)

    def record(
        self,
        interval: Interval,
        rows: int,
        version: int = 0,
        source: str = "pos",
        along_with: Interval | None = None,
    ) -> None:
        """Put the slice on record."""
        delivered = Slice(source, interval, rows, 0, 0, version, along_with=along_with)
        self.stores.slices.record(self.config.ref, delivered, Rejected())

    def land_items(self, interval: Interval, items: Sequence[str]) -> None:
        """A `category` of each item."""
        created = interval.start
        table = pa.Table.from_pylist(
            [
                {
                    "tenant_id": self.config.id,
                    "source": "products",
                    "event_id": f"item/{item}/category",
                    "entity": "item",
                    "entity_id": item,
                    "name": "category",
                    "value": "tea",
                    "valid_from": created,
                    "created_timestamp": created,
                    "month": f"{created:%Y-%m}",
                }
                for item in items
            ],
            schema=ATTRIBUTES,
        )
        version = self.lake.replace_slice(
            self.config.ref, "landing_attributes", "products", interval, table.to_batches()
        )
        self.record(interval, len(items), version.version, "products")

    def check(self, interval: Interval, ingested: Ingested | None = None) -> Checked:
        """The stage, given a hand-off or the shop's own."""
        return check(
            self.config,
            ingested or self.ingested(interval),
            self.needs,
            delivered=translate.delivered(self.stores.slices.recorded(self.config.ref)),
            lake=self.lake,
            checks=self.stores.checks,
            incidents=self.stores.incidents,
        )

    def ingested(self, interval: Interval) -> Ingested:
        """The hand-off that ingestion would give."""
        return Ingested(
            tenant=self.config.id,
            interval=interval,
            events=self.lake.version(self.config.ref, "landing_events"),
            attributes=self.lake.version(self.config.ref, "landing_attributes"),
            rows=0,
            duplicates=0,
            quarantined=0,
            late=0,
        )

    def run(self, interval: Interval, rows: int | Sequence[dict[str, Any]]) -> Checked:
        """Land and check."""
        self.land(interval, rows)
        return self.check(interval)

    def results(self, interval: Interval) -> list[Result]:
        """What is on record of the checks of an interval."""
        inspections = self.stores.checks.inspections(self.config.ref)
        return [result for one in inspections if one.interval == interval for result in one.results]

    def failed(self, interval: Interval) -> set[str]:
        """Checks of an interval that were not met, as `suite:check`."""
        return {f"{one.suite}:{one.check}" for one in self.results(interval) if not one.success}

    def set_aside(self) -> list[FailedRow]:
        """Rows set aside of all sources."""
        return [
            row
            for source in self.config.sources
            for row in self.stores.checks.set_aside(self.config.ref, source.name)
        ]

    def incidents(self) -> list[Incident]:
        """Incidents of data loss, oldest first."""
        return self.stores.incidents.of_kind(self.config.ref, DATA_LOSS)

    def state(self) -> dict[str, Any]:
        """All that the stage leaves behind, in a defined order."""
        reports = sorted((self.lake.root / "eu" / self.config.id).rglob("*.html"))
        return {
            **{t: self.lake.read(self.config.ref, t).to_pylist() for t in ("events", "attributes")},
            "set aside": self.set_aside(),
            "inspections": self.stores.checks.inspections(self.config.ref),
            "incidents": self.incidents(),
            "reports": {path.name: path.read_bytes() for path in reports},
        }


def events(
    tenant: str, source: str, interval: Interval, rows: Sequence[dict[str, Any]]
) -> pa.Table:
    """Rows spread evenly over the interval; each dict overrides columns of its row."""
    step = (interval.end - interval.start) / max(1, len(rows))
    filled = []
    for number, given in enumerate(rows):
        created = given.get("created_timestamp", interval.start + number * step)
        filled.append(
            {
                "tenant_id": tenant,
                "source": source,
                "event_id": f"{source}/{interval.start:%Y%m%d}/{number}",
                "event": "Product Purchased",
                "user_id": f"user-{number % 17}",
                "item_id": f"item-{number % 5}",
                "group_id": f"basket-{number // 3}",
                "quantity": 1.0,
                "amount": 2.5,
                "properties": "{}",
                "event_timestamp": created,
                "created_timestamp": created,
                "month": f"{created:%Y-%m}",
                **given,
            }
        )
    return pa.Table.from_pylist(filled, schema=EVENTS)


def new_shop(stores: Stores, folder: Path, *extra_sources: str) -> Shop:
    """A tenant nobody else has, with its own history of nothing."""
    identity = unused("shop")
    pos = {
        "event": "Product Purchased",
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "user",
        "item_id": "item",
    }
    products = {
        "entity": "item",
        "entity_id": "item",
        "names": {"category": "category"},
        "valid_from": HISTORY_START.date(),
    }
    files = {"type": "file", "path": "nowhere.csv", "format": "csv"}
    config = TenantConfig.model_validate(
        {
            "id": identity,
            "name": "Shop",
            "region": "eu",
            "schedule": "0 0 * * 1",
            "history_from": HISTORY_START.date(),
            "sources": [
                *(
                    {"name": name, "connector": files, "events": pos}
                    for name in ("pos", *extra_sources)
                ),
                {"name": "products", "connector": files, "attributes": products},
            ],
            "use_cases": {"churn": {}},
        }
    )
    shop = Shop(Lake(folder / identity), stores, config)
    shop.land_items(week(0), [f"item-{n}" for n in range(5)])
    return shop
