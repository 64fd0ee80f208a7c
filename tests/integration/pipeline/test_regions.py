"""Global models of a region, and of all regions: who is in them, who is offered them, where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import end_state
import pyarrow.parquet as pq
import pytest
from generated import Shop
from installation import Installation, installed
from three_weeks import WEEKS, load, run, train_global

from include import cli, use_cases, wiring
from include.stage_runs import newest_training
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.stage_runs import PostgresStageRuns
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant
from include.tenants.namespace import GLOBAL, TenantRef, global_owner, lake_prefix

STAGE_RUNS: Final = PostgresStageRuns()
pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

#: Of each region a shop that keeps to it, and two that share the models of all, of one of which
#: there are rows and nothing else; and one that gives none.
EU = Shop("eu-shop", region="eu", across=False, customers=160)
EU_SHY = Shop("eu-shy", region="eu", across=False, consent=False, customers=40, seed=11)
US = Shop("us-shop", region="us", across=False, isolation="silo", customers=160, seed=8)
EU_FAR = Shop("eu-far", region="eu", customers=120, seed=9)
US_FAR = Shop("us-far", region="us", customers=120, seed=10)
EU_ROWS = Shop("eu-rows", region="eu", customers=250, seed=12)
US_ROWS = Shop("us-rows", region="us", customers=250, seed=13)
ROWS = (EU_ROWS, US_ROWS)
SHOPS = (EU, EU_SHY, US, EU_FAR, US_FAR)
OWNERS = (global_owner("eu"), global_owner("us"), GLOBAL)
#: Whose rows may be in a model, by the id of its owner.
MEMBERS = {
    "global-eu": {EU.id, EU_FAR.id, EU_ROWS.id},
    "global-us": {US.id, US_FAR.id, US_ROWS.id},
    "global": {EU_FAR.id, US_FAR.id, EU_ROWS.id, US_ROWS.id},
}
POOLED = WEEKS[0].replace(hour=12)


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """A week of every shop, the three global models of it, and the week after."""
    with installed() as found:
        found.open(*SHOPS, *ROWS)
        for shop in SHOPS:
            run(found, shop, WEEKS[0])
        for shop in ROWS:
            load(found, shop, WEEKS[0])
        for owner in OWNERS:
            train_global("churn", POOLED, owner)
        for shop in SHOPS:
            run(found, shop, WEEKS[1])
        yield found


def tenant(here: Installation, shop: Shop) -> TenantConfig:
    """The tenant of a shop."""
    return find_tenant(here.tenants, shop.id, use_cases.names())


def named(text: str) -> set[str]:
    """The shops that a text names, also by the id of a customer or an item."""
    return {shop.id for shop in (*SHOPS, *ROWS) if shop.id in text}


def content(path: Path) -> str:
    """A file as text."""
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pydict())
    return path.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.id)
def test_a_global_model_is_made_of_those_who_consented_to_that_pool(
    here: Installation, owner: TenantRef
) -> None:
    """Tables and training sets in the lineage are theirs; each region's is a model of its own."""
    trained = newest_training(STAGE_RUNS, owner, "churn")
    assert trained is not None
    platform = wiring.platform(wiring.connect_from_environment)
    document = json.loads(platform.lake.get(owner, trained.evaluation))
    assert {table["tenant"] for table in document["tables"]} == MEMBERS[owner.id]
    assert {s["recipe"]["tenant"] for s in document["training_sets"]} == MEMBERS[owner.id]
    champion = PROMOTIONS.champion_at(owner, "churn")
    assert champion is not None
    assert set(champion.evidence["made_of"]) == MEMBERS[owner.id]
    assert platform.registry.get(owner, "churn", champion.version).tenant == owner.id


def test_no_file_of_a_region_holds_anything_of_another_regions_tenants(here: Installation) -> None:
    """Neither path nor content; only what lies in the folder of all regions names tenants of both,
    and those have said that it may."""
    lake, looked_at = here.state.lake, 0
    for path in (path for path in lake.rglob("*") if path.is_file()):
        where, text = path.relative_to(lake), content(path)
        found = named(f"{where} {text}")
        looked_at += 1
        if where.parts[0] == GLOBAL.region:
            assert found <= MEMBERS["global"], where
        else:
            assert {shop.region for shop in (*SHOPS, *ROWS) if shop.id in found} <= {
                where.parts[0]
            }, where
    assert looked_at > 100
    for owner in OWNERS:
        home = lake / lake_prefix(owner)
        assert home.is_dir()
        assert (
            set().union(*(named(content(p)) for p in home.rglob("*") if p.is_file()))
            == MEMBERS[owner.id]
        )


def test_no_row_of_a_regions_owner_names_a_tenant_of_another(here: Installation) -> None:
    """In Tenantry's tables, and in MLflow's by workspace."""
    seen = set()
    for name in end_state.databases(here.server):
        for table, rows in end_state.tables(here.server.dsn(name)).items():
            for row in rows:
                owner = re.match(r"\('(global[a-z-]*)'", row)
                if owner is not None and table != "tenant_owners":  # whose each id is, no data
                    seen.add(owner[1])
                    assert named(row) <= MEMBERS[owner[1]], (table, row[:300])
    assert seen == set(MEMBERS)


def test_a_tenant_is_offered_the_models_of_the_pool_it_shares(here: Installation) -> None:
    """Its region's, also where it gives nothing; those of all regions where it says so."""
    offered = {}
    for shop in SHOPS:
        trained = newest_training(STAGE_RUNS, tenant(here, shop).ref, "churn", WEEKS[1])
        assert trained is not None
        parents = {one.parent_version for one in trained.candidates if one.rung == "global"}
        offered[shop.id] = {name.partition("/")[0] for name in parents}
    assert offered[EU_SHY.id] == {"global-eu"}
    assert offered[EU.id] <= {"global-eu"}
    assert offered[US.id] <= {"global-us"}
    assert offered[EU_FAR.id] <= {"global"}
    assert set().union(*offered.values()) >= {"global-eu", "global"}


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.id)
def test_the_commands_know_every_owner_of_global_models(
    here: Installation,
    owner: TenantRef,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """History, card and reproduction of each; a region that there is not lists those there are."""

    def tenantry(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["tenantry", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    code, printed = tenantry("history", owner.id, "churn", "--json")
    assert code == 0
    assert [one["version"] for one in json.loads(printed)] == ["1"]
    code, printed = tenantry("card", owner.id, "churn", "--json")
    assert code == 0
    assert json.loads(printed)["tenant"] == owner.id
    code, printed = tenantry("reproduce", f"{owner.id}.churn@1")
    assert code == 0, printed
    code, printed = tenantry("rollback", "--derived-from", f"{owner.id}.churn@1", "--dry-run")
    assert code == 0, printed
    assert f"{owner.id}/churn" in printed
    for arguments in (("history", "global-mars"), ("card", "global-mars", "churn")):
        code, printed = tenantry(*arguments)
        assert code == 1
        assert "known: global, global-eu, global-us" in " ".join(printed.split())
