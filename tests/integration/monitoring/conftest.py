"""Tenants with features in a lake of their own and their rows in the real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.tenants.namespace import GLOBAL, global_owner
from tests import watched


@dataclass
class Watched(watched.Watched):
    """A tenant whose rows can be looked at."""

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows, without the time they were written at."""
        with tenant_transaction(self.config.ref) as connection:
            rows = connection.execute(sql).fetchall()
        clock = ("recorded_at", "decided_at", "triggered_at", "finished_at")
        return [{k: v for k, v in row.items() if k not in clock} for row in rows]

    def state(self) -> dict[str, Any]:
        """All that monitoring leaves behind, in a defined order."""
        home = self.lake.file_path(self.config.ref, "reports")
        return {
            "verdicts": self.query("SELECT * FROM drift_verdicts ORDER BY 1, 2, 3, 4"),
            "ledger": self.query("SELECT * FROM retrain_ledger ORDER BY 1, 2, 3"),
            "profiles": self.query("SELECT * FROM drift_profiles ORDER BY 1, 2, 3, 4, 5"),
            "live": self.query("SELECT * FROM live_metrics ORDER BY 1, 2, 3, 4"),
            "reports": {
                str(path.relative_to(home)): path.read_bytes()
                for path in sorted(home.rglob("*"))
                if path.is_file()
            },
        }


@pytest.fixture
def calm_platform(database: None) -> None:
    """A platform on which no tenant has drifted yet: the tests' tenants all live in one week."""
    for owner in (GLOBAL, *map(global_owner, ("eu", "us"))):
        with tenant_transaction(owner) as connection:
            connection.execute("DELETE FROM drift_breaches")
            connection.execute("DELETE FROM incidents")


@pytest.fixture
def new_tenant(calm_platform: None, tmp_path: Path) -> Callable[..., Watched]:
    """Makes a tenant nobody else has."""

    def make(**changes: Any) -> Watched:
        return Watched(watched.config(**changes), Lake(tmp_path / "lake"), in_postgres())

    return make


@pytest.fixture
def tenant(new_tenant: Callable[..., Watched]) -> Watched:
    """One tenant."""
    return new_tenant()
