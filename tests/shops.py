"""Tenants with one source of a test's making, on whatever keeps their slices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from include.handoffs import Ingested, Interval
from include.ingestion.opening import Connect
from include.ingestion.slices import Slices
from include.ingestion.stage import ingest
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

HISTORY_START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
MAPPING: dict[str, Any] = {
    "event": "Order Completed",
    "event_id": ["id"],
    "event_timestamp": "at",
    "user_id": "user",
    "quantity": "quantity",
    "amount": "amount",
}
_numbers = count()


def week(number: int) -> Interval:
    """The week that starts `number` weeks after the history does."""
    return Interval(HISTORY_START + number * WEEK, HISTORY_START + (number + 1) * WEEK)


@dataclass
class Shop:
    """A tenant under test and everything it needs."""

    config: TenantConfig
    lake: Lake
    store: Slices
    connect: Connect

    def ingest(self, number: int = 1, pii_secret: str | None = None) -> Ingested:
        """The stage, for week `number`."""
        return ingest(
            self.config,
            week(number),
            lake=self.lake,
            slices=self.store,
            connect=self.connect,
            pii_secret=pii_secret,
        )

    def events(self) -> list[dict[str, Any]]:
        """The landed events, in order."""
        table = self.lake.dataset(self.config.ref, "landing_events").to_table()
        order = [("created_timestamp", "ascending"), ("event_id", "ascending")]
        return list(table.sort_by(order).to_pylist())

    def ids(self) -> list[str]:
        """Ids of the landed events, in order."""
        return [row["event_id"] for row in self.events()]

    def quarantined(self) -> list[tuple[dict[str, Any], str]]:
        """Rows set aside, with the reason, in order."""
        rows = (
            row
            for source in self.config.sources
            for row in self.store.set_aside(self.config.ref, source.name)
        )
        return [(json.loads(row.row), row.reason) for row in rows]

    def slices(self) -> list[tuple[int, ...]]:
        """Week, rows, late, duplicates and quarantined of each slice of one week."""
        return [
            (
                (one.interval.start - HISTORY_START) // WEEK,
                *(one.rows, one.late, one.duplicates, one.quarantined),
            )
            for one in self.store.recorded(self.config.ref)
            if one.interval.end - one.interval.start == WEEK
        ]


@dataclass
class Shops:
    """Makes tenants whose only source is what a test writes."""

    folder: Path
    store: Slices
    connect: Connect

    def text(self, content: str | bytes, suffix: str = "csv", **changes: Any) -> Shop:
        """A tenant fed by one file."""
        path = self.folder / f"{next(_numbers)}.{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.file(path, suffix, **changes)

    def csv(self, rows: Sequence[str], **changes: Any) -> Shop:
        """A tenant fed by lines of `id,at,user,quantity,amount`."""
        return self.text("\n".join(["id,at,user,quantity,amount", *rows, ""]), **changes)

    def jsonl(self, rows: Sequence[dict[str, Any] | str], **changes: Any) -> Shop:
        """A tenant fed by JSON lines."""
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        return self.text("\n".join([*lines, ""]), "jsonl", **changes)

    def file(self, path: Path | str, kind: str, **changes: Any) -> Shop:
        """A tenant fed by whatever a path stands for."""
        return self.source({"type": "file", "path": str(path), "format": kind}, **changes)

    def source(
        self,
        connector: dict[str, Any],
        where: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
        pii_columns: Sequence[str] | dict[str, str] = (),
        **mapping: Any,
    ) -> Shop:
        """A tenant with any connector; `mapping` changes the mapping of events."""
        number = next(_numbers)
        source: dict[str, Any] = {"name": "pos", "connector": connector, "where": where or {}}
        source["events"] = {**MAPPING, **mapping}
        sources = [source]
        if attributes is not None:
            facts = {key: source[key] for key in ("connector", "where")}
            sources.append({"name": "facts", **facts, "attributes": attributes})
        config = TenantConfig.model_validate(
            {
                "id": f"ingestion-{number}",
                "name": "A shop",
                "region": "eu",
                "schedule": "0 0 * * 1",
                "history_from": HISTORY_START.date(),
                "sources": sources,
                "use_cases": {"churn": {}},
                "pii_columns": pii_columns,
            }
        )
        return Shop(config, Lake(self.folder / f"lake-{number}"), self.store, self.connect)


def grant(patch: pytest.MonkeyPatch, **allowed: Any) -> None:
    """Let the operator's list say so, for every tenant; `limits` are its limits."""
    limits = allowed.pop("limits", {})
    default = {"packages": ["*"], **allowed}
    patch.setenv("TENANTRY_SOURCES", json.dumps({"default": default, "limits": limits}))
