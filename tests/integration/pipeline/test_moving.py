"""A tenant that moves: all arrives as it was, the old copy goes, models can be made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import end_state
import psycopg
import pytest
from generated import Shop
from installation import Installation, child_environment, installed
from interruptions import ended_after

from include import use_cases, wiring
from include.errors import ConfigError, IntegrityError, IsolationError, UnavailableError
from include.pipeline import in_process, moving
from include.storage import ownership, rows
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.loader import find_tenant, load_fleet
from include.tenants.namespace import TenantRef
from include.training.reproduction import reproduce

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
SHOP = Shop("moves", customers=200)
SILO = Shop("silo-moves", isolation="silo", customers=200, seed=8)
#: From where to where; a name that is a region's, an isolation's, or both.
MOVES = [
    (SHOP, {"region": "us"}),
    (SHOP, {"isolation": "silo"}),
    (SHOP, {"region": "us", "isolation": "silo"}),
    (SILO, {"isolation": "pool"}),
    (SILO, {"region": "us"}),
    (SILO, {"region": "us", "isolation": "pool"}),
]
NAMES = [f"{shop.isolation}-to-{'-'.join(change.values())}" for shop, change in MOVES]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """Two shops that ran once; saved."""
    with installed() as found:
        found.open(SHOP, SILO)
        for shop in (SHOP, SILO):
            _run(found, shop, AS_OF)
        found.save("ran")
        yield found


@pytest.fixture
def fresh(here: Installation) -> Installation:
    """As they were after the run, whatever the test before did."""
    for name in end_state.databases(here.server):
        if "silo" in name and name != "tenantry_silo_silo_moves":
            with psycopg.connect(here.server.dsn("postgres"), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    if "tenantry_silo_silo_moves" not in end_state.databases(here.server):
        from include.storage.migrate import migrate

        migrate(TenantRef(SILO.id, "eu", "silo"))
    here.restore("ran")
    here.open(SHOP, SILO)
    return here


def _run(here: Installation, shop: Shop, as_of: datetime) -> None:
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    in_process.run(tenant, as_of, "churn", wiring.connect_from_environment)


def _content(here: Installation, shop: Shop) -> dict[str, object]:
    """All that there is of a tenant, without where it lies."""
    ref = find_tenant(here.tenants, shop.id, use_cases.names()).ref
    home = here.state.lake / ref.region / ref.id
    found: dict[str, object] = dict(end_state.files(home))
    database = (
        "tenantry" if ref.isolation == "pool" else f"tenantry_silo_{ref.id}".replace("-", "_")
    )
    for table, lines in end_state.tables(here.server.dsn(database)).items():
        own = [line for line in lines if line.startswith(f"('{ref.id}'")]
        found[table] = sorted(line.replace("'us'", "'eu'") for line in own)
    found["counts"] = rows.count_rows(ref)
    return found


@pytest.mark.parametrize(("shop", "change"), MOVES, ids=NAMES)
def test_everything_arrives_and_the_old_copy_goes(
    fresh: Installation, shop: Shop, change: dict[str, str]
) -> None:
    """A run is refused until the move; afterwards bytes and rows are the same, nothing is left
    where it was, models are made again identically, and the next week goes on from there."""
    before = _content(fresh, shop)
    moved = replace(shop, **change)  # type: ignore[arg-type]
    fresh.open(moved)
    with pytest.raises(ConfigError, match="tenants move"):
        _run(fresh, moved, AS_OF)
    tenant = find_tenant(fresh.tenants, shop.id, use_cases.names())
    planned = moving.plan(tenant)
    assert planned is not None
    assert moving.plan(tenant) == planned  # looking changes nothing
    assert moving.move(tenant, by="an-operator") == planned
    assert _content(fresh, shop) == before
    assert Lake(fresh.state.lake).regions(shop.id) == [moved.region]
    if "isolation" in change:
        assert (shop.id in ownership.silos()) == (moved.isolation == "silo")
    if moved.isolation == "silo":
        pool = TenantRef(shop.id, moved.region, "pool")
        assert not rows.has_rows(pool)
    assert moving.move(tenant, by="an-operator") is None
    registry = wiring.platform(wiring.connect_from_environment).registry
    versions = registry.versions(tenant.ref, "churn")
    assert versions
    for version in versions:
        made = reproduce(
            tenant.ref,
            version,
            use_cases.get("churn"),
            fleet=load_fleet(fresh.tenants, use_cases.names()).tenants,
            registry=registry,
            promotions=PROMOTIONS,
            lake=Lake(fresh.state.lake),
            code_revision="tested",
        )
        assert made.identical, made
    with psycopg.connect(fresh.server.dsn("mlflow")) as connection:
        sources = connection.execute(
            "SELECT source FROM model_versions WHERE workspace = %s", [shop.id]
        ).fetchall()
    assert sources
    assert all(f"/{moved.region}/{shop.id}/" in source for (source,) in sources)
    if len(change) == 1:
        return
    _run(fresh, moved, AS_OF)
    again = _content(fresh, shop)
    # The registry of runs says what the newest run read; the store's keys depend on the region, and
    # what blocks of text are known by on the tenant's file.
    built = {"stage_runs", "online_groups", "online_partials", "online_views"}
    built |= {key for key in before if key.startswith("zone_maps/")}
    assert all(again[key] == value for key, value in before.items() if key not in built)
    _run(fresh, moved, AS_OF + timedelta(days=7))


@pytest.mark.parametrize(("shop", "change"), [MOVES[2], MOVES[5]], ids=[NAMES[2], NAMES[5]])
def test_a_move_that_is_interrupted_again_and_again_arrives(
    fresh: Installation, shop: Shop, change: dict[str, str]
) -> None:
    """Ended after ever more steps, it goes on where it was; no run begins before it is finished."""
    before = _content(fresh, shop)
    fresh.open(replace(shop, **change))  # type: ignore[arg-type]
    tenant = find_tenant(fresh.tenants, shop.id, use_cases.names())
    steps = {"change", "copy2", "copy_rows", "_digest", "set_region", "readdress", "rmtree"}
    interrupted = 0
    for limit in range(400):
        with ended_after(limit * (limit + 1) // 2, {*steps, "drop_silo", "erase_rows"}) as ended:
            moving.move(tenant, by="an-operator")
        if not ended:
            break
        interrupted += 1
        with pytest.raises((ConfigError, UnavailableError)):
            ownership.claim(tenant)
    assert interrupted > 5
    ownership.claim(tenant)
    assert _content(fresh, shop) == before
    assert Lake(fresh.state.lake).regions(shop.id) == [tenant.region]


def test_a_move_that_was_killed_goes_on(fresh: Installation) -> None:
    """SIGKILL while rows are copied: nothing of them is there, and running it again moves all."""
    before = _content(fresh, SHOP)
    fresh.open(replace(SHOP, region="us", isolation="silo"))
    script = (
        "import os, signal\n"
        "from include import use_cases\n"
        "from include.pipeline import moving\n"
        "from include.storage import rows\n"
        "from include.tenants.loader import find_tenant, tenants_folder\n"
        "rows._digest = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"tenant = find_tenant(tenants_folder(), {SHOP.id!r}, use_cases.names())\n"
        "moving.move(tenant, by='an-operator')\n"
    )
    environment = child_environment(fresh)
    ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not rows.has_rows(TenantRef(SHOP.id, "us", "silo"))
    tenant = find_tenant(fresh.tenants, SHOP.id, use_cases.names())
    moving.move(tenant, by="an-operator")
    assert _content(fresh, SHOP) == before


def test_a_copy_that_differs_is_not_taken(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old copy stays and counts, and the move says so."""
    fresh.open(replace(SHOP, region="us", isolation="silo"))
    tenant = find_tenant(fresh.tenants, SHOP.id, use_cases.names())
    kept = rows._digest
    broken = lambda *given: (0, "") if given[0].info.dbname != "tenantry" else kept(*given)  # noqa: E731
    monkeypatch.setattr(rows, "_digest", broken)
    with pytest.raises(IntegrityError, match="nothing was kept"):
        moving.move(tenant, by="an-operator")
    assert (fresh.state.lake / "eu" / SHOP.id).is_dir()
    assert rows.has_rows(TenantRef(SHOP.id, "eu", "pool"))
    monkeypatch.undo()
    os.environ.update(fresh.environment)
    moving.move(tenant, by="an-operator")
    assert Lake(fresh.state.lake).regions(SHOP.id) == ["us"]


def test_what_lies_at_the_target_is_not_overwritten(fresh: Installation) -> None:
    """Data of the id in the other region, as an earlier release left it, is for a person."""
    Lake(fresh.state.lake).put(TenantRef(SHOP.id, "us", "pool"), "features/x", b"x")
    fresh.open(replace(SHOP, region="us"))
    tenant = find_tenant(fresh.tenants, SHOP.id, use_cases.names())
    with pytest.raises(IsolationError, match="already"):
        moving.move(tenant, by="an-operator")
    owner = ownership.owner_of(SHOP.id)
    assert owner is not None
    assert owner.state == "active"


def test_who_is_at_work_is_not_moved(fresh: Installation) -> None:
    """A task that reads or writes keeps the data where it is."""
    fresh.open(replace(SHOP, region="us"))
    tenant = find_tenant(fresh.tenants, SHOP.id, use_cases.names())
    with ownership.at_work(SHOP.id), pytest.raises(UnavailableError, match="at work"):
        moving.move(tenant, by="an-operator")
    with tenant_transaction(TenantRef(SHOP.id, "eu", "pool")) as connection:
        assert connection.execute("SELECT 1 FROM slices").fetchone()
