"""A tenant that moves out of a region: whatever is killed on the way, it ends there, and the old
region's global models have nothing of it any more."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import end_state
import generated
import psycopg
import pytest
from generated import Shop
from installation import Installation, installed
from interruptions import ended_after
from three_weeks import WEEKS, load, run, train_global

from include import use_cases
from include.errors import ConfigError, TenantryError, UnavailableError
from include.pipeline import moving
from include.storage import audit, ownership, rows
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant
from include.tenants.namespace import GLOBAL, TenantRef, global_owner

pytestmark = pytest.mark.integration

MOVER = Shop("mover", across=False, customers=160, seed=1)
STAYING = tuple(Shop(f"stays-{n}", across=False, customers=160, seed=n) for n in (2, 3))
MOVED = replace(MOVER, region="us", isolation="silo")
EU = global_owner("eu")
#: Functions that write: to the lake, to Postgres, to MLflow's database.
WRITES = {
    *("change", "copy2", "copy_rows", "set_region", "readdress", "rmtree", "erase_rows"),
    *("drop_silo", "_append", "provision", "record"),
}
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Three shops of a region that consent, one of which ran for a week, and their global model."""
    with installed() as found:
        found.open(MOVER, *STAYING)
        run(found, MOVER, WEEKS[0], "churn")
        for shop in STAYING:
            load(found, shop, WEEKS[0])
        train_global("churn", WEEKS[0].replace(hour=12), EU)
        found.save("trained")
        yield found


@pytest.fixture
def here(installation: Installation) -> Installation:
    """As it was before any move, with the shop's file as it is after one."""
    afresh(installation)
    return installation


def afresh(here: Installation) -> None:
    """Put everything back, and the shop's file as it is after a move."""
    for name in end_state.databases(here.server):
        if "silo" in name:
            with psycopg.connect(here.server.dsn("postgres"), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    here.restore("trained")
    _write(here, MOVED)


def _write(here: Installation, shop: Shop) -> None:
    """The shop's file, and no database."""
    generated.write(shop, here.data, here.tenants)


def tenant(here: Installation) -> TenantConfig:
    """The shop, as its file is now."""
    return find_tenant(here.tenants, MOVER.id, use_cases.names())


def in_the_end(here: Installation) -> dict[str, Any]:
    """Everything there is, after a move."""
    found = here.end_state()
    assert not [name for name in found if name.startswith(f"lake: eu/{MOVER.id}/")]
    assert not rows.has_rows(TenantRef(MOVER.id, "us", "pool"))
    return found


def written(act: Callable[[], object]) -> Counter[str]:
    """How often each function that writes is called."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name in WRITES:
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def test_killed_at_any_write_and_called_again_it_arrives(here: Installation) -> None:
    """At the first, a middle and the last call of every function that writes: until then all
    others are refused, and calling it again ends in the same state, the audit chain and the
    withdrawn global model included."""
    calls = written(lambda: moving.move(tenant(here), by="an-operator"))
    assert calls.keys() >= WRITES - {"drop_silo"}
    expected = in_the_end(here)
    entries = [one.action for one in audit.entries(GLOBAL)]
    assert entries.count("tenant moved") == 1
    for name, count in sorted(calls.items()):
        for number in sorted({0, count // 2, count - 1}):
            afresh(here)
            with ended_after(number, {name}) as ended:
                moving.move(tenant(here), by="an-operator")
            assert ended == [name]
            with pytest.raises((ConfigError, UnavailableError)):
                ownership.claim(tenant(here))
            moving.move(tenant(here), by="an-operator")
            assert end_state.differences(expected, in_the_end(here)) == [], f"{name} {number}"
            assert [one.action for one in audit.entries(GLOBAL)] == entries
            ownership.claim(tenant(here))


def test_the_file_may_not_change_its_mind_half_way(here: Installation) -> None:
    """Killed when only the old copy is left to erase, a move to yet another place, or back, is
    refused until it is finished; nothing stays in the old place."""
    with ended_after(0, {"rmtree"}):
        moving.move(tenant(here), by="an-operator")
    for other in (MOVER, replace(MOVED, isolation="pool"), replace(MOVED, region="asia")):
        _write(here, other)
        for act in (moving.plan, lambda one: moving.move(one, by="an-operator")):
            with pytest.raises(
                ConfigError, match="is being moved to region 'us', isolation 'silo'"
            ):
                act(tenant(here))
    _write(here, MOVED)
    moving.move(tenant(here), by="an-operator")
    in_the_end(here)


def test_what_the_old_region_learnt_is_withdrawn_and_the_command_says_so(
    here: Installation, tenantry: Command
) -> None:
    """The dry run names it and does nothing; after the move the region's model serves nobody and
    its next training is without the tenant."""
    promotions = PostgresPromotions()
    before = here.end_state()
    code, said = tenantry("tenants", "move", MOVER.id, "--dry-run")
    assert code == 0
    assert "global-eu/churn: would be nothing serves. mover withdrew the consent" in said
    assert "would be moved from eu (pool) to us (silo)" in said
    assert end_state.differences(before, here.end_state()) == []
    code, said = tenantry("tenants", "move", MOVER.id, "--json")
    assert code == 0
    (effect,) = json.loads(said)["move"]["withdrawn"]
    assert (effect["tenant"], effect["outcome"]) == ("global-eu", "nothing serves")
    assert promotions.gone(EU, "churn") == {"1"}
    code, said = tenantry("tenants", "move", MOVER.id)
    assert (code, said) == (0, "the data of mover lies where its file says; nothing to move\n")


@pytest.mark.parametrize(
    "command",
    [
        ("why", MOVER.id, "churn"),
        ("history", MOVER.id),
        ("card", MOVER.id, "churn"),
        ("rollback", MOVER.id, "churn"),
        ("reproduce", f"{MOVER.id}.churn"),
        ("run", MOVER.id),
        ("experiment", "list", MOVER.id),
        ("experiment", "start", MOVER.id, "churn", "--challenger", "1", "--share", "0.1"),
        ("experiment", "stop", MOVER.id, "churn", "--because", "so"),
        ("suspicion", "list", MOVER.id),
        ("suspicion", "confirm", MOVER.id, "churn", "--because", "so"),
        ("features", "skew", MOVER.id),
        ("features", "freshness", MOVER.id),
        ("features", "preview", "user_activity", "--tenant", MOVER.id),
        ("tenants", "check"),
    ],
    ids=" ".join,
)
def test_until_it_is_moved_every_command_about_it_is_refused(
    command: tuple[str, ...], here: Installation, tenantry: Command
) -> None:
    """With both places and what to do; nothing is read or written meanwhile."""
    before = here.end_state()
    code, said = tenantry(*command)
    told = " ".join(said.split())
    assert code == 1
    assert "the file of 'mover' says region 'us' with isolation 'silo'" in told
    assert "its data lies in region 'eu' with isolation 'pool'" in told
    assert "`tenantry tenants move mover` moves it" in told
    assert end_state.differences(before, here.end_state()) == []


def test_the_audit_chain_is_shown_where_it_lies(here: Installation, tenantry: Command) -> None:
    """Also until the data is moved: it says what happened, and is nobody's to be kept from."""
    code, said = tenantry("audit", "show", MOVER.id, "--json")
    assert code == 0
    assert [row["number"] for row in json.loads(said)] == [
        entry.number for entry in audit.entries(TenantRef(MOVER.id, "eu", "pool"))
    ]
    assert json.loads(said)


def test_the_fleet_shows_who_is_not_read_and_all_others(
    here: Installation, tenantry: Command
) -> None:
    """One row says `unavailable` and a line why; the neighbours' rows are as ever."""
    code, said = tenantry("status", "--json")
    assert code == 0
    champions = {(row["tenant"], row["champion"]) for row in json.loads(said)}
    assert champions == {
        (MOVER.id, "unavailable"),
        *((shop.id, "none yet") for shop in STAYING),
    }
    code, said = tenantry("status")
    assert code == 0
    assert "not read: tenant mover: the file of 'mover' says region 'us'" in said


def test_until_it_is_moved_no_global_training_reads_it(here: Installation) -> None:
    """Neither the old region's, whose it is no more by its file, nor the new one's."""
    from include import wiring
    from include.pipeline import runs

    for owner in (EU, global_owner("us")):
        opened = runs.open_global(
            "churn", as_of=WEEKS[1], connect=wiring.connect_from_environment, owner=owner
        )
        assert MOVER.id not in {one.id for one in opened.consenting}


def test_a_move_that_was_killed_is_a_problem_of_the_check(
    here: Installation, tenantry: Command
) -> None:
    """It names the command that goes on with it."""
    with ended_after(3, {"copy2"}):
        moving.move(tenant(here), by="an-operator")
    code, said = tenantry("tenants", "check")
    assert code == 1
    assert "is being moved; run `tenantry tenants move mover` again to finish that" in said


def test_nothing_is_changed_while_it_is_moved(here: Installation) -> None:
    """A command that changes what a tenant has keeps the move away for as long as it works."""
    from include.cli.shared import changing

    _write(here, MOVER)
    with changing(tenant(here).ref):
        _write(here, MOVED)
        with pytest.raises(UnavailableError, match="at work"):
            moving.move(tenant(here), by="an-operator")
    with pytest.raises(TenantryError), changing(tenant(here).ref):
        pass
