"""Consent that is withdrawn while models serve: trainings, scoring and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from generated import Shop
from installation import Installation, installed
from three_weeks import NEIGHBOURS, WEEKS, load, run, train_global

from include import use_cases, wiring
from include.cli.identity import operator
from include.errors import TenantryError
from include.handoffs import Trained
from include.pipeline import runs, steps
from include.pipeline.consent import Withdrawals, reach_all
from include.pipeline.consents import Consents
from include.pipeline.stages import GLOBAL_STAGES, stage_named
from include.registry.port import CHAMPION
from include.registry.promotions import Promotion
from include.stage_runs import newest_training
from include.storage import audit
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.stage_runs import PostgresStageRuns
from include.tenants.loader import find_tenant
from include.tenants.namespace import GLOBAL, TenantRef
from include.wiring import Platform

STAGE_RUNS: Final = PostgresStageRuns()
pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

ONE = Shop("one-shop", customers=160)
TWO = Shop("two-shop", region="us", customers=120, seed=8)
SHY = Shop("shy-shop", region="us", isolation="silo", consent=False, customers=50, seed=9)
SHOPS = (ONE, TWO, SHY)
POOLED = WEEKS[0].replace(hour=12)
CASE = "churn"
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """A week of two shops that consented, the global model of both and their neighbours, and the
    first week of a small third one, which adopts it."""
    with installed() as found:
        found.open(*SHOPS, *NEIGHBOURS)
        for shop in (ONE, TWO):
            run(found, shop, WEEKS[0], CASE)
        for shop in NEIGHBOURS:
            load(found, shop, WEEKS[0])
        train_global(CASE, POOLED)
        run(found, SHY, WEEKS[1], CASE)
        found.save("consented")
        yield found


@pytest.fixture
def here(installation: Installation) -> Iterator[Installation]:
    """As it was when all was consented to."""
    files = {path: path.read_bytes() for path in installation.tenants.iterdir()}
    yield installation
    for path, content in files.items():
        path.write_bytes(content)
    installation.restore("consented")


def ref(here: Installation, shop: Shop) -> TenantRef:
    """The tenant of a shop."""
    found: TenantRef = find_tenant(here.tenants, shop.id, use_cases.names()).ref
    return found


def refuse(here: Installation, *shops: Shop) -> None:
    """Write into the files that these consent no more."""
    for shop in shops:
        path = here.tenants / f"{shop.id}.yaml"
        path.write_text(path.read_text().replace("consent: true", "consent: false"))


def platform() -> Platform:
    """The lake and registry there are."""
    return wiring.platform(wiring.connect_from_environment)


def scored_by(here: Installation, shop: Shop) -> set[str]:
    """The versions that made the predictions of the third week."""
    with tenant_transaction(ref(here, shop)) as connection:
        rows = connection.execute(
            "SELECT DISTINCT model_version AS version FROM predictions "
            "WHERE use_case = %s AND as_of = %s",
            [CASE, WEEKS[2]],
        ).fetchall()
    return {row["version"] for row in rows}


def champion(owner: TenantRef) -> Promotion:
    """Who serves."""
    found = PROMOTIONS.champion_at(owner, CASE)
    assert found is not None
    return found


def test_the_command_withdraws_at_once_and_a_model_trained_without_serves_again(
    here: Installation, tenantry: Command
) -> None:
    """Dry run, the real one, once more; then a training of the very same instant, which finds no
    incumbent that stays, and gives a model that names the tenant nowhere."""
    shy = ref(here, SHY)
    assert champion(shy).rung == "global"
    command = ("tenants", "withdraw-consent", TWO.id)
    code, printed = tenantry(*command, "--dry-run", "--json")
    assert code == 0, printed
    told = json.loads(printed)
    assert find_tenant(here.tenants, TWO.id, use_cases.names()).pooling.consent
    code, printed = tenantry(*command, "--json")
    assert code == 0, printed
    done = json.loads(printed)
    for found in (told, done):
        effects = {(one["tenant"], one["use_case"]): one["outcome"] for one in found["effects"]}
        assert effects[GLOBAL.id, CASE] == "nothing serves"
        assert effects[SHY.id, CASE] == "rolled back"
    assert (told["file_changed"], done["file_changed"]) == (False, True)
    (entry,) = [one for one in audit.entries(GLOBAL) if one.action == "withdraw consent"]
    assert (entry.actor, entry.told) == (operator(), {"tenant": TWO.id})
    assert not find_tenant(here.tenants, TWO.id, use_cases.names()).pooling.consent
    assert PROMOTIONS.champion_at(GLOBAL, CASE) is None
    assert platform().registry.alias(GLOBAL, CASE, CHAMPION) is None
    assert (champion(shy).rung, champion(shy).actor) == ("baseline", operator())
    code, printed = tenantry("history", GLOBAL.id, CASE, "--json")
    assert [one["version"] for one in json.loads(printed)] == ["1"]
    assert json.loads(printed)[0]["until"] is not None
    for arguments in (("why", SHY.id, CASE), ("card", GLOBAL.id, CASE, "--version", "1"), command):
        code, printed = tenantry(*arguments)
        assert code == 0, printed
    assert len([one for one in PROMOTIONS.history(GLOBAL, CASE) if one.for_good]) == 1

    train_global(CASE, POOLED)
    (new,) = (one for one in PROMOTIONS.history(GLOBAL, CASE) if one.for_good)
    trained = newest_training(STAGE_RUNS, GLOBAL, CASE)
    assert trained is not None
    document = json.loads(Lake.from_environment().get(GLOBAL, trained.evaluation))
    assert {table["tenant"] for table in document["tables"]} == {
        shop.id for shop in (ONE, *NEIGHBOURS)
    }
    decided = next(
        one for one in PROMOTIONS.history(GLOBAL, CASE) if one.trigger == trained.trigger
    )
    assert (decided.promoted, decided.incumbent_version) == (True, "")
    assert decided.version not in new.withdrawn
    assert champion(GLOBAL).version == decided.version
    run(here, SHY, WEEKS[2], CASE)
    (version,) = scored_by(here, SHY)
    made = platform().registry.get(shy, CASE, version)
    assert made.parent_version != f"{GLOBAL.id}/{CASE}@1"
    assert reach_all(platform(), [CASE])
    assert champion(shy).version == version


def test_when_all_withdraw_the_platforms_run_leaves_nothing_that_serves_of_it(
    here: Installation,
) -> None:
    """Whoever used the global model scores the next week by its own baseline."""
    refuse(here, ONE, TWO, *NEIGHBOURS)
    done = reach_all(platform(), [CASE])
    assert {one.tenant for one in done if one.outcome == "nothing serves"} == {GLOBAL.id}
    assert PROMOTIONS.champion_at(GLOBAL, CASE) is None
    run(here, SHY, WEEKS[2], CASE)
    (version,) = scored_by(here, SHY)
    assert platform().registry.get(ref(here, SHY), CASE, version).parent_version == ""


def test_who_was_not_reached_falls_back_before_it_scores(here: Installation) -> None:
    """The global version is withdrawn and the run was killed before any tenant: the tenant's own
    next run serves nothing of it."""
    refuse(here, TWO)
    work = Withdrawals(Consents.now(), platform())
    work.withdraw_global(GLOBAL, CASE)
    shy = ref(here, SHY)
    before = champion(shy)
    assert before.rung == "global"
    received: dict[str, Any] = {}
    for stage in ("ingestion", "quality", "features", "scoring"):
        done = runs.open_pipeline(
            SHY.id,
            CASE,
            start=WEEKS[1],
            end=WEEKS[2],
            connect=wiring.connect_from_environment,
        )
        received[stage] = steps.execute(stage_named(stage), done, received)
    assert champion(shy).version not in ("", before.version)
    assert scored_by(here, SHY) == {champion(shy).version}
    assert PROMOTIONS.history(shy, CASE)[-1].withdrawn == (before.version,)


def test_a_withdrawal_during_a_training_stops_what_came_of_it(here: Installation) -> None:
    """Nothing is registered; cleared and run again, the training is done without the tenant."""
    at = POOLED.replace(hour=18)
    shared = {"as_of": at, "connect": wiring.connect_from_environment}
    training, registry = GLOBAL_STAGES
    trained = steps.execute_global(training, runs.open_global(CASE, **shared), {})
    assert isinstance(trained, Trained)
    refuse(here, TWO)
    versions = platform().registry.versions(GLOBAL, CASE)
    world = runs.open_global(CASE, **shared)
    with pytest.raises(TenantryError, match=rf"{TWO.id} withdrew the consent to pooling while"):
        steps.execute_global(registry, world, {"training": trained})
    assert platform().registry.versions(GLOBAL, CASE) == versions
    train_global(CASE, at)
    last = PROMOTIONS.history(GLOBAL, CASE)[-1]
    assert (last.promoted, last.incumbent_version, last.trigger) == (True, "", "scheduled")
