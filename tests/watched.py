"""A tenant that is monitored: features in a lake of its own, and a model of two columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from include.features.declarations import ALL_HISTORY
from include.features.reach import Reach
from include.handoffs import Monitored, Scored, TableVersion
from include.monitoring.drift_page import page_of
from include.monitoring.drift_records import DriftVerdict
from include.monitoring.live import measure_live
from include.monitoring.live_metrics import LiveMetric
from include.monitoring.matured import Champion
from include.monitoring.maturity import Maturity
from include.monitoring.stage import monitor
from include.registry.predictions import Part, Prediction
from include.scoring.ranks import SCHEMA
from include.storage.lake import Lake
from include.stores import Stores
from include.tenants.config import TenantConfig
from include.use_cases.drift_policy import DriftPolicy
from tests.unused import unused

START = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = DriftPolicy(cooldown=timedelta(days=14))
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
    stores: Stores

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
        self.stores.predictions.replace(
            self.config.ref, "churn", as_of, [part], feature_fingerprint="f"
        )

    def served(self, as_of: datetime, use_case: str = "churn") -> list[Prediction]:
        """What was stored of an instant."""
        return self.stores.predictions.served(self.config.ref, use_case, as_of)

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
            live_metrics=self.stores.live_metrics,
        )

    def monitor(self, scored: Scored, **how: Any) -> Monitored:
        """The stage with this tenant's usual arguments."""
        given = {
            "champion": self.champion(),
            "keys": ("user_id",),
            "data_loss": False,
            "lake": self.lake,
            "promotions": self.stores.promotions,
            "retrains": self.stores.retrains,
            "drift": self.stores.drift,
            "predictions": self.stores.predictions,
            "live_metrics": self.stores.live_metrics,
            "maturity": Maturity(REACHES),
            **how,
        }
        policy = given.pop("policy", POLICY)
        return monitor(self.config, scored, policy, **given)

    def verdicts(self) -> list[DriftVerdict]:
        """All about churn."""
        return self.stores.drift.verdicts(self.config.ref, "churn")

    def figures(self) -> dict[str, Any]:
        """The numbers that the newest verdict rests on."""
        (verdict,) = self.verdicts()[-1:]
        text = self.lake.file_path(self.config.ref, verdict.report_path).read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def page(self, verdict: DriftVerdict) -> Path:
        """Where the page of a verdict is, or would be."""
        return self.lake.file_path(self.config.ref, page_of(verdict.report_path))


def config(**changes: Any) -> TenantConfig:
    """The file of a tenant nobody else has."""
    mapping = {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"}
    files = {"type": "file", "path": "nowhere.csv", "format": "csv"}
    return TenantConfig.model_validate(
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
