"""The registry stage: one decision per training, whatever dies in between, on both registries."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import IntegrityError
from include.handoffs import Candidate, Registered, Trained
from include.models.baselines import baseline_model
from include.models.serialise import to_bytes
from include.registry import stage, withdrawal
from include.registry.evidence import Comparison, Evidence, Measured
from include.registry.incidents import LEAK
from include.registry.leaks import Look, Told
from include.registry.port import Registry
from include.registry.rollback import roll_back
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres.incidents import PostgresIncidents
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
INCIDENTS: Final = PostgresIncidents()

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2017, 2, 1, tzinfo=UTC)
FINGERPRINT = "0123456789abcdef"


class KilledError(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


@pytest.fixture
def tenant(database: Any) -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("cora"), "eu", "pool")


def candidate(
    lake: Lake, tenant: TenantRef, rung: str, value: float, as_of: datetime
) -> tuple[Candidate, Measured]:
    """A candidate whose bytes are a real model, different per rung and instant."""
    column = f"{rung}_{as_of:%m}" if rung != "global" else "global"
    content = to_bytes(baseline_model({"column": column, "descending": False, "then": ""}))
    artifact = lake.put(tenant, f"training/{rung}.json", content)
    reference = lake.put(tenant, f"training/{rung}.parquet", b"PAR1" + content)
    parent = "global/churn@3" if rung == "global" else ""
    name = f"{rung}-model"
    return (
        Candidate(rung, name, artifact, reference, parent, value, value - 0.1, value + 0.1),
        Measured(rung, name, artifact.digest, value),
    )


def trained(
    lake: Lake,
    tenant: TenantRef,
    values: dict[str, float],
    *,
    as_of: datetime = JANUARY,
    incumbent: Measured | None = None,
    better: str = "",
) -> Trained:
    """A training of those rungs; `better` is the one that is reliably better than whom it meets."""
    made = [candidate(lake, tenant, rung, value, as_of) for rung, value in values.items()]
    others = [one for _, one in made] + ([incumbent] if incumbent else [])
    sign = {one.key: 1.0 if one.rung == better else -1.0 for one in others}
    evidence = Evidence(
        metric="auc",
        entities=1_000,
        minimum_entities=50,
        candidates=tuple(one for _, one in made),
        incumbent=incumbent,
        comparisons=tuple(
            Comparison(one.key, other.key, *(sign[one.key] * x for x in (0.02, 0.01, 0.03)))
            for _, one in made
            for other in others
            if other is not one
        ),
    )
    document = {
        "code_revision": "abc",
        "seed": 7,
        "windows": {"holdout": [as_of.isoformat()]},
        "models": {
            one.key: {
                "metrics": {"auc": {"value": one.value, "low": None, "high": None}},
                "segments": {"recency=low": {"value": one.value}},
            }
            for _, one in made
        },
        "evidence": asdict(evidence),
    }
    evaluation = lake.put(tenant, "training/evaluation.json", json.dumps(document).encode())
    candidates = tuple(one for one, _ in made)
    return Trained(tenant.id, "churn", as_of, "scheduled", candidates, evaluation, 5_000, 1_000)


def decide(registry: Registry, lake: Lake, tenant: TenantRef, training: Trained) -> Registered:
    """The stage as the pipeline calls it."""
    return stage.register(
        tenant,
        training,
        registry=registry,
        promotions=PROMOTIONS,
        incidents=INCIDENTS,
        lake=lake,
        feature_fingerprint=FINGERPRINT,
    )


def serving(tenant: TenantRef, as_of: datetime) -> Measured:
    """The champion as training measures it."""
    found = PROMOTIONS.champion_at(tenant, "churn", as_of)
    assert found is not None
    return Measured("incumbent", "serving", found.digest, 0.8)


def state(registry: Registry, tenant: TenantRef) -> Any:
    """Everything a decision leaves behind, without the tenant's name."""
    return (
        [replace(v, tenant="") for v in registry.versions(tenant, "churn")],
        [replace(p, tenant="") for p in PROMOTIONS.history(tenant, "churn")],
        [
            alias and alias.version
            for alias in (
                registry.alias(tenant, "churn", name) for name in ("champion", "challenger")
            )
        ],
    )


def test_the_first_winner_is_promoted(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """Without an incumbent the winner becomes version 1, champion by ledger and by alias."""
    training = trained(lake, tenant, {"baseline": 0.7, "own": 0.8}, better="own")
    found = decide(registry, lake, tenant, training)
    assert (found.promoted, found.version, found.rung) == (True, "1", "own")
    champion = registry.alias(tenant, "churn", "champion")
    assert champion is not None
    assert champion.digest == found.digest == training.candidates[1].artifact.digest
    assert champion.feature_fingerprint == FINGERPRINT
    assert (
        PROMOTIONS.champion_at(tenant, "churn", JANUARY) == PROMOTIONS.history(tenant, "churn")[0]
    )


def test_the_global_model_is_adopted_as_a_version_of_the_tenants(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """A global model that wins stands in the tenant's own scope, naming its parent."""
    training = trained(lake, tenant, {"baseline": 0.7, "global": 0.8})
    found = decide(registry, lake, tenant, training)
    version = registry.get(tenant, "churn", found.version)
    assert (version.rung, version.parent_version) == ("global", "global/churn@3")
    assert version.digest == training.candidates[1].artifact.digest
    assert registry.artifact(tenant, version) == lake.get(tenant, training.candidates[1].artifact)
    (decision,) = PROMOTIONS.history(tenant, "churn")
    assert decision.evidence["parent_version"] == "global/churn@3"


def test_an_incumbent_that_wins_stays(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """Nothing is promoted; the loser becomes challenger and the ledger says why."""
    first = decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7, "global": 0.8}))
    rest = {"baseline": 0.7, "own": 0.75}
    found = decide(
        registry,
        lake,
        tenant,
        trained(lake, tenant, rest, as_of=FEBRUARY, incumbent=serving(tenant, FEBRUARY)),
    )
    assert (found.promoted, found.version, found.rung) == (False, first.version, "global")
    assert "incumbent stays" in found.reason
    challenger = registry.alias(tenant, "churn", "challenger")
    assert challenger is not None
    assert (challenger.version, challenger.rung) == ("2", "own")
    kept = PROMOTIONS.history(tenant, "churn")[-1]
    assert (kept.promoted, kept.incumbent_version) == (False, first.version)
    assert (
        PROMOTIONS.champion_at(tenant, "churn", FEBRUARY) == PROMOTIONS.history(tenant, "churn")[0]
    )


def test_nothing_serves_where_there_is_no_candidate(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """A training without candidates is recorded, and registers nothing."""
    found = decide(registry, lake, tenant, trained(lake, tenant, {}))
    assert (found.promoted, found.version, found.digest) == (False, "", "")
    assert registry.versions(tenant, "churn") == ()
    assert PROMOTIONS.champion_at(tenant, "churn") is None


def test_a_decision_stands(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """Another training of the same instant and trigger changes nothing."""
    first = decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}))
    before = state(registry, tenant)
    other = trained(lake, tenant, {"baseline": 0.7, "own": 0.9}, better="own")
    assert decide(registry, lake, tenant, other) == first
    assert state(registry, tenant) == before


def test_a_decision_about_the_past_does_not_change_who_serves_now(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """A backfilled promotion serves its own time; alias and later instants keep the newer one."""
    newer = decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}, as_of=FEBRUARY))
    older = decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}))
    assert older.promoted
    champion = registry.alias(tenant, "churn", "champion")
    assert champion is not None
    assert champion.version == newer.version
    at = {
        day: found and found.version
        for day in (JANUARY - timedelta(1), JANUARY, FEBRUARY - timedelta(1), FEBRUARY)
        for found in [PROMOTIONS.champion_at(tenant, "churn", day)]
    }
    assert list(at.values()) == [None, older.version, older.version, newer.version]


def test_evidence_about_another_incumbent_promotes_nothing(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """Where the champion changed after the measuring, the comparison is void."""
    stranger = Measured("incumbent", "serving", "f" * 64, 0.8)
    training = trained(lake, tenant, {"own": 0.9}, incumbent=stranger, better="own")
    found = decide(registry, lake, tenant, training)
    assert not found.promoted
    assert "no longer serves" in found.reason


def test_a_changed_evaluation_is_refused(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """An evaluation that is not what training wrote decides nothing."""
    training = trained(lake, tenant, {"baseline": 0.7})
    lake.put(tenant, training.evaluation.path, b"{}")
    with pytest.raises(IntegrityError):
        decide(registry, lake, tenant, training)
    assert PROMOTIONS.history(tenant, "churn") == []


def test_a_training_of_another_tenant_is_refused(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """A handoff that was misdirected registers nothing."""
    with pytest.raises(IntegrityError, match="was handed to 'global'"):
        decide(registry, lake, GLOBAL, trained(lake, tenant, {"baseline": 0.7}))


def test_a_withdrawn_model_is_not_promoted_again(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """The same bytes from a later training stay out, and the reason says so; a new version gets
    its chance."""
    decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}))
    shared = trained(
        lake,
        tenant,
        {"baseline": 0.7, "global": 0.9},
        incumbent=serving(tenant, JANUARY),
        better="global",
    )
    adopted = decide(registry, lake, tenant, replace(shared, trigger="drift"))
    assert (adopted.version, adopted.rung) == ("2", "global")
    roll_back(tenant, "churn", to="1", as_of=JANUARY, registry=registry, promotions=PROMOTIONS)
    facing = serving(tenant, FEBRUARY)
    again = trained(
        lake,
        tenant,
        {"baseline": 0.7, "global": 0.9},
        as_of=FEBRUARY,
        incumbent=facing,
        better="global",
    )
    kept = decide(registry, lake, tenant, again)
    assert (kept.promoted, kept.version) == (False, "1")
    told = f"global/global-model is not considered: it is {tenant.id}/churn@2 once more"
    assert told in kept.reason
    fresh = trained(
        lake, tenant, {"baseline": 0.7, "own": 0.9}, as_of=FEBRUARY, incumbent=facing, better="own"
    )
    assert decide(registry, lake, tenant, replace(fresh, trigger="drift")).rung == "own"


def test_a_withdrawn_global_version_is_no_candidate(
    registry: Registry, lake: Lake, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Withdrawn for all, it is not considered for a tenant that never had it, at any instant."""
    world = {"3": "global/churn@3 was withdrawn."}
    original = withdrawal.withdrawn

    def at_large(decided: Any) -> dict[str, str]:
        return world if not decided or decided[0].tenant == GLOBAL.id else original(decided)

    decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}))
    monkeypatch.setattr(withdrawal, "withdrawn", at_large)
    facing = serving(tenant, FEBRUARY)
    training = trained(
        lake,
        tenant,
        {"baseline": 0.7, "global": 0.9},
        as_of=FEBRUARY,
        incumbent=facing,
        better="global",
    )
    found = decide(registry, lake, tenant, training)
    assert not found.promoted
    assert "it comes from global/churn@3, which was withdrawn" in found.reason


@pytest.mark.parametrize("effect", ["register 1", "register 2", "record", "alias 1", "alias 2"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_killed_decision_is_completed(
    registry: Registry,
    lake: Lake,
    tenant: TenantRef,
    monkeypatch: pytest.MonkeyPatch,
    effect: str,
    done: bool,
) -> None:
    """Killed before or after any effect and run again, it ends as if it had not been killed."""
    undisturbed = TenantRef(f"{tenant.id}-twin", "eu", "pool")
    for each in (tenant, undisturbed):
        decide(registry, lake, each, trained(lake, each, {"baseline": 0.7}))

    def again(each: TenantRef) -> Registered:
        values = {"baseline": 0.7, "global": 0.9, "own": 0.8}
        facing = serving(each, FEBRUARY)
        training = trained(lake, each, values, as_of=FEBRUARY, incumbent=facing, better="global")
        return decide(registry, lake, each, training)

    expected = again(undisturbed)
    assert (expected.promoted, expected.rung) == (True, "global")
    kind, _, number = effect.partition(" ")
    owner, name = {
        "register": (type(registry), "register"),
        "record": (PROMOTIONS, "record"),
        "alias": (type(registry), "set_alias"),
    }[kind]
    original = getattr(owner, name)
    calls = count(1)

    def killed(*args: Any, **kwargs: Any) -> Any:
        last = next(calls) == int(number or 1)
        if last and not done:
            raise KilledError
        result = original(*args, **kwargs)
        if last:
            raise KilledError
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(KilledError):
            again(tenant)
    assert replace(again(tenant), tenant=undisturbed.id) == expected
    assert again(tenant).version == expected.version
    assert state(registry, tenant) == state(registry, undisturbed)
    assert state(registry, tenant)[2] == ["2", "3"]


def test_a_model_that_holds_what_one_tenant_has_is_refused_and_told_of(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """By value: the next best is decided upon, the ledger says why, and there is one incident; a
    rerun changes nothing."""
    training = trained(lake, tenant, {"baseline": 0.7, "global": 0.9, "own": 0.8})
    document = {
        "payload": ["only-alder-0"],
        "model": json.loads(
            to_bytes(baseline_model({"column": "global", "descending": False, "then": ""}))
        ),
    }
    clean = lake.put(tenant, "training/clean.parquet", b"{}")
    leaking = lake.put(tenant, "training/leaking.parquet", json.dumps(document).encode())
    files = {"baseline": clean, "global": leaking, "own": clean}
    candidates = tuple(replace(one, reference=files[one.rung]) for one in training.candidates)
    training = replace(training, candidates=candidates)
    texts = [Told("alder", "item_id", pa.array(["only-alder-0", "tea"]))]
    look = Look(lambda _: texts, frozenset(), (), 3)
    before = [
        stage.register(
            tenant,
            training,
            registry=registry,
            promotions=PROMOTIONS,
            incidents=INCIDENTS,
            lake=lake,
            feature_fingerprint=FINGERPRINT,
            look=look,
        )
        for _ in range(2)
    ]
    assert before[0] == before[1]
    assert before[0].rung == "baseline"
    assert "global/global-model is refused" in before[0].reason
    assert "only-alder-0" not in before[0].reason
    assert [one.rung for one in registry.versions(tenant, "churn")].count("global") == 0
    with tenant_transaction(tenant) as connection:
        rows = connection.execute("SELECT * FROM incidents WHERE kind = %s", [LEAK]).fetchall()
    assert [row["details"] for row in rows] == [{"models": {"global/global-model": ["item_id"]}}]
    assert "only-alder-0" not in repr(rows)
