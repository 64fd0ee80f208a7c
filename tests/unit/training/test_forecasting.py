"""Forecasts in training: baselines with intervals, and own models on the global one's trees."""

from __future__ import annotations

import json
from typing import Any

from include import use_cases
from include.handoffs import Candidate, Trained
from include.models.forecast import ForecastPredictor
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry.port import ModelVersion
from include.storage.lake import Lake
from include.tenants.namespace import GLOBAL
from include.training.stage import train, train_global
from tests.unit.training.conftest import AS_OF, Build, MakeTenant

DEMAND = use_cases.get("demand")


def model(lake: Lake, owner: Any, one: Candidate) -> Model:
    """A candidate's model."""
    return from_bytes(lake.get(owner, one.artifact))


def predictor(found: Model) -> ForecastPredictor:
    """Its predictor."""
    assert isinstance(found.predictor, ForecastPredictor)
    return found.predictor


def shared(lake: Lake, make_tenant: MakeTenant) -> tuple[Trained, tuple[ModelVersion, Model]]:
    """A global training, and its model as the registry would hand it back."""
    seeds = {"one": 1, "two": 2, "three": 4}
    tenants = [make_tenant(name, seed=seed) for name, seed in seeds.items()]
    trained = train_global(
        DEMAND, tenants, AS_OF, lake=lake, incumbent=None, trigger="manual", code_revision="r1"
    )
    (one,) = (c for c in trained.candidates if c.rung == "global")
    version = ModelVersion(
        tenant=GLOBAL.id,
        use_case="demand",
        version="1",
        rung="global",
        name=one.name,
        digest=one.artifact.digest,
        reference_digest=one.reference.digest,
        parent_version="",
        as_of=AS_OF,
        feature_fingerprint=DEMAND.fingerprint,
    )
    return trained, (version, model(lake, GLOBAL, one))


def test_whatever_may_serve_has_intervals(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Baselines, the global model, its trees with the tenant's own intervals, and an own model."""
    _, champion = shared(lake, make_tenant)
    tenant = make_tenant("mine", seed=3)
    trained = train(
        tenant,
        DEMAND,
        build(tenant, "demand"),
        lake=lake,
        incumbent=None,
        global_champion=champion,
        trigger="scheduled",
        code_revision="r1",
    )
    found = {f"{c.rung}/{c.name}": model(lake, tenant.ref, c) for c in trained.candidates}
    rules = {f"baseline/{one.name}" for one in DEMAND.baselines}
    assert set(found) == {*rules, "global/forecast", "own/recalibrated", "own/forecast"}
    for name, one in found.items():
        assert set(predictor(one).margins) == {"80", "95"}, name
        assert bool(predictor(one).boosters) == (name not in rules)
    ours, theirs = predictor(found["own/recalibrated"]), predictor(champion[1])
    assert ours.payload()["trees"] == theirs.payload()["trees"]
    assert ours.margins != theirs.margins
    evidence = json.loads(lake.get(tenant.ref, trained.evaluation))["evidence"]
    compared = {(one["candidate"], one["against"]) for one in evidence["comparisons"]}
    assert ("own/recalibrated", "global/forecast") in compared
    assert all(one["value"] is not None for one in evidence["candidates"])


def test_a_tenant_without_a_past_has_forecasts_without_intervals(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Last week can be repeated at once; how far that is off, nobody knows yet."""
    tenant = make_tenant("young", customers=0)
    trained = train(
        tenant,
        DEMAND,
        build(tenant, "demand"),
        lake=lake,
        incumbent=None,
        global_champion=None,
        trigger="scheduled",
        code_revision="r1",
    )
    assert [c.name for c in trained.candidates] == [one.name for one in DEMAND.baselines]
    for one in trained.candidates:
        assert predictor(model(lake, tenant.ref, one)).margins == {}


def test_a_forecast_of_products_refers_to_each_product(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """The reference that drift is measured against tells products apart, and names none."""
    trained, _ = shared(lake, make_tenant)
    reference = lake.get_table(GLOBAL, trained.candidates[0].reference)
    assert len(set(reference["item_id"].to_pylist())) > 20
    assert all(code.isdigit() for code in reference["item_id"].to_pylist())


def test_training_twice_gives_the_same_bytes(lake: Lake, make_tenant: MakeTenant) -> None:
    """A killed task that runs again leaves what the first attempt would have left."""
    assert shared(lake, make_tenant)[0] == shared(lake, make_tenant)[0]
