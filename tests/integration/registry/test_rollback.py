"""Going back to a version that served before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from include.errors import UnknownNameError
from include.registry import ledger
from include.registry.ledger import Promotion
from include.registry.port import CHAMPION, NewVersion, Registry
from include.registry.rollback import roll_back
from include.runtime.postgres import Postgres
from include.tenants.namespace import TenantRef

FIRST = datetime(2024, 1, 8, tzinfo=UTC)


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant nobody has used before."""
    return TenantRef(f"t-{uuid4().hex[:12]}", "eu", "pool")


def promote(tenant: TenantRef, registry: Registry, number: int) -> str:
    """Register and promote one more version, a week after the last."""
    at = FIRST + timedelta(weeks=number)
    version = registry.register(
        tenant,
        "churn",
        NewVersion(
            key=str(number),
            rung="own",
            name="lightgbm",
            model=b"model %d" % number,
            reference=b"reference",
            parent_version="",
            as_of=at,
            feature_fingerprint="f" * 16,
            parameters={},
            metrics={},
            lineage={},
        ),
    )
    ledger.record(
        tenant,
        Promotion(
            tenant.id,
            "churn",
            at,
            "scheduled",
            True,
            version.version,
            "own",
            version.digest,
            "",
            ("better",),
            {"candidates": []},
        ),
    )
    registry.set_alias(tenant, "churn", CHAMPION, version.version)
    return version.version


def test_the_version_before_serves_again_and_the_past_keeps_its_own(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """From the given instant on the earlier version serves; older intervals stay as they were."""
    one, two = promote(tenant, registry, 0), promote(tenant, registry, 1)
    now = FIRST + timedelta(weeks=3)
    done = roll_back(tenant, "churn", to=None, as_of=now, registry=registry)
    assert (done.version, done.incumbent_version) == (one, two)
    serving = [
        ledger.champion_at(tenant, "churn", at) for at in (FIRST, FIRST + timedelta(weeks=2), now)
    ]
    assert [found and found.version for found in serving] == [one, two, one]
    alias = registry.alias(tenant, "churn", CHAMPION)
    assert alias is not None
    assert alias.version == one


def test_back_and_forth_at_the_same_instant(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """Rolling back twice returns to where it began, and every step is on record."""
    promote(tenant, registry, 0)
    two = promote(tenant, registry, 1)
    now = FIRST + timedelta(weeks=3)
    roll_back(tenant, "churn", to=None, as_of=now, registry=registry)
    roll_back(tenant, "churn", to=two, as_of=now, registry=registry)
    found = ledger.champion_at(tenant, "churn", now)
    assert found is not None
    assert found.version == two
    assert [one.trigger for one in ledger.history(tenant, "churn")][-2:] == [
        "rollback-1",
        "rollback-2",
    ]


def test_a_version_that_never_served_is_refused(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """The message lists the versions there are to go back to."""
    one = promote(tenant, registry, 0)
    promote(tenant, registry, 1)
    with pytest.raises(UnknownNameError, match=f"'99'.*known: {one}"):
        roll_back(tenant, "churn", to="99", as_of=FIRST, registry=registry)
