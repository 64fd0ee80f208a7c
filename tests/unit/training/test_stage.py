"""The training stage on a small shop: candidates, evidence, determinism, isolation."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from include import use_cases
from include.errors import ConfigError, IntegrityError, IsolationError
from include.handoffs import FeaturesBuilt, Trained, unpack
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry.decision import decide_promotion
from include.registry.evidence import Evidence
from include.registry.port import ModelVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig, UseCaseOverrides
from include.tenants.namespace import GLOBAL
from include.training.stage import train, train_global
from tests.unit.training.conftest import AS_OF, Build, MakeTenant

CHURN = use_cases.get("churn")
Version = tuple[ModelVersion, Model]


def run(lake: Lake, tenant: TenantConfig, built: FeaturesBuilt, **given: Any) -> Trained:
    case = use_cases.get(built.use_case)
    fixed = {"incumbent": None, "global_champion": None, "trigger": "scheduled"}
    return train(tenant, case, built, lake=lake, code_revision="r1", **{**fixed, **given})


def document(lake: Lake, trained: Trained, tenant: TenantConfig | None = None) -> dict[str, Any]:
    owner = tenant.ref if tenant else GLOBAL
    return json.loads(lake.get(owner, trained.evaluation))


def keys(trained: Trained) -> set[str]:
    return {f"{one.rung}/{one.name}" for one in trained.candidates}


def registered(lake: Lake, trained: Trained, rung: str, owner: Any) -> Version:
    """The candidate of a rung, as the registry would hand it back."""
    one = next(c for c in trained.candidates if c.rung == rung)
    version = ModelVersion(
        tenant=owner.id,
        use_case=trained.use_case,
        version="1",
        rung=one.rung,
        name=one.name,
        digest=one.artifact.digest,
        reference_digest=one.reference.digest,
        parent_version=one.parent_version,
        as_of=trained.as_of,
        feature_fingerprint=use_cases.get(trained.use_case).features.fingerprint,
    )
    return version, from_bytes(lake.get(owner, one.artifact))


@pytest.mark.parametrize("name", ["churn", "recommendation"])
def test_a_tenant_with_enough_data_gets_baselines_and_a_model_of_its_own(
    name: str, lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Every candidate is stored, measured on the same rows, and within its own interval."""
    tenant = make_tenant()
    trained = run(lake, tenant, build(tenant, name))
    case = use_cases.get(name)
    assert {f"baseline/{b.name}" for b in case.baselines} < keys(trained)
    assert [c.rung for c in trained.candidates].count("own") == 1
    assert trained.holdout_rows > 0
    for one in trained.candidates:
        assert one.metric_low <= one.metric <= one.metric_high
        model = from_bytes(lake.get(tenant.ref, one.artifact))
        reference = lake.get_table(tenant.ref, one.reference)
        columns = [*case.keys, "as_of", *case.features.columns, "prediction"]
        assert reference.column_names == columns
        assert all(code.isdigit() for code in reference["user_id"].to_pylist())
        assert reference.num_rows <= 5_000
        again = model.predict(reference)
        assert reference["prediction"].to_pylist() == again.tolist()


def test_the_evaluation_tells_the_whole_lineage(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Whoever audits a model finds data, time, seed, code, parameters and segments."""
    tenant = make_tenant()
    built = build(tenant, "churn")
    found = document(lake, run(lake, tenant, built), tenant)
    assert found["code_revision"] == "r1"
    assert found["feature_fingerprint"] == CHURN.features.fingerprint
    assert found["seed"] == CHURN.seed
    assert {t["table"]: t["version"] for t in found["tables"]} == {
        "events": built.events.version,
        "attributes": built.attributes.version,
    }
    assert max(found["windows"]["holdout"]) == (AS_OF - timedelta(days=30)).isoformat()
    assert "lightgbm" in found["libraries"]
    own = next(m for m in found["models"].values() if m["rung"] == "own")
    assert own["parameters"]["seed"] == CHURN.seed
    assert len(own["segments"]) > 1
    assert set(own["metrics"]) == set(CHURN.metrics)


def test_a_global_training_keeps_each_tenants_spine_with_the_tenant(
    lake: Lake, make_tenant: MakeTenant
) -> None:
    """Nobody's users stand in the folder that all global models share."""
    tenants = [make_tenant("one", seed=1), make_tenant("two", seed=2)]
    trained = train_global(
        CHURN, tenants, AS_OF, lake=lake, incumbent=None, trigger="manual", code_revision="r1"
    )
    recorded = [unpack(one) for one in document(lake, trained)["training_sets"]]
    assert [one.recipe.tenant for one in recorded] == ["one", "two"]
    for one, tenant in zip(recorded, tenants, strict=True):
        assert one.spine.tenant == tenant.id
        assert lake.get_table(tenant.ref, one.spine).num_rows == one.spine.rows > 0


@pytest.mark.parametrize("name", ["churn", "recommendation"])
def test_training_twice_from_the_same_inputs_gives_the_same_bytes(
    name: str, lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """A killed task that runs again leaves what the first attempt would have left."""
    tenant = make_tenant()
    built = build(tenant, name)
    assert run(lake, tenant, built) == run(lake, tenant, built)


_PROCESS = """
import sys
from datetime import datetime
from pathlib import Path
from include import use_cases
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.stage import train_global
lake, as_of, name, *configs = sys.argv[1:]
tenants = [TenantConfig.model_validate_json(one) for one in configs]
trained = train_global(
    use_cases.get(name), tenants, datetime.fromisoformat(as_of),
    lake=Lake(Path(lake)), incumbent=None, trigger="manual", code_revision="r1",
)
stored = [trained.evaluation, *(o for c in trained.candidates for o in (c.artifact, c.reference))]
print(*(one.digest for one in stored))
"""


@pytest.mark.parametrize("name", ["churn", "recommendation"])
def test_two_processes_train_the_same_model(name: str, lake: Lake, make_tenant: MakeTenant) -> None:
    """Neither hash seeds nor memory addresses show in a digest."""
    tenants = [make_tenant(id_, seed=seed) for seed, id_ in enumerate(("one", "two", "three"))]
    configs = [one.model_dump_json() for one in tenants]
    arguments = [str(lake.root), AS_OF.isoformat(), name, *configs]
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROCESS, *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len(found[0].split()) == 1 + 2 * (len(use_cases.get(name).baselines) + 1)


def test_events_that_arrive_after_the_training_change_nothing(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """A training sees the past as it was known then."""
    short = make_tenant()
    before = run(lake, short, build(short, "churn"))
    longer = make_tenant(until=AS_OF + timedelta(days=60))
    after = run(lake, longer, build(longer, "churn"))
    assert [c.artifact.digest for c in before.candidates] == [
        c.artifact.digest for c in after.candidates
    ]
    assert [c.reference.digest for c in before.candidates] == [
        c.reference.digest for c in after.candidates
    ]


def test_a_tenant_with_too_few_rows_gets_no_model_of_its_own(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """The reason says how many rows there are and how many it takes; the tenant may override."""
    tenant = make_tenant()
    strict = tenant.model_copy(update={"use_cases": {"churn": UseCaseOverrides(minimum_rows=9**9)}})
    trained = run(lake, strict, build(strict, "churn"))
    assert keys(trained) == {"baseline/recency", "baseline/frequency_90d"}
    (note,) = document(lake, trained, strict)["evidence"]["notes"]
    assert f"{trained.training_rows:,} training rows are fewer than the {9**9:,}" in note


def test_with_a_global_model_a_tenants_own_ones_build_on_it(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """They name their parent, and are judged on more than the last two windows."""
    others = [
        make_tenant("large", seed=5, customers=150),
        make_tenant("small", seed=6),
        make_tenant("smaller", seed=7),
    ]
    shared = train_global(
        CHURN, others, AS_OF, lake=lake, incumbent=None, trigger="scheduled", code_revision="r1"
    )
    champion = registered(lake, shared, "global", GLOBAL)
    tenant = make_tenant()
    trained = run(lake, tenant, build(tenant, "churn"), global_champion=champion)
    parents = {c.name: c.parent_version for c in trained.candidates if c.rung == "own"}
    assert parents.pop("residual") == "global/churn@1"
    assert list(parents.values()) == [""]
    evidence = Evidence.from_document(document(lake, trained, tenant))
    assert next(c.name for c in evidence.candidates if c.rung == "own") == "residual"
    assert not any(need.missing for need in evidence.needs)
    assert evidence.false_promotions == CHURN.gates.false_promotions
    found = {c.candidate: c for c in evidence.comparisons if c.against.startswith("global/")}
    windows = {key: one.windows or 0 for key, one in found.items() if key.startswith("own/")}
    assert windows.pop("own/residual") > 1
    assert list(windows.values()) == [1]  # two, whose labels share half of their days
    decision = decide_promotion(evidence)
    assert decision.chosen is not None


def test_days_of_history_are_a_gate_like_rows_and_labels(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """A tenant may have rows enough and yet have seen no season."""
    tenant = make_tenant()
    patient = replace(CHURN, gates=replace(CHURN.gates, minimum_days=400))
    built = build(tenant, "churn")
    fixed = {"incumbent": None, "global_champion": None, "trigger": "manual"}
    trained = train(tenant, patient, built, lake=lake, code_revision="r1", **fixed)
    assert "own" not in {c.rung for c in trained.candidates}
    evidence = Evidence.from_document(document(lake, trained, tenant))
    assert "days of history are fewer than the 400 it takes" in evidence.notes[0]
    assert [need.what for need in evidence.needs if need.missing] == ["days of history"]


def test_a_tenant_without_a_past_starts_on_the_global_model(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Nothing can be measured yet, so the reference is the window that is scored now."""
    others = [make_tenant(name, seed=seed) for seed, name in enumerate(("alder", "birch", "cedar"))]
    shared = train_global(
        CHURN,
        others,
        AS_OF,
        lake=lake,
        incumbent=None,
        trigger="scheduled",
        code_revision="r1",
    )
    champion = registered(lake, shared, "global", GLOBAL)
    young = make_tenant("young", since=AS_OF - timedelta(days=20))
    built = build(young, "churn")
    trained = run(lake, young, built, global_champion=champion)
    assert trained.holdout_rows == 0
    decision = decide_promotion(Evidence.from_document(document(lake, trained, young)))
    assert decision.chosen is not None
    assert decision.chosen.rung == "global"
    adopted = next(c for c in trained.candidates if c.rung == "global")
    assert adopted.parent_version == "global/churn@1"
    assert adopted.reference.rows == built.features.rows > 0


def test_a_tenant_without_events_still_gets_baselines(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """An empty tenant is no error."""
    tenant = make_tenant(customers=0)
    trained = run(lake, tenant, build(tenant, "recommendation"))
    assert keys(trained) == {"baseline/popularity", "baseline/own_history"}
    assert trained.training_rows == trained.holdout_rows == 0


def test_an_incumbent_is_measured_beside_its_challengers(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Its digest stays the registered one, and each candidate is compared with it."""
    tenant = make_tenant()
    first = run(lake, tenant, build(tenant, "churn", AS_OF - timedelta(days=21)))
    incumbent = registered(lake, first, "own", tenant.ref)
    trained = run(lake, tenant, build(tenant, "churn"), incumbent=incumbent, trigger="drift")
    evidence = Evidence.from_document(document(lake, trained, tenant))
    assert evidence.incumbent is not None
    assert evidence.incumbent.digest == incumbent[0].digest
    assert evidence.incumbent.value is not None
    compared = {c.candidate for c in evidence.comparisons if c.against == evidence.incumbent.key}
    assert compared == keys(trained)


def test_models_that_cannot_be_compared_are_named_and_left_out(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """Other features, a later training, and a baseline in the global seat are no candidates."""
    tenant = make_tenant()
    built = build(tenant, "churn")
    version, model = registered(lake, run(lake, tenant, built), "own", tenant.ref)
    for changes, reason in (
        ({"feature_fingerprint": "0" * 16}, "declared before"),
        ({"as_of": AS_OF + timedelta(days=1)}, "trained later"),
        ({"rung": "baseline"}, "is a baseline"),
    ):
        shared = (replace(version, **changes), model)
        trained = run(lake, tenant, built, global_champion=shared)
        assert "global" not in {c.rung for c in trained.candidates}
        assert reason in document(lake, trained, tenant)["evidence"]["notes"][0]


def test_a_model_that_knows_the_holdout_is_not_measured_on_it(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """A source that stopped moves the holdout back into time the global model has learnt from."""
    tenant = make_tenant(until=AS_OF - timedelta(days=60))
    alive = [make_tenant(name, seed=seed) for seed, name in enumerate(("alder", "birch", "cedar"))]
    shared = train_global(
        CHURN, alive, AS_OF, lake=lake, incumbent=None, trigger="manual", code_revision="r1"
    )
    champion = registered(lake, shared, "global", GLOBAL)
    trained = run(lake, tenant, build(tenant, "churn"), global_champion=champion)
    found = document(lake, trained, tenant)
    assert found["models"]["global/" + champion[0].name]["metrics"]["auc"]["value"] is None
    assert "own time" in found["evidence"]["notes"][0]


def test_another_model_than_the_registered_one_is_refused(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """What is measured must be what serves."""
    tenant = make_tenant()
    built = build(tenant, "churn")
    version, model = registered(lake, run(lake, tenant, built), "own", tenant.ref)
    with pytest.raises(IntegrityError, match="reads back as"):
        run(lake, tenant, built, incumbent=(replace(version, digest="0" * 64), model))


def test_features_of_another_tenant_or_declaration_are_refused(
    lake: Lake, make_tenant: MakeTenant, build: Build
) -> None:
    """A training never mixes tenants, and never mixes declarations."""
    ours, theirs = make_tenant("ours"), make_tenant("theirs", customers=5)
    built = build(ours, "churn")
    with pytest.raises(IsolationError, match="ours"):
        run(lake, theirs, built)
    with pytest.raises(ConfigError, match="features stage again"):
        run(lake, ours, replace(built, feature_fingerprint="0" * 16))
    with pytest.raises(ConfigError, match="trigger"):
        run(lake, ours, built, trigger="whim")


def test_a_tenant_without_consent_never_enters_the_global_model(
    lake: Lake, make_tenant: MakeTenant
) -> None:
    """It is refused by name before anything is read."""
    tenants = [make_tenant("yes"), make_tenant("no", consent=False)]
    with pytest.raises(IsolationError, match=r"^no did not consent"):
        train_global(
            CHURN, tenants, AS_OF, lake=lake, incumbent=None, trigger="manual", code_revision="r1"
        )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_global_model_takes_the_rows_of_three_tenants(
    count: int, lake: Lake, make_tenant: MakeTenant
) -> None:
    """Of one it would be that tenant's own model in others' hands; of two, each would know the
    other's part."""
    tenants = [make_tenant(f"tenant-{n}", seed=n) for n in range(count)]
    silent = make_tenant("silent", until=AS_OF - timedelta(days=400))  # consents, and has no rows
    trained = train_global(
        CHURN,
        [*tenants, silent],
        AS_OF,
        lake=lake,
        incumbent=None,
        trigger="manual",
        code_revision="r1",
    )
    rungs = {one.rung for one in trained.candidates}
    notes = document(lake, trained)["evidence"]["notes"]
    assert ("global" in rungs) == (count >= 3)
    assert any("faces two others" in note for note in notes) == (count < 3)


def test_a_global_training_judges_each_tenant_apart(lake: Lake, make_tenant: MakeTenant) -> None:
    """Per-tenant segments always, per-tenant effects as soon as there is an incumbent."""
    seeds = {"one": 1, "two": 2, "three": 3}
    tenants = [make_tenant(name, seed=seed) for name, seed in seeds.items()]

    def shared(incumbent: Version | None, order: list[TenantConfig]) -> Trained:
        return train_global(
            CHURN,
            order,
            AS_OF,
            lake=lake,
            incumbent=incumbent,
            trigger="manual",
            code_revision="r1",
        )

    first = shared(None, tenants)
    assert first.tenant == "global"
    assert first == shared(None, tenants[::-1])
    found = document(lake, first)
    own = next(m for m in found["models"].values() if m["rung"] == "global")
    assert {"tenant=one", "tenant=two", "tenant=three"} < set(own["segments"])
    assert found["evidence"]["tenants"] == []
    second = shared(registered(lake, first, "global", GLOBAL), tenants)
    effects = document(lake, second)["evidence"]["tenants"]
    assert {effect["tenant"] for effect in effects} == {"one", "two", "three"}


def test_no_identity_stands_in_what_a_global_training_stores(
    lake: Lake, make_tenant: MakeTenant
) -> None:
    """Models and reference windows hold features, never customers or tenants."""
    tenant = make_tenant("secretive")
    trained = train_global(
        CHURN, [tenant], AS_OF, lake=lake, incumbent=None, trigger="manual", code_revision="r1"
    )
    for one in trained.candidates:
        reference = lake.get_table(GLOBAL, one.reference)
        codes = reference["user_id"].to_pylist()
        assert set(codes) == {str(code) for code in range(len(set(codes)))}  # numbers, from 0
        assert "tenant" not in reference.column_names
        assert b"secretive" not in lake.get(GLOBAL, one.reference)
        assert b"secretive" not in lake.get(GLOBAL, one.artifact)
