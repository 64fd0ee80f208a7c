"""Tenants with features in a lake of their own and predictions in the real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest

from include.features.declarations import ALL_HISTORY
from include.features.reach import Reach
from include.handoffs import Monitored, Scored, TableVersion
from include.monitoring import Champion, monitor
from include.monitoring.live import measure_live
from include.monitoring.live_metrics import LiveMetric
from include.monitoring.maturity import Maturity
from include.monitoring.policy import DriftPolicy
from include.registry.predictions import Part, Prediction
from include.scoring.ranks import SCHEMA
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, global_owner
from tests.unused import unused

STORES: Final = in_postgres()
START = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = DriftPolicy(cooldown=timedelta(days=14), report_every=None)  # a page takes seconds
REACHES = {
    "spend__sum_amount_30d": Reach(timedelta(days=30), ("Order Completed",)),
    "frequency__count_all": Reach(ALL_HISTORY, ("Order Completed",), degree=1),
}


def week(number: int) -> datetime:
    """The instant `number` weeks after the champion was trained."""
    return START + number * timedelta(days=7)


def features(as_of: datetime, shift: float = 0.0, users: int = 80, seed: int = 0) -> pa.Table:
    """Features of users at an instant; `shift` moves what they spend."""
    draw = np.random.default_rng([seed, int(as_of.timestamp())])
    return pa.table(
        {
            "user_id": [f"user-{i:04}" for i in range(users)],
            "as_of": pa.array([as_of] * users, pa.timestamp("us", tz="UTC")),
            "spend__sum_amount_30d": draw.normal(10 + 4 * shift, 3, users),
            "frequency__count_30d": draw.poisson(3, users),
            "frequency__count_all": draw.poisson(as_of.timestamp() / 1e8, users),
        }
    )


def predict(table: pa.Table) -> Any:
    """A model that looks at the number of visits only."""
    return 1 / (1 + np.asarray(table["frequency__count_30d"]))


@dataclass
class Watched:
    """A tenant with a champion, version 1, trained at week 0."""

    config: TenantConfig
    lake: Lake

    def champion(self, version: str = "1", as_of: datetime = START, **changes: Any) -> Champion:
        """A champion whose reference is the week of its training and the one before."""
        tables = [features(as_of - timedelta(days=7 * back), seed=9) for back in (1, 0)]
        reference = pa.concat_tables(tables)
        reference = reference.append_column("prediction", pa.array(predict(reference)))
        return Champion(version, as_of, changes.pop("reference", reference), **changes)

    def score(
        self, as_of: datetime, version: str = "1", table: pa.Table | None = None, **how: Any
    ) -> Scored:
        """What features and scoring leave behind."""
        table = features(as_of, **how) if table is None else table
        stored = self.lake.put_table(
            self.config.ref, f"features/churn/{as_of:%Y%m%d}.parquet", table
        )
        self.store(
            as_of, list(zip(table["user_id"].to_pylist(), predict(table), strict=True)), version
        )
        lake = TableVersion(self.config.id, "events", 1, 1, "f" * 16)
        return Scored(
            self.config.id, "churn", as_of, version, "f" * 16, stored, lake, lake, table.num_rows
        )

    def store(
        self,
        as_of: datetime,
        scores: list[tuple[str, float]],
        version: str = "1",
        baseline: dict[str, float] | None = None,
    ) -> None:
        """Predictions of an instant, replaced as a whole."""
        rows = [
            {
                "entity_id": user,
                "item_id": "",
                "rank": rank,
                "score": float(score),
                "baseline_score": (baseline or {}).get(user),
            }
            for rank, (user, score) in enumerate(scores, start=1)
        ]
        part = Part(pa.Table.from_pylist(rows, schema=SCHEMA), version)
        STORES.predictions.replace(self.config.ref, "churn", as_of, [part], feature_fingerprint="f")

    def served(self, as_of: datetime, use_case: str = "churn") -> list[Prediction]:
        """What was stored of an instant."""
        return STORES.predictions.served(self.config.ref, use_case, as_of)

    def measure(
        self, as_of: datetime, labels: pa.Table, known: datetime, metric: str = "auc", **how: Any
    ) -> LiveMetric | None:
        """Measure what was stored of an instant by labels known later."""
        use_case = how.get("use_case", "churn")
        return measure_live(
            self.config.ref,
            use_case,
            self.served(as_of, use_case),
            labels,
            metric=metric,
            as_of=as_of,
            measured_as_of=known,
            live_metrics=STORES.live_metrics,
        )

    def monitor(self, scored: Scored, **how: Any) -> Monitored:
        """The stage with this tenant's usual arguments."""
        given = {
            "champion": self.champion(),
            "keys": ("user_id",),
            "data_loss": False,
            "lake": self.lake,
            "promotions": STORES.promotions,
            "predictions": STORES.predictions,
            "live_metrics": STORES.live_metrics,
            "maturity": Maturity(REACHES),
            **how,
        }
        policy = given.pop("policy", POLICY)
        return monitor(self.config, scored, policy, **given)

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
        mapping = {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"}
        files = {"type": "file", "path": "nowhere.csv", "format": "csv"}
        config = TenantConfig.model_validate(
            {
                "id": unused("watched"),
                "name": "Watched",
                "region": "eu",
                "schedule": "0 4 * * 1",
                "history_from": START.date(),
                "sources": [{"name": "pos", "connector": files, "events": mapping}],
                "use_cases": {"churn": {}, "recommendation": {}},
                **changes,
            }
        )
        return Watched(config, Lake(tmp_path / "lake"))

    return make


@pytest.fixture
def tenant(new_tenant: Callable[..., Watched]) -> Watched:
    """One tenant."""
    return new_tenant()
