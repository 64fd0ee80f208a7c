"""Going back to a version that served before."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import uuid4

import pytest
from models import FIRST, promote

from include.errors import IntegrityError, TenantryError, UnknownNameError
from include.registry.in_memory import InMemoryRegistry
from include.registry.port import CHAMPION, Registry
from include.registry.promotions import withdrawn
from include.registry.rollback import roll_back
from include.runtime.postgres import Postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant nobody has used before."""
    return TenantRef(f"t-{uuid4().hex[:12]}", "eu", "pool")


def test_the_version_before_serves_again_and_the_past_keeps_its_own(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """From the given instant on the earlier version serves; older intervals stay as they were."""
    one, two = (promote(registry, tenant, "churn", n).version for n in (0, 1))
    now = FIRST + timedelta(weeks=3)
    done = roll_back(tenant, "churn", to=None, as_of=now, registry=registry, promotions=PROMOTIONS)
    assert (done.version, done.incumbent_version) == (one, two)
    serving = [
        PROMOTIONS.champion_at(tenant, "churn", at)
        for at in (FIRST, FIRST + timedelta(weeks=2), now)
    ]
    assert [found and found.version for found in serving] == [one, two, one]
    alias = registry.alias(tenant, "churn", CHAMPION)
    assert alias is not None
    assert alias.version == one


def test_back_and_forth_at_the_same_instant(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """Rolling back twice returns to where it began, and every step is on record."""
    promote(registry, tenant, "churn", 0)
    two = promote(registry, tenant, "churn", 1).version
    now = FIRST + timedelta(weeks=3)
    roll_back(tenant, "churn", to=None, as_of=now, registry=registry, promotions=PROMOTIONS)
    roll_back(tenant, "churn", to=two, as_of=now, registry=registry, promotions=PROMOTIONS)
    found = PROMOTIONS.champion_at(tenant, "churn", now)
    assert found is not None
    assert found.version == two
    assert [one.trigger for one in PROMOTIONS.history(tenant, "churn")][-2:] == [
        "rollback-1",
        "rollback-2",
    ]


def test_a_version_that_never_served_is_refused(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """The message lists the versions there are to go back to."""
    one = promote(registry, tenant, "churn", 0).version
    promote(registry, tenant, "churn", 1)
    with pytest.raises(UnknownNameError, match=f"'99'.*known: {one}"):
        roll_back(tenant, "churn", to="99", as_of=FIRST, registry=registry, promotions=PROMOTIONS)


def test_where_nothing_else_ever_served_there_is_nothing_to_go_back_to(
    database: Postgres, registry: Registry, tenant: TenantRef
) -> None:
    """Whichever version is asked for; the one that serves changes nothing."""
    with pytest.raises(TenantryError, match="nothing serves"):
        roll_back(tenant, "churn", to=None, as_of=FIRST, registry=registry, promotions=PROMOTIONS)
    promote(registry, tenant, "churn", 0)
    for to in (None, "2"):
        with pytest.raises(TenantryError, match="version 1 is the only one that ever served"):
            roll_back(tenant, "churn", to=to, as_of=FIRST, registry=registry, promotions=PROMOTIONS)
    assert (
        roll_back(
            tenant, "churn", to="1", as_of=FIRST, registry=registry, promotions=PROMOTIONS
        ).version
        == "1"
    )
    assert len(PROMOTIONS.history(tenant, "churn")) == 1


@pytest.fixture
def in_memory(database: Postgres) -> InMemoryRegistry:
    """A registry for what does not depend on which."""
    return InMemoryRegistry()


def test_every_step_back_goes_further_back(in_memory: InMemoryRegistry, tenant: TenantRef) -> None:
    """What was rolled back from is withdrawn, so a second rollback does not return to it."""
    for week in range(3):
        promote(in_memory, tenant, "churn", week)
    found = [
        roll_back(
            tenant, "churn", to=None, as_of=FIRST, registry=in_memory, promotions=PROMOTIONS
        ).version
        for _ in range(2)
    ]
    assert found == ["2", "1"]
    assert set(withdrawn(PROMOTIONS.history(tenant, "churn"))) == {"2", "3"}
    with pytest.raises(TenantryError, match="Version 3 was passed over"):
        roll_back(tenant, "churn", to=None, as_of=FIRST, registry=in_memory, promotions=PROMOTIONS)
    roll_back(tenant, "churn", to="3", as_of=FIRST, registry=in_memory, promotions=PROMOTIONS)
    assert set(withdrawn(PROMOTIONS.history(tenant, "churn"))) == {"1", "2"}


def test_who_rolled_back_is_on_record(in_memory: InMemoryRegistry, tenant: TenantRef) -> None:
    """Decisions are the system's unless somebody is named."""
    for week in range(2):
        promote(in_memory, tenant, "churn", week)
    roll_back(
        tenant, "churn", to=None, as_of=FIRST, registry=in_memory, promotions=PROMOTIONS, by="ada"
    )
    assert [one.actor for one in PROMOTIONS.history(tenant, "churn")] == ["system", "system", "ada"]


def test_going_to_who_serves_changes_nothing_but_an_alias_that_lags(
    in_memory: InMemoryRegistry, tenant: TenantRef
) -> None:
    """A rollback that was killed before the alias moved is completed by running it again."""
    for week in range(2):
        promote(in_memory, tenant, "churn", week)
    first = roll_back(
        tenant, "churn", to="1", as_of=FIRST, registry=in_memory, promotions=PROMOTIONS
    )
    in_memory.set_alias(tenant, "churn", CHAMPION, "2")
    assert (
        roll_back(tenant, "churn", to="1", as_of=FIRST, registry=in_memory, promotions=PROMOTIONS)
        == first
    )
    alias = in_memory.alias(tenant, "churn", CHAMPION)
    assert alias is not None
    assert alias.version == "1"
    assert len(PROMOTIONS.history(tenant, "churn")) == 3


def test_a_version_that_is_not_whole_is_refused(
    in_memory: InMemoryRegistry, tenant: TenantRef
) -> None:
    """Neither with changed bytes of the model nor of its reference does it serve again."""
    for week in range(2):
        promote(in_memory, tenant, "churn", week)
    for kind in ("model", "reference"):
        file = (tenant.id, "churn", "1", kind)
        there = in_memory.files[file]
        in_memory.files[file] += b" "
        with pytest.raises(IntegrityError):
            roll_back(
                tenant, "churn", to="1", as_of=FIRST, registry=in_memory, promotions=PROMOTIONS
            )
        in_memory.files[file] = there
    assert len(PROMOTIONS.history(tenant, "churn")) == 2


def test_a_dry_run_names_who_would_serve_and_changes_nothing(
    in_memory: InMemoryRegistry, tenant: TenantRef
) -> None:
    """Also by name."""
    for week in range(2):
        promote(in_memory, tenant, "churn", week)
    decided = PROMOTIONS.history(tenant, "churn")
    for to in (None, "1"):
        found = roll_back(
            tenant,
            "churn",
            to=to,
            as_of=FIRST,
            registry=in_memory,
            promotions=PROMOTIONS,
            dry_run=True,
        )
        assert found.version == "1"
    assert PROMOTIONS.history(tenant, "churn") == decided
