"""What every registry does: the in-memory twin and MLflow, on the real Postgres, alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.errors import IntegrityError, UnknownNameError
from include.registry.port import ModelVersion, NewVersion, Registry
from include.tenants.namespace import GLOBAL, TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

Tamper = Callable[[TenantRef, ModelVersion, str], None]

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("acme"), "eu", "pool")


def new(key: str = "first", as_of: datetime = JANUARY) -> NewVersion:
    """A version as training hands it over."""
    return NewVersion(
        key=key,
        rung="own",
        name="lightgbm",
        model=f'{{"key": "{key}"}}'.encode(),
        reference=b"PAR1" + key.encode(),
        parent_version="global/churn@3",
        as_of=as_of,
        feature_fingerprint="0123456789abcdef",
        parameters={"leaves": 7, "nested": {"a": [1, 2]}},
        metrics={"auc": 0.87, "undefined": float("nan")},
        lineage={"seed": 7, "tables": {"events": 3}},
    )


def test_versions_count_from_one(registry: Registry, tenant: TenantRef) -> None:
    """Versions of a tenant's use case are numbered from 1, oldest first."""
    registered = [registry.register(tenant, "churn", new(str(n))) for n in range(12)]
    assert [v.version for v in registered] == [str(n) for n in range(1, 13)]
    assert list(registry.versions(tenant, "churn")) == registered


def test_a_version_carries_what_was_registered(registry: Registry, tenant: TenantRef) -> None:
    """Rung, name, digests, lineage and instant come back as they went in."""
    given = new()
    found = registry.register(tenant, "churn", given)
    assert found == given.at(tenant, "churn", "1")
    assert registry.get(tenant, "churn", "1") == found
    assert registry.artifact(tenant, found) == given.model
    assert registry.reference(tenant, found) == given.reference


def test_the_same_key_is_registered_once(registry: Registry, tenant: TenantRef) -> None:
    """Registering a key again returns the version there is."""
    first = registry.register(tenant, "churn", new())
    assert registry.register(tenant, "churn", new()) == first
    assert len(registry.versions(tenant, "churn")) == 1


def test_use_cases_are_apart(registry: Registry, tenant: TenantRef) -> None:
    """Two use cases of a tenant have their own versions and aliases."""
    registry.register(tenant, "churn", new())
    registry.set_alias(tenant, "churn", "champion", "1")
    assert registry.versions(tenant, "recommendation") == ()
    assert registry.alias(tenant, "recommendation", "champion") is None


def test_an_alias_moves(registry: Registry, tenant: TenantRef) -> None:
    """An alias stands for one version at a time, and can go back."""
    first, second = (registry.register(tenant, "churn", new(key)) for key in "ab")
    assert registry.alias(tenant, "churn", "champion") is None
    for version in (first, second, second, first):
        registry.set_alias(tenant, "churn", "champion", version.version)
        assert registry.alias(tenant, "churn", "champion") == version
    assert registry.alias(tenant, "churn", "challenger") is None


def test_an_alias_can_stand_for_nothing(registry: Registry, tenant: TenantRef) -> None:
    """Deleted once or twice, it is gone; the version stays, and can have it again."""
    version = registry.register(tenant, "churn", new())
    registry.set_alias(tenant, "churn", "champion", version.version)
    for _ in range(2):
        registry.delete_alias(tenant, "churn", "champion")
        assert registry.alias(tenant, "churn", "champion") is None
    assert registry.get(tenant, "churn", version.version) == version
    registry.set_alias(tenant, "churn", "champion", version.version)
    assert registry.alias(tenant, "churn", "champion") == version
    with pytest.raises(UnknownNameError, match="known: challenger, champion"):
        registry.delete_alias(tenant, "churn", "winner")


def test_unknown_names_list_the_known(registry: Registry, tenant: TenantRef) -> None:
    """A strange version or alias is answered with those there are."""
    registry.register(tenant, "churn", new())
    with pytest.raises(UnknownNameError, match="known: 1"):
        registry.get(tenant, "churn", "2")
    with pytest.raises(UnknownNameError, match="known: 1"):
        registry.set_alias(tenant, "churn", "champion", "2")
    with pytest.raises(UnknownNameError, match="challenger, champion"):
        registry.set_alias(tenant, "churn", "latest", "1")
    with pytest.raises(UnknownNameError, match="challenger, champion"):
        registry.alias(tenant, "churn", "latest")


@pytest.mark.parametrize("kind", ["model", "reference"])
def test_changed_bytes_are_refused(
    registry: Registry, tamper: Tamper, tenant: TenantRef, kind: str
) -> None:
    """Bytes that are not the recorded ones never reach a parser."""
    version = registry.register(tenant, "churn", new())
    tamper(tenant, version, kind)
    with pytest.raises(IntegrityError):
        (registry.artifact if kind == "model" else registry.reference)(tenant, version)


def test_a_version_that_was_altered_is_refused(registry: Registry, tenant: TenantRef) -> None:
    """A version whose digest is not the recorded one opens nothing."""
    version = registry.register(tenant, "churn", new())
    with pytest.raises(IntegrityError, match="not what the registry"):
        registry.artifact(tenant, replace(version, digest="0" * 64))


def test_tenants_do_not_see_each_other(registry: Registry, tenant: TenantRef) -> None:
    """A use case of the same name is another one in each tenant, the global one included."""
    others = TenantRef(f"{tenant.id}-b", "eu", "pool")
    ours = registry.register(tenant, "churn", new())
    registry.set_alias(tenant, "churn", "champion", "1")
    for stranger in (others, GLOBAL):
        assert registry.versions(stranger, "churn") == ()
        assert registry.alias(stranger, "churn", "champion") is None
        with pytest.raises(UnknownNameError, match="known: none"):
            registry.get(stranger, "churn", "1")
        with pytest.raises(UnknownNameError):
            registry.set_alias(stranger, "churn", "champion", "1")
        with pytest.raises((IntegrityError, UnknownNameError)):
            registry.artifact(stranger, ours)
    theirs = registry.register(others, "churn", new("theirs"))
    assert theirs.version == "1"
    with pytest.raises(IntegrityError):
        registry.artifact(others, ours)


@pytest.mark.parametrize("name", ["api", "a-", "workspaces"])
def test_every_tenant_id_can_register(registry: Registry, name: str) -> None:
    """A tenant whose id MLflow would refuse as a workspace has its versions all the same."""
    tenant = TenantRef(name, "eu", "pool")
    version = registry.register(tenant, "churn", new())
    assert registry.artifact(tenant, version) == new().model
