"""Forecasts from events to stored predictions: trained, decided, registered, scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.features import inputs
from include.features import stage as features
from include.handoffs import FeaturesBuilt, Interval, Trained
from include.pipeline.translate import shown_baseline
from include.registry.in_memory import InMemoryRegistry
from include.registry.stage import register
from include.scoring.stage import score
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.memory.promotions import InMemoryPromotions
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.training.stage import train
from include.use_cases.spines import EVENT_COLUMNS, scoring_spine
from tests.unused import unused

pytestmark = pytest.mark.integration

AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
WHOLE = Interval(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
DAYS = 250


@dataclass(frozen=True)
class Scored:
    """What a run of one use case left behind."""

    trained: Trained
    evidence: dict[str, Any]
    rung: str
    rows: list[dict[str, Any]]


def events(tenant: str, name: str) -> pa.Table:
    """Forty items, or learners, each with a rate of its own; on Fridays at 17:00 and at noon."""
    draw = np.random.default_rng(5)
    rates = np.exp(draw.uniform(-3, 0.5, 40))
    rows = []
    for day in range(DAYS):
        at = AS_OF - timedelta(days=DAYS - day, hours=-(17 if day % 7 == 4 else 12))
        for number in np.flatnonzero(draw.random(40) < 1 - np.exp(-rates)).tolist():
            item = name == "demand"
            rows.append(
                {
                    "tenant_id": tenant,
                    "source": "app",
                    "event_id": f"{day}-{number}",
                    "event": "Order Completed" if item else "Lesson Completed",
                    "user_id": f"u{number if not item else day}",
                    "item_id": f"i{number if item else day % 9}",
                    "group_id": f"b{day}",
                    "quantity": float(1 + draw.poisson(rates[number])),
                    "amount": 2.5,
                    "event_timestamp": at,
                    "created_timestamp": at,
                    "month": f"{at:%Y-%m}",
                }
            )
    return pa.Table.from_pylist(rows, EVENTS)


def config(name: str, use_case: str) -> TenantConfig:
    """A tenant with that one use case."""
    mapping = {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"}
    connector = {"type": "file", "path": "events.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": date(2023, 1, 1),
            "sources": [{"name": "app", "connector": connector, "events": mapping}],
            "use_cases": {use_case: {}},
        }
    )


def run(name: str, lake: Lake) -> Scored:
    """Everything from the lake to the table of predictions."""
    case, tenant = use_cases.get(name), config(unused("fore"), name)
    lake.replace_slice(tenant.ref, "events", "app", WHOLE, events(tenant.id, name).to_batches())
    tables = [lake.version(tenant.ref, kind) for kind in ("events", "attributes")]
    read = inputs.read(
        tenant,
        case.features,
        events=tables[0],
        attributes=tables[1],
        known_at=AS_OF,
        lake=lake,
        also=EVENT_COLUMNS,
    )
    spine = scoring_spine(case, read.events, AS_OF)
    built = FeaturesBuilt(
        tenant.id,
        name,
        AS_OF,
        features.build(name, case.features, spine, read, as_of=AS_OF, lake=lake),
        case.fingerprint,
        *tables,
        True,
        "a test",
    )
    trained = train(
        tenant,
        case,
        built,
        lake=lake,
        incumbent=None,
        global_champion=None,
        trigger="scheduled",
        code_revision="r1",
    )
    registry = InMemoryRegistry()
    promotions, stores = InMemoryPromotions(), in_postgres()
    registered = register(
        tenant.ref,
        trained,
        registry=registry,
        promotions=promotions,
        incidents=stores.incidents,
        lake=lake,
        feature_fingerprint=case.fingerprint,
    )
    score(
        tenant.ref,
        built,
        case.task,
        10,
        registry=registry,
        promotions=promotions,
        experiments=stores.experiments,
        predictions=stores.predictions,
        lake=lake,
        entity=case.entity,
        baseline=shown_baseline(case),
        beside=case.details,
    )
    with tenant_transaction(tenant.ref) as connection:
        rows = connection.execute("SELECT * FROM predictions ORDER BY rank").fetchall()
    evidence = json.loads(lake.get(tenant.ref, trained.evaluation))["evidence"]
    return Scored(trained, evidence, registered.rung, rows)


def check(found: Scored, name: str) -> None:
    """Every entity has a forecast within its two intervals, whoever serves, a baseline too."""
    case = use_cases.get(name)
    candidates = {f"{one.rung}/{one.name}" for one in found.trained.candidates}
    assert candidates == {*(f"baseline/{one.name}" for one in case.baselines), "own/forecast"}
    values = {f"{one['rung']}/{one['name']}": one["value"] for one in found.evidence["candidates"]}
    assert all(value is not None for value in values.values())
    assert values["own/forecast"] > 0
    assert found.rung in ("baseline", "own")
    assert len(found.rows) > 30
    for row in found.rows:
        kept = row["details"]
        assert 0 <= kept["low_95"] <= kept["low_80"] <= row["score"]
        assert row["score"] <= kept["high_80"] <= kept["high_95"]
        assert row["baseline_score"] is not None
    assert any(row["details"]["high_95"] > row["details"]["high_80"] for row in found.rows)


def test_demand_goes_from_events_to_stored_intervals(database: Any, lake: Lake) -> None:
    """Beside each product stand what an order comes to and the local hours of most sales."""
    found = run("demand", lake)
    check(found, "demand")
    assert {row["entity_id"] for row in found.rows} <= {f"i{n}" for n in range(40)}
    kept = [row["details"] for row in found.rows]
    assert all(one["peak_hours"] == [12, 17] for one in kept)
    (value,) = {one["average_order_value"] for one in kept}
    assert value > 2.5


def test_engagement_goes_from_events_to_stored_states(database: Any, lake: Lake) -> None:
    """The state follows from the forecast, the trend from it and the month before."""
    found = run("engagement", lake)
    check(found, "engagement")
    assert {row["entity_id"] for row in found.rows} <= {f"u{n}" for n in range(40)}
    for row in found.rows:
        assert row["score"] <= 31
        assert row["details"]["state"] == ("active" if row["score"] >= 1 else "inactive")
        assert abs(row["score"] - row["details"]["trend"]) <= 30.05
    assert len({row["details"]["trend"] > 0 for row in found.rows}) == 2
