"""A tenant whose customers come back with a known chance, and models that know it more or less."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

from include import use_cases
from include.handoffs import FeaturesBuilt, Interval, Scored, TableVersion
from include.models.baselines import baseline_model
from include.models.serialise import to_bytes
from include.pipeline.experiments import begin, look
from include.pipeline.runs import Run
from include.registry.aliases import follow_ledger
from include.registry.experiments import Experiment
from include.registry.in_memory import InMemoryRegistry
from include.registry.policy import Policy
from include.registry.port import NewVersion
from include.registry.predictions import Prediction
from include.registry.promotions import Promotion
from include.scoring.stage import score
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores import Stores
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.use_cases.declaration import Label, UseCase
from include.wiring import Platform

WEEK = timedelta(days=7)
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
#: Whether somebody comes back within a week.
CASE: UseCase = replace(use_cases.get("churn"), label=Label("present", WEEK), details=(), reasons=0)
TABLES = (
    *("predictions", "shadow_predictions", "experiments", "outcomes_measured"),
    *("experiment_outcomes", "shadow_outcomes", "promotions"),
)
_numbers = count()


def monday(number: int) -> datetime:
    """The end of a week."""
    return MONDAY + number * WEEK


def config(name: str) -> TenantConfig:
    """A tenant with weekly intervals."""
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * 1",
            "history_from": "2023-12-04",
            "use_cases": {CASE.name: None},
            "sources": [
                {
                    "name": "orders",
                    "connector": {"type": "file", "path": "x.csv", "format": "csv"},
                    "events": {
                        "event": CASE.outcomes[0],
                        "event_id": ["id"],
                        "event_timestamp": "at",
                        "user_id": "user",
                    },
                }
            ],
        }
    )


def nobody(_: str) -> AbstractContextManager[Any]:
    """No source is read here."""
    raise AssertionError


@dataclass
class Shop:
    """Every week half of the customers are new; version 1 serves, version 2 may challenge it."""

    lake: Lake
    customers: int = 300
    weeks: int = 10
    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    stores: Stores = field(default_factory=in_postgres)
    number: int = field(default_factory=lambda: next(_numbers))

    def __post_init__(self) -> None:
        self.config = config(f"trial-{self.number}")
        self.ref = self.config.ref
        draw = np.random.default_rng(7)
        people = self.customers * (self.weeks + 1) // 2
        self.chance = draw.beta(0.5, 0.5, people)
        self.names = [f"user-{n:05}" for n in range(people)]
        rows = []
        for week in range(self.weeks):
            for person in self._active(week):
                if draw.random() < self.chance[person]:
                    at = monday(week) + timedelta(days=1)
                    rows.append(
                        {
                            "tenant_id": self.ref.id,
                            "source": "orders",
                            "event_id": f"{week}-{person}",
                            "event": CASE.outcomes[0],
                            "user_id": self.names[person],
                            "event_timestamp": at,
                            "created_timestamp": at,
                            "month": f"{at:%Y-%m}",
                        }
                    )
        batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
        weeks = Interval(MONDAY, monday(self.weeks + 1))
        self.lake.replace_slice(self.ref, "events", "orders", weeks, batches)

    def _active(self, week: int) -> range:
        return range(week * self.customers // 2, (week + 2) * self.customers // 2)

    def add(self, knows: str, rung: str = "own", fingerprint: str = "f1", **more: Any) -> str:
        """Register a model that scores by the column of that name; its number."""
        model = baseline_model({"column": knows, "descending": False, "then": ""})
        new = NewVersion(
            key=f"{knows}/{rung}/{fingerprint}",
            rung=rung,
            name=knows,
            model=to_bytes(model),
            reference=b"PAR1",
            parent_version=more.get("parent", ""),
            as_of=MONDAY,
            feature_fingerprint=fingerprint,
            parameters={},
            metrics={"auc": 0.8, "auc_low": 0.75, "auc_high": 0.85},
            lineage={},
        )
        return self.registry.register(self.ref, CASE.name, new).version

    def promote(
        self, version: str, as_of: datetime, trigger: str = "scheduled", challenger: str = ""
    ) -> None:
        """Let a version serve from then on."""
        serving = self.stores.promotions.champion_at(self.ref, CASE.name)
        found = self.registry.get(self.ref, CASE.name, version)
        self.stores.promotions.record(
            self.ref,
            Promotion(
                self.ref.id,
                CASE.name,
                as_of,
                trigger,
                True,
                version,
                found.rung,
                found.digest,
                serving.version if serving else "",
                ("first",),
                {"metric": "auc", "challenger": challenger, "candidates": [], "incumbent": None},
            ),
        )
        follow_ledger(self.ref, CASE.name, self.registry, self.stores.promotions)

    def begin(self, challenger: str, policy: Policy, as_of: datetime) -> Experiment:
        """Try a version against the one that serves."""
        given = {"as_of": as_of, "platform": self.platform, "by": "ada", "because": "to see"}
        return begin(self.config, CASE.name, challenger, policy, **given)

    def features(self, week: int) -> FeaturesBuilt:
        """Who is active, and what the models may know of their chance to come back."""
        active = np.array(self._active(week))
        chance = self.chance[active]
        table = pa.table(
            {
                "user_id": [self.names[n] for n in active],
                "good": chance,
                "alike": np.clip(chance + np.where(active % 2, 0.02, -0.02), 0, 1),
                "fair": 0.5 + 0.2 * (chance - 0.5),
                "bad": 1 - chance,
            }
        )
        at = monday(week)
        stored = self.lake.put_table(self.ref, f"features/{at:%Y%m%d}.parquet", table)
        there = self.lake.version(self.ref, "events")
        none = TableVersion(self.ref.id, "attributes", 0, 0, "s")
        return FeaturesBuilt(self.ref.id, CASE.name, at, stored, "f1", there, none, False, "no")

    def score(self, week: int) -> Scored:
        """Score the week."""
        return score(
            self.ref,
            self.features(week),
            CASE.task,
            10,
            registry=self.registry,
            promotions=self.stores.promotions,
            experiments=self.stores.experiments,
            predictions=self.stores.predictions,
            lake=self.lake,
            entity=CASE.entity,
        )

    def look(self, scored: Scored) -> Experiment | None:
        """What monitoring does about experiments."""
        return look(self.run(scored.as_of), scored)

    @property
    def platform(self) -> Platform:
        """What stages are given."""
        return Platform(self.lake, self.registry, self.stores, nobody)

    def run(self, as_of: datetime) -> Run:
        """The run of the week that ends then."""
        return Run(self.platform, self.config, Interval(as_of - WEEK, as_of), use_case=CASE)

    def week(self, number: int) -> Experiment | None:
        """Score and look."""
        return self.look(self.score(number))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All of the tenant's rows, without when they were written."""
        with tenant_transaction(self.ref) as connection:
            found = connection.execute(f"SELECT * FROM {table}").fetchall()
        written = ("recorded_at", "decided_at")
        plain = [{k: v for k, v in row.items() if k not in written} for row in found]
        return sorted(plain, key=str)

    def served(self, week: int) -> list[Prediction]:
        """What was served at the end of a week."""
        return self.stores.predictions.served(self.ref, CASE.name, monday(week))

    def aliases(self) -> dict[str, str]:
        """The versions that the registry's aliases name; empty where there is none."""
        return {
            name: found.version if (found := self.registry.alias(self.ref, CASE.name, name)) else ""
            for name in ("champion", "challenger")
        }

    def state(self) -> dict[str, Any]:
        """Everything that scoring and looking leave."""
        return {**{table: self.rows(table) for table in TABLES}, "aliases": self.aliases()}
