"""Training on events as rows: simulated payments, with and without anybody who disputes one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.features import inputs
from include.features import stage as features
from include.handoffs import FeaturesBuilt, Interval, Trained
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry.decision import decide_promotion
from include.registry.evidence import Evidence
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.contenders import baselines
from include.training.dataset import Pinned, build
from include.training.metrics import measure
from include.training.stage import train
from include.use_cases.declaration import Gates
from include.use_cases.spines import event_columns, scoring_spine

START, WEEK = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=7)
AS_OF = START + timedelta(days=182)
FRAUD = replace(
    use_cases.get("fraud"), gates=Gates(minimum_rows=500, minimum_positives=20, minimum_entities=20)
)
WORLD = World(9, "payments", (TenantPlan("payer", users=500),), start=START.date(), days=182)


@dataclass(frozen=True)
class Payer:
    """A tenant and its payments."""

    tenant: TenantConfig
    lake: Lake

    @property
    def pinned(self) -> Pinned:
        """Its tables as they are."""
        versions = (self.lake.version(self.tenant.ref, kind) for kind in ("events", "attributes"))
        return Pinned(self.tenant, *versions)

    def train(self) -> Trained:
        """The features stage of the last week, then training."""
        pinned = self.pinned
        read = inputs.read(
            self.tenant,
            FRAUD.features,
            events=pinned.events,
            attributes=pinned.attributes,
            known_at=AS_OF,
            lake=self.lake,
            also=event_columns(FRAUD),
        )
        spine = scoring_spine(FRAUD, read.events, AS_OF, AS_OF - WEEK)
        stored = features.build(
            "fraud",
            FRAUD.features,
            spine,
            read,
            as_of=AS_OF,
            lake=self.lake,
            request=FRAUD.request,
        )
        built = FeaturesBuilt(
            tenant=self.tenant.id,
            use_case="fraud",
            as_of=AS_OF,
            features=stored,
            feature_fingerprint=FRAUD.fingerprint,
            events=pinned.events,
            attributes=pinned.attributes,
            training_due=True,
            training_reason="a test",
        )
        return train(
            self.tenant,
            FRAUD,
            built,
            lake=self.lake,
            incumbent=None,
            global_champion=None,
            trigger="scheduled",
            code_revision="r1",
        )

    def evidence(self, trained: Trained) -> Evidence:
        """What a promotion is decided on."""
        content = self.lake.get(self.tenant.ref, trained.evaluation)
        return Evidence.from_document(json.loads(content))

    def model(self, trained: Trained, key: str) -> Model:
        """One of the candidates."""
        one = next(c for c in trained.candidates if f"{c.rung}/{c.name}" == key)
        return from_bytes(self.lake.get(self.tenant.ref, one.artifact))


@pytest.fixture(scope="module")
def payments() -> pa.Table:
    """Half a year of payments and disputes."""
    return simulate_tenant(WORLD, "payer").events


def payer(folder: Path, events: pa.Table) -> Payer:
    mapping = {
        "event_column": "event",
        "event_id": ["event_id"],
        "event_timestamp": "happened_at",
        "user_id": "user_id",
    }
    connector = {"type": "file", "path": "events.parquet", "format": "parquet"}
    settings: dict[str, Any] = {
        "id": "payer",
        "name": "Payer",
        "region": "eu",
        "schedule": "0 0 * * 1",
        "history_from": START.date(),
        "sources": [{"name": "events", "connector": connector, "events": mapping}],
        "use_cases": {"fraud": {}},
    }
    one = Payer(TenantConfig.model_validate(settings), Lake(folder))
    whole = Interval(START - WEEK, AS_OF + WEEK)
    one.lake.replace_slice(one.tenant.ref, "events", "events", whole, events.to_batches())
    return one


def test_a_tenant_without_a_dispute_is_served_by_what_needs_no_label(
    payments: pa.Table, tmp_path: Path
) -> None:
    """ECOD is fitted on the training rows and chosen, though nothing can be measured."""
    undisputed = payments.filter(pc.equal(payments["event"], "Payment Made"))
    one = payer(tmp_path, undisputed)
    trained = one.train()
    evidence = one.evidence(trained)
    assert all(candidate.value is None for candidate in evidence.candidates)
    chosen = decide_promotion(evidence).chosen
    assert chosen is not None
    assert chosen.key == "baseline/ecod"
    model = one.model(trained, chosen.key)
    assert model.parameters["rows"] == trained.training_rows
    assert set(model.columns) < set(FRAUD.columns)


def test_no_label_of_a_training_payment_reaches_into_the_holdout(
    payments: pa.Table, tmp_path: Path
) -> None:
    """Snapshots are spans of payments, cut so that all labels end before the next part begins."""
    one = payer(tmp_path, payments)
    data = build(FRAUD, [one.pinned], AS_OF, one.lake)
    windows = data.windows
    assert windows.training[-1] + FRAUD.reach <= windows.holdout[0]
    assert windows.holdout[-1] + FRAUD.reach <= AS_OF
    inner, last = windows.inner(FRAUD.reach)
    assert last is None or inner[-1] + FRAUD.reach <= last
    assert set(np.unique(data.training.as_of)) <= {
        np.datetime64(at.replace(tzinfo=None), "us") for at in windows.training
    }
    assert data.training.features.column_names == list(FRAUD.feature_columns)
    assert len(np.unique(data.training.entity)) <= 500 < len(data.training)


def test_unusual_payments_are_disputed_more_often_than_large_ones(
    payments: pa.Table, tmp_path: Path
) -> None:
    """Without a single label ECOD is better than the rule of thumb."""
    one = payer(tmp_path, payments)
    data = build(FRAUD, [one.pinned], AS_OF, one.lake)
    reached = {
        each.name: measure("auc", data.holdout, each.model.predict(data.holdout.features))
        for each in baselines(FRAUD, data)
    }
    assert reached["ecod"] > 0.85 > reached["large_amount"]
