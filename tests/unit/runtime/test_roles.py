"""Which roles the tenants have in Airflow, and what changes when tenants come and go."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.cli import roles as cli
from include.errors import TenantryError
from include.runtime.roles import (
    Permissions,
    RoleChanges,
    decide_roles,
    role_name,
    roles_of,
    tenant_of,
)
from include.tenants.namespace import DAG_KINDS

NOTHING = RoleChanges({}, {}, ())
#: What Airflow cannot limit to a DAG, or what would be everybody's.
NEVER = {
    *("DAGs", "Audit Logs", "All Audit Logs", "ImportError", "All Import Errors", "Assets"),
    *("Asset Aliases", "Pools", "Variables", "Connections", "Configurations", "Jobs", "Providers"),
    *("Cluster Activity", "Triggers", "Backfills", "Users", "Roles", "Permissions", "Admin"),
    *("DAG Code", "All Reparses", "Permission Views", "View Menus", "Passwords"),
}


@pytest.mark.parametrize("kind", ["reader", "operator"])
def test_a_role_names_its_tenants_dags_and_no_others(kind: str) -> None:
    """Each of the three DAGs by its whole name; no permission counts for all DAGs."""
    permissions = roles_of("store-1")[role_name("store-1", kind)]
    named = {resource for _, resource in permissions if "store" in resource}
    named -= {"Tenant store-1 (no key)"}
    assert named == {f"DAG:store-1.{one}" for one in DAG_KINDS}
    assert not NEVER & {resource for action, resource in permissions if action != "menu_access"}


def test_a_reader_changes_nothing_but_their_own_account() -> None:
    """Looking is all, besides one's own password and name."""
    changing = {
        resource
        for action, resource in roles_of("store-1")["tenant:store-1:reader"]
        if action not in ("can_read", "menu_access", "owned")
    }
    assert changing == {"My Password", "My Profile"}


def test_an_operator_runs_the_tenants_dags_and_deletes_nothing() -> None:
    """Trigger, rerun, pause; neither a run nor a DAG's history can be made to vanish."""
    reader, operator = roles_of("store-1").values()
    assert reader < operator
    assert {("can_create", "DAG Runs"), ("can_edit", "DAG:store-1.pipeline")} <= operator
    assert not [one for one in operator if one[0] == "can_delete"]


@pytest.mark.parametrize(
    "stranger",
    [
        *("Admin", "Viewer", "Public", "tenant:", "tenant:store-1", "tenant:store-1:"),
        *("tenant:store-1:reader ", "tenant:store-1:reader\n", " tenant:store-1:reader"),
        *("tenant:store-1:readers", "tenant:store-1:admin", "Tenant:store-1:reader"),
        *("tenant:Store-1:reader", "tenant:store_1:reader", "tenant:a:b:reader", "tenant::reader"),
    ],
)
def test_a_role_that_is_not_ours_is_left_alone(stranger: str) -> None:
    """Only whole names that we would make ourselves are recognised."""
    assert tenant_of(stranger) is None
    changes = decide_roles({}, [], {stranger: frozenset()})
    assert changes == NOTHING


def _now(*tenants: str) -> dict[str, Permissions]:
    return {name: one for tenant in tenants for name, one in roles_of(tenant).items()}


def test_what_is_right_is_not_touched() -> None:
    """A second time there is nothing to do."""
    changes = decide_roles(dict.fromkeys(["store-1", "store-10"]), [], _now("store-1", "store-10"))
    assert changes == NOTHING


def test_roles_go_with_their_tenant_and_only_with_theirs() -> None:
    """`store-1` leaves: its two roles go, those of `store-10` and `store` stay."""
    changes = decide_roles(
        dict.fromkeys(["store", "store-10"]), [], _now("store", "store-1", "store-10")
    )
    assert changes.removed == ("tenant:store-1:operator", "tenant:store-1:reader")
    assert (changes.made, changes.changed) == ({}, {})


def test_a_bad_file_costs_nobody_their_role() -> None:
    """While a tenant's file cannot be read, its roles stay as they are."""
    changes = decide_roles(dict.fromkeys(["store-10"]), ["store-1"], _now("store-1", "store-10"))
    assert changes == NOTHING


def test_what_somebody_added_by_hand_is_taken_back() -> None:
    """A role is exactly what it is meant to be: more is a hole, less a nuisance."""
    name = "tenant:store-1:reader"
    wider = _now("store-1") | {name: roles_of("store-1")[name] | {("can_read", "DAGs")}}
    assert decide_roles(dict.fromkeys(["store-1"]), [], wider).changed == {
        name: roles_of("store-1")[name]
    }
    narrower = _now("store-1") | {name: frozenset[tuple[str, str]]()}
    assert decide_roles(dict.fromkeys(["store-1"]), [], narrower).changed == {
        name: roles_of("store-1")[name]
    }


def test_a_new_tenant_gets_both() -> None:
    """A reader and an operator."""
    assert decide_roles(dict.fromkeys(["store-1"]), [], {}).made == roles_of("store-1")


def test_the_longest_tenant_id_fits_into_a_role() -> None:
    """FAB keeps 64 letters of a name."""
    assert all(len(name) <= 64 for name in roles_of("a" * 41))


def test_the_embedded_default_says_that_it_has_no_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one administrator sees all; the command names what has roles, and changes nothing."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv(
        "AIRFLOW__CORE__AUTH_MANAGER",
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    )
    with pytest.raises(TenantryError, match=r"FAB auth manager, as docker-compose\.yaml sets it"):
        cli.sync()


def test_the_people_of_a_company_that_left_are_strangers_to_the_next_one() -> None:
    """The same id with another key, and no sync in between: the roles are made anew, empty."""
    before = roles_of("store-1", "key-of-the-old-company") | roles_of("store-10", "another key")
    now = {"store-1": "key-of-the-new-company", "store-10": "another key"}
    changes = decide_roles(now, [], before)
    assert changes.removed == ("tenant:store-1:operator", "tenant:store-1:reader")
    assert changes.made == roles_of("store-1", "key-of-the-new-company")
    assert changes.changed == {}
    assert decide_roles(now, [], changes.made | roles_of("store-10", "another key")) == NOTHING


@pytest.mark.parametrize("key", [None, "another key of sixteen letters"])
def test_a_key_that_came_or_went_is_another_owner(key: str | None) -> None:
    """Also a file without a key after one with, and the other way round."""
    first = "a key of sixteen letters" if key is None else None
    changes = decide_roles({"store-1": key}, [], roles_of("store-1", first))
    assert set(changes.removed) == set(changes.made) == set(roles_of("store-1"))


def test_a_key_is_not_told_by_a_role() -> None:
    """Only a digest of it is kept, and another one for each tenant."""
    marks = [str(roles_of(name, "the same key")) for name in ("store-1", "store-2")]
    assert "the same key" not in str(marks)
    assert len({re.search(r"\(([0-9a-f]{16})\)", mark)[0] for mark in marks}) == 2  # type: ignore[index]
