"""What must not serve, as ledgers say: by number, by bytes and by descent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.errors import IntegrityError
from include.registry.ancestry import ModelName
from include.registry.in_memory import InMemoryRegistry
from include.registry.port import ModelVersion, NewVersion
from include.registry.promotions import Promotion
from include.registry.withdrawal import Withdrawn, check_whole, earlier, lost_for_good
from include.stores.memory.promotions import InMemoryPromotions
from include.tenants.namespace import TenantRef, global_ref

ACME = TenantRef("acme", "eu", "pool")
EU = global_ref("global-eu")
DAY = datetime(2025, 3, 3, tzinfo=UTC)


def promotion(
    version: str,
    *,
    day: int = 0,
    rung: str = "own",
    trigger: str = "scheduled",
    promoted: bool = True,
    withdrawn: tuple[str, ...] = (),
    tenant: str = ACME.id,
) -> Promotion:
    """A decision about who serves; a version's digest is made of its number."""
    return Promotion(
        tenant=tenant,
        use_case="churn",
        as_of=DAY + timedelta(days=day),
        trigger=trigger,
        promoted=promoted,
        version=version,
        rung=rung,
        digest=f"digest-{version}",
        incumbent_version="",
        reasons=(),
        evidence={},
        withdrawn=withdrawn,
    )


def registered(
    registry: InMemoryRegistry, owner: TenantRef, key: str, parent: str = ""
) -> ModelVersion:
    """A version with bytes of its own."""
    new = NewVersion(
        key=key,
        rung="own",
        name="model",
        model=key.encode(),
        reference=b"",
        parent_version=parent,
        as_of=DAY,
        feature_fingerprint="f",
        parameters={},
        metrics={},
        lineage={},
    )
    return registry.register(owner, "churn", new)


def known(digests: dict[str, str], world: set[str]) -> Withdrawn:
    """What is withdrawn of a tenant's bytes and of the global model."""
    shared = {EU.id: frozenset(world)}
    return Withdrawn(ACME.id, "churn", frozenset(), digests, shared, InMemoryPromotions())


def test_a_version_that_is_not_what_was_promoted_is_not_whole() -> None:
    """Its own files may be in order: they are not those that the decision was about."""
    registry = InMemoryRegistry()
    version = registered(registry, ACME, "1")
    assert check_whole(ACME, version, version.digest, registry) == version
    with pytest.raises(IntegrityError, match=rf"{version.digest[:12]}…, and other… was promoted"):
        check_whole(ACME, version, "other", registry)


ROLLED_BACK = [
    promotion("1", rung="baseline"),
    promotion("2", day=7),
    promotion("3", day=14),
    promotion("1", day=21, rung="baseline", trigger="rollback-1", withdrawn=("2", "3")),
]


def test_a_withdrawn_model_may_not_come_back_under_another_number() -> None:
    """Its bytes are known; the reason names the version that they were withdrawn as."""
    gone = Withdrawn.of(ACME, "churn", ROLLED_BACK, InMemoryPromotions())
    again = gone.why_model("digest-3", "", InMemoryRegistry())
    assert again == "it is acme/churn@3 once more, which was withdrawn"
    assert gone.why_model("digest-4", "", InMemoryRegistry()) == ""


def test_a_rule_of_thumb_that_was_withdrawn_may_come_back() -> None:
    """It has learnt nothing that could be wrong; its number stays withdrawn."""
    decided = [*ROLLED_BACK[:3], promotion("3", day=21, trigger="rollback-1", withdrawn=("1", "2"))]
    gone = Withdrawn.of(ACME, "churn", decided, InMemoryPromotions())
    assert gone.own == {"1", "2"}
    assert gone.why_model("digest-1", "", InMemoryRegistry()) == ""
    assert gone.why_model("digest-2", "", InMemoryRegistry()) != ""


def test_the_bytes_of_what_consent_was_withdrawn_to_may_be_learnt_again() -> None:
    """Without the tenant that left, the same model may come out; its descent tells it apart."""
    decided = [promotion("1"), promotion("2", day=7, trigger="consent-1", withdrawn=("1",))]
    gone = Withdrawn.of(ACME, "churn", decided, InMemoryPromotions())
    assert gone.own == {"1"}
    assert gone.why_model("digest-1", "", InMemoryRegistry()) == ""


def test_a_decision_that_promoted_nothing_withdraws_no_bytes() -> None:
    """A version that was refused never served, whatever was withdrawn of its number later."""
    decided = [
        promotion("1", promoted=False),
        promotion("2", day=7, trigger="rollback-1", withdrawn=("1",)),
    ]
    assert (
        Withdrawn.of(ACME, "churn", decided, InMemoryPromotions()).why_model(
            "digest-1", "", InMemoryRegistry()
        )
        == ""
    )


def test_a_version_must_not_serve_by_its_number_its_bytes_or_its_descent() -> None:
    """Each alone is enough, and the reason says which it was."""
    registry = InMemoryRegistry()
    world = registered(registry, EU, "world")
    own = registered(registry, ACME, "own")
    child = registered(registry, ACME, "child", parent=str(ModelName.of(world)))
    decided = [
        promotion(own.version),
        promotion("9", day=7, trigger="rollback-1", withdrawn=("1",)),
    ]
    gone = Withdrawn.of(ACME, "churn", decided, InMemoryPromotions())
    assert gone.why(own, registry) == "acme/churn@1 was withdrawn"
    by_bytes = known({child.digest: "7"}, set())
    assert by_bytes.why(child, registry) == "it is acme/churn@7 once more, which was withdrawn"
    by_descent = known({}, {"1"})
    assert by_descent.why(child, registry) == "it comes from global-eu/churn@1, which was withdrawn"
    neither = known({}, {"2"})
    assert neither.why(child, registry) == ""


def test_as_if_a_global_version_was_withdrawn_too() -> None:
    """What descends from it must not serve, over however many generations, and nothing else."""
    registry = InMemoryRegistry()
    first = registered(registry, EU, "first")
    second = registered(registry, EU, "second", parent=str(ModelName.of(first)))
    other = registered(registry, EU, "other")
    before = known({}, set())
    gone = before.plus(ModelName.of(first))
    both = gone.plus(ModelName.of(other))
    told = "it comes from global-eu/churn@1, which was withdrawn"
    assert gone.why_model("x", str(ModelName.of(second)), registry) == told
    assert gone.why_model("x", str(ModelName.of(first)), registry) == told
    assert gone.why_model("x", str(ModelName.of(other)), registry) == ""
    assert both.why_model("x", str(ModelName.of(other)), registry) != ""
    assert both.why_model("x", str(ModelName.of(first)), registry) == told
    assert before.why_model("x", str(ModelName.of(first)), registry) == ""


def test_an_owner_of_global_models_knows_its_own_withdrawals_without_asking_again() -> None:
    """They are in the very ledger that was read."""
    decided = [promotion("1", tenant=EU.id), promotion("2", trigger="rollback-1", withdrawn=("1",))]
    assert Withdrawn.of(EU, "churn", decided, InMemoryPromotions()).shared == {
        EU.id: frozenset({"1"})
    }
    assert Withdrawn.of(ACME, "churn", decided, InMemoryPromotions()).shared == {}


def test_versions_that_served_before_come_newest_first_and_once() -> None:
    """As they were promoted last; what serves now is not among them."""
    decided = [
        promotion("1"),
        promotion("2", day=7),
        promotion("1", day=14),
        promotion("4", day=21, promoted=False),
        promotion("", day=25),
        promotion("3", day=28),
    ]
    found = earlier(decided, decided[-1])
    assert [(one.version, one.as_of) for one in found] == [
        ("1", decided[2].as_of),
        ("2", decided[1].as_of),
    ]


def test_the_withdrawals_of_a_global_models_owner_are_read_as_descent_leads_there() -> None:
    """Of that owner and that use case alone, and once."""
    registry, promotions = InMemoryRegistry(), InMemoryPromotions()
    world = registered(registry, EU, "world")
    for decided in (
        promotion("1", tenant=EU.id),
        promotion("2", day=7, tenant=EU.id, trigger="rollback-1", withdrawn=("1",)),
    ):
        promotions.record(EU, decided)
    gone = Withdrawn.of(ACME, "churn", [], promotions)
    assert gone.why_model("x", str(ModelName.of(world)), registry) != ""
    assert gone.why_model("x", "global-us/churn@1", registry) == ""
    other = Withdrawn.of(ACME, "demand", [], promotions)
    assert other.why_model("x", str(ModelName.of(world)), registry) == ""


def test_what_comes_from_a_tenants_own_version_is_judged_by_that_tenants_decisions() -> None:
    """Only global versions have descendants elsewhere."""
    gone = known({}, {"1"})
    assert gone.why_model("x", "acme/churn@1", InMemoryRegistry()) == ""


@pytest.mark.parametrize(("trigger", "lost"), [("consent-1", True), ("rollback-1", False)])
def test_only_what_consent_was_withdrawn_to_is_lost_for_good(trigger: str, lost: bool) -> None:
    """Over however many generations; what was rolled back from may be put back."""
    registry, promotions = InMemoryRegistry(), InMemoryPromotions()
    first = registered(registry, EU, "first")
    second = registered(registry, EU, "second", parent=str(ModelName.of(first)))
    child = registered(registry, ACME, "child", parent=str(ModelName.of(second)))
    alone = registered(registry, ACME, "alone")
    promotions.record(EU, promotion("1", tenant=EU.id))
    promotions.record(
        EU, promotion("2", day=7, tenant=EU.id, trigger=trigger, withdrawn=(first.version,))
    )
    told = (
        "it comes from global-eu/churn@1, which was withdrawn for good, as consent to it was"
        if lost
        else ""
    )
    assert lost_for_good(child, registry, promotions) == told
    assert lost_for_good(second, registry, promotions) == told
    assert lost_for_good(alone, registry, promotions) == ""
