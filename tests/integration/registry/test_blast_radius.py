"""One command takes back a global version and everything that came from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from models import FIRST, WEEK, content, new, promote

from include.errors import ConfigError, TenantryError, UnavailableError, UnknownNameError
from include.registry.ancestry import ModelName
from include.registry.blast_radius import ChampionChange, roll_back_derived
from include.registry.in_memory import InMemoryRegistry
from include.registry.port import CHAMPION, NewVersion, Registry
from include.registry.promotions import withdrawn
from include.registry.rollback import roll_back
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef
from tests.interruptions import Ended, end_after_write

pytestmark = pytest.mark.integration

#: What a registration and a change of who serves write in the registry.
REGISTRY_WRITES: Final = tuple((InMemoryRegistry, name) for name in ("register", "set_alias"))

PROMOTIONS: Final = PostgresPromotions()

NOW = FIRST + 9 * WEEK


@pytest.fixture
def registry(database: Any) -> Registry:
    """The registry of one test."""
    return InMemoryRegistry()


@pytest.fixture
def case() -> str:
    """A use case that nobody has used before: the global ledger is everybody's."""
    return f"case_{uuid4().hex[:12]}"


def tenants(count: int) -> list[TenantRef]:
    """Tenants that nobody has used before."""
    return [TenantRef(f"t-{uuid4().hex[:12]}", "eu", "pool") for _ in range(count)]


def offered(owner: TenantRef, use_case: str) -> NewVersion:
    """A baseline."""
    return new("rule", "baseline", model=content("rule"))


def nothing(owner: TenantRef, use_case: str) -> NewVersion | None:
    """No baseline."""
    return None


def take_back(
    registry: Registry,
    version: str,
    owners: Sequence[TenantRef],
    *,
    fallback: Any = offered,
    **changes: Any,
) -> list[ChampionChange]:
    """The command."""
    return list(
        roll_back_derived(
            ModelName.parse(version),
            owners,
            as_of=lambda _: NOW,
            registry=registry,
            promotions=PROMOTIONS,
            fallback=fallback,
            **changes,
        )
    )


def serving(owner: TenantRef, case: str, at: datetime | None = None) -> str:
    """Who serves."""
    found = PROMOTIONS.champion_at(owner, case, at)
    return found.version if found else ""


def test_every_descendant_goes_back_and_nobody_else(registry: Registry, case: str) -> None:
    """As it is, with a residual, and by way of a later global version: all three go back to what
    did not come from it; an own model and a tenant without one are left alone."""
    promote(registry, GLOBAL, case, 0, "global")
    promote(registry, GLOBAL, case, 1, "global")
    promote(registry, GLOBAL, case, 2, "global", parent=f"global/{case}@2")
    same, residual, indirect, own, none = owners = tenants(5)
    for owner, parent, rung in (
        (same, 2, "global"),
        (residual, 2, "own"),
        (indirect, 3, "own"),
        (own, 0, "own"),
    ):
        promote(registry, owner, case, 0, "global", parent=f"global/{case}@1")
        promote(registry, owner, case, 3, rung, parent=f"global/{case}@{parent}" if parent else "")
    found = take_back(registry, f"global.{case}@2", owners, by="ada")
    assert {e.tenant: (e.outcome, e.version, e.to) for e in found} == {
        "global": ("rolled back", "3", "1"),
        same.id: ("rolled back", "2", "1"),
        residual.id: ("rolled back", "2", "1"),
        indirect.id: ("rolled back", "2", "1"),
        own.id: ("not affected", "2", "2"),
        none.id: ("not affected", "", ""),
    }
    for owner in owners[:3]:
        alias = registry.alias(owner, case, CHAMPION)
        assert alias is not None
        assert alias.version == "1" == serving(owner, case, NOW)
        assert serving(owner, case, NOW - WEEK) == "2"
        newest = PROMOTIONS.history(owner, case)[-1]
        assert newest.actor == "ada"
        assert f"global/{case}@2 was withdrawn." in newest.reasons
    told = next(e.reason for e in found if e.tenant == indirect.id)
    assert f"Version 2 comes from global/{case}@3 from global/{case}@2." in told
    assert set(withdrawn(PROMOTIONS.history(GLOBAL, case))) == {"2", "3"}


def test_again_it_changes_nothing(registry: Registry, case: str) -> None:
    """The second time there is nothing left to do, and no row is added."""
    promote(registry, GLOBAL, case, 0, "global")
    promote(registry, GLOBAL, case, 1, "global")
    (owner,) = tenants(1)
    promote(registry, owner, case, 0)
    promote(registry, owner, case, 1, "global", parent=f"global/{case}@2")
    take_back(registry, f"global.{case}@2", [owner])
    before = [PROMOTIONS.history(one, case) for one in (GLOBAL, owner)]
    found = take_back(registry, f"global.{case}@2", [owner])
    assert [e.outcome for e in found] == ["done before", "done before"]
    assert [PROMOTIONS.history(one, case) for one in (GLOBAL, owner)] == before


def test_a_dry_run_says_the_same_and_does_nothing(registry: Registry, case: str) -> None:
    """What would be done is what is done then; until then neither ledger nor registry moves."""
    promote(registry, GLOBAL, case, 0, "global")
    promote(registry, GLOBAL, case, 1, "global")
    owners = tenants(2)
    promote(registry, owners[0], case, 0)
    for owner in owners:
        promote(registry, owner, case, 1, "global", parent=f"global/{case}@2")
    before = [(PROMOTIONS.history(o, case), registry.versions(o, case)) for o in (GLOBAL, *owners)]
    told = take_back(registry, f"global.{case}@2", owners, dry_run=True)
    after = [(PROMOTIONS.history(o, case), registry.versions(o, case)) for o in (GLOBAL, *owners)]
    assert before == after
    done = take_back(registry, f"global.{case}@2", owners)
    assert [(e.tenant, e.outcome, e.version) for e in told] == [
        (e.tenant, e.outcome, e.version) for e in done
    ]
    assert [e.to for e in told] == ["1", "1", "baseline"]
    assert [e.to for e in done] == ["1", "1", "2"]


def test_who_has_nothing_earlier_falls_back_on_a_baseline(registry: Registry, case: str) -> None:
    """The baseline becomes a version and serves; where there is none, the champion stays and the
    effect says that this tenant is not done with."""
    promote(registry, GLOBAL, case, 0, "global")
    owners = tenants(2)
    for owner in owners:
        promote(registry, owner, case, 1, "global", parent=f"global/{case}@1")
    found = take_back(
        registry,
        f"global.{case}@1",
        owners,
        fallback=lambda o, c: None if o == owners[1] else offered(o, c),
    )
    assert [(e.outcome, e.complete) for e in found] == [
        ("rolled back", True),
        ("rolled back", True),
        ("stays", False),
    ]
    now = PROMOTIONS.champion_at(owners[0], case)
    assert now is not None
    assert now.rung == "baseline"
    assert registry.artifact(owners[0], registry.get(owners[0], case, now.version)) == content(
        "rule"
    )
    assert serving(owners[1], case) == "1"
    assert "Nothing is left to go back to" in found[2].reason


def test_a_global_version_that_serves_no_more_is_withdrawn_all_the_same(
    registry: Registry, case: str
) -> None:
    """The global champion stays, and the version is on record as withdrawn."""
    for week in (0, 1):
        promote(registry, GLOBAL, case, week, "global")
    (effect,) = take_back(registry, f"global.{case}@1", [])
    assert (effect.outcome, effect.version, effect.to) == ("withdrawn", "2", "2")
    assert serving(GLOBAL, case) == "2"
    assert set(withdrawn(PROMOTIONS.history(GLOBAL, case))) == {"1"}


def test_what_cannot_take_over_is_passed_over(registry: Registry, case: str) -> None:
    """Neither a version whose bytes changed, nor one of other features, nor a withdrawn one."""
    assert isinstance(registry, InMemoryRegistry)
    promote(registry, GLOBAL, case, 0, "global")
    (owner,) = tenants(1)
    promote(registry, owner, case, 0)
    promote(registry, owner, case, 1, fingerprint="e" * 16)
    promote(registry, owner, case, 2)
    promote(registry, owner, case, 3)
    roll_back(owner, case, to=None, as_of=FIRST, registry=registry, promotions=PROMOTIONS)
    assert serving(owner, case) == "3"
    promote(registry, owner, case, 5, "global", parent=f"global/{case}@1")
    registry.files[(owner.id, case, "3", "model")] += b" "
    _, effect = take_back(registry, f"global.{case}@1", [owner])
    assert (effect.outcome, effect.to) == ("rolled back", "1")
    for told in ("Version 4 was passed over", "Version 3 was passed over", "declared before"):
        assert told in effect.reason


def test_one_tenant_that_fails_holds_up_no_other(
    registry: Registry, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are rolled back, and the effect names what went wrong."""
    for week in (0, 1):
        promote(registry, GLOBAL, case, week, "global")
    owners = tenants(2)
    for owner in owners:
        promote(registry, owner, case, 0)
        promote(registry, owner, case, 1, "global", parent=f"global/{case}@2")
    original = PROMOTIONS.champion_at

    def unreachable(owner: TenantRef, *rest: Any) -> Any:
        if owner == owners[0]:
            raise UnavailableError("its database does not answer")
        return original(owner, *rest)

    monkeypatch.setattr(PROMOTIONS, "champion_at", unreachable)
    found = take_back(registry, f"global.{case}@2", owners)
    assert [(e.outcome, e.complete) for e in found[1:]] == [
        ("failed", False),
        ("rolled back", True),
    ]
    assert found[1].reason == "its database does not answer"


@pytest.mark.parametrize("where", range(1, 7))
def test_killed_anywhere_and_run_again_it_ends_the_same(
    registry: Registry, case: str, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    """Killed after any write, global or tenant's: the second run does what is left, and no tenant
    is ever without a champion."""
    for week in (0, 1):
        promote(registry, GLOBAL, case, week, "global")
    owners = tenants(3)
    promote(registry, owners[0], case, 0)
    for owner in owners:
        promote(registry, owner, case, 1, "global", parent=f"global/{case}@2")
    with monkeypatch.context() as patch:
        end_after_write(patch, where, (PROMOTIONS, "record"), *REGISTRY_WRITES)
        with pytest.raises(Ended):
            take_back(registry, f"global.{case}@2", owners)
    assert all(serving(owner, case) for owner in owners)
    assert all(e.complete for e in take_back(registry, f"global.{case}@2", owners))
    for owner, version in zip((GLOBAL, *owners), "1122", strict=True):
        alias = registry.alias(owner, case, CHAMPION)
        assert alias is not None
        assert alias.version == serving(owner, case) == version
        back = [one for one in PROMOTIONS.history(owner, case) if not one.trained]
        assert len(back) == 1


def test_putting_the_global_version_back_frees_its_descendants(
    registry: Registry, case: str
) -> None:
    """While it is withdrawn no descendant can be gone back to; put back by hand, they can."""
    for week in (0, 1):
        promote(registry, GLOBAL, case, week, "global")
    (owner,) = tenants(1)
    promote(registry, owner, case, 0)
    promote(registry, owner, case, 1, "global", parent=f"global/{case}@2")
    take_back(registry, f"global.{case}@2", [owner])
    with pytest.raises(TenantryError, match=f"comes from global/{case}@2, which was withdrawn"):
        roll_back(owner, case, to="2", as_of=NOW, registry=registry, promotions=PROMOTIONS)
    roll_back(GLOBAL, case, to="2", as_of=NOW, registry=registry, promotions=PROMOTIONS, by="ada")
    assert (
        roll_back(owner, case, to="2", as_of=NOW, registry=registry, promotions=PROMOTIONS).version
        == "2"
    )


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("store-1.churn@2", ConfigError, "only those have descendants"),
        ("global.churn", ConfigError, "global.USE_CASE@VERSION"),
        ("global.churn@99", UnknownNameError, "unknown model version '99'"),
    ],
)
def test_only_a_global_version_has_descendants(
    registry: Registry, name: str, error: type[Exception], message: str
) -> None:
    """A tenant's version, a model without a version and a strange version are refused."""
    with pytest.raises(error, match=message):
        take_back(registry, name, [])
