"""What one tenant's people see in Airflow: their tenant, and of the others not even that they are.

The questions are Airflow's own: every route of the API descriptions that it ships.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest
import yaml
from airflow_access import ABSENT, CANARY, OTHER, OWN, RUN, TASK, Access

from include.runtime.roles import roles_of
from include.tenants.namespace import dag_id

pytestmark = pytest.mark.integration

PEOPLE = ("reader", "operator")
_DESCRIPTIONS = ("v2-rest-api-generated.yaml", "_private_ui.yaml")
#: What to ask for, by the name of a parameter; all of it exists for both tenants.
_VALUES = {
    **{"dag_run_id": RUN, "run_id": RUN, "task_id": TASK, "map_index": "-1", "try_number": "1"},
    **{"task_try_number": "1", "xcom_key": "return_value", "version_number": "1", "asset_id": "1"},
    **{"asset_alias_id": "1", "event_log_id": "1", "import_error_id": "1", "key": "x"},
    **{"section": "core", "option": "executor", "backfill_id": "2"},
    **dict.fromkeys(("connection_id", "pool_name", "variable_key"), CANARY),
    **{"task_group_id": "churn", "interval": "1", "partition_key": "1", "file_token": "x"},
}
#: They end the session that asks, or wait for ever.
_LEFT_OUT = ("/auth/logout", "/auth/login", "/wait")


@dataclass(frozen=True)
class Route:
    """One route, with what its query needs."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]

    @property
    def of_a_dag(self) -> bool:
        """Whether it asks about one DAG."""
        return "{dag_id}" in self.path or "dag_id" in dict(self.query)

    def ask(self, access: Access, user: str, dag: str = "") -> tuple[int, str]:
        """Status and body; the DAG's own id is taken out of the body, as it was asked for."""
        path = self.path
        for name, value in {**_VALUES, "dag_id": dag}.items():
            path = path.replace("{" + name + "}", value)
        query = {name: dag if name == "dag_id" else value for name, value in self.query}
        body = None if self.method == "GET" else {}
        answer = access.ask(user, path, self.method, body, **query)
        return answer.status_code, answer.text.replace(dag, "DAG") if dag else answer.text


def _routes() -> Iterator[Route]:
    folder = files("airflow.api_fastapi.core_api") / "openapi"
    for name in _DESCRIPTIONS:
        for path, operations in yaml.safe_load((folder / name).read_text())["paths"].items():
            for method, operation in operations.items():
                query = tuple(
                    (one["name"], "2024-01-01T00:00:00Z" if "date" in one["name"] else "1")
                    for one in operation.get("parameters", ())
                    if one["in"] == "query" and (one.get("required") or one["name"] == "dag_id")
                )
                if not path.endswith(_LEFT_OUT):
                    yield Route(method.upper(), path, query)


ROUTES = sorted(set(_routes()), key=lambda route: (route.path, route.method))
OF_A_DAG = [route for route in ROUTES if route.of_a_dag]
OF_ALL = [route for route in ROUTES if not route.of_a_dag and route.method == "GET"]
KINDS = ("pipeline", "retrain", "drift_watch")


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_the_descriptions_are_those_of_this_airflow() -> None:
    """The matrix is not empty, and no parameter of a path is left unfilled."""
    assert len(OF_A_DAG) > 80
    assert len(OF_ALL) > 25
    for route in ROUTES:
        filled = route.path
        for name in (*_VALUES, "dag_id"):
            filled = filled.replace("{" + name + "}", "")
        assert "{" not in filled or route.method != "GET", route


@pytest.mark.parametrize("user", PEOPLE)
@pytest.mark.parametrize("route", OF_A_DAG, ids=_name)
def test_a_foreign_dag_is_an_absent_one(access: Access, route: Route, user: str) -> None:
    """Same status and same words for another tenant's DAG as for one that nobody has, whatever is
    asked about it or done to it, and nothing of the other tenant in the answer."""
    for kind in KINDS:
        foreign = route.ask(access, user, dag_id(OTHER, kind))
        assert foreign == route.ask(access, user, dag_id(ABSENT, kind))
        assert foreign[0] in (403, 404, 422)
        assert CANARY not in foreign[1]
        assert OTHER not in foreign[1]


@pytest.mark.parametrize("user", PEOPLE)
@pytest.mark.parametrize("route", OF_ALL, ids=_name)
def test_a_list_shows_what_is_ones_own(access: Access, route: Route, user: str) -> None:
    """Lists, counts, graphs, menus: either refused, or without a trace of the other tenant."""
    status, answer = route.ask(access, user)
    assert status < 500
    assert OTHER not in answer
    assert CANARY not in answer


ANYWHERE = {
    "/api/v2/dags": 3,
    "/api/v2/dags/~/dagRuns": 4,  # three by hand, one of the backfill
    "/api/v2/dags/~/dagRuns/~/taskInstances": None,
    "/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries": 1,
    "/api/v2/dags/~/dagRuns/~/hitlDetails": 0,
    "/api/v2/dags/~/dagVersions": 3,
    "/api/v2/dagStats": 3,
    "/api/v2/dagWarnings": None,
    "/api/v2/dagTags": None,
    f"/api/v2/dags?dag_id_pattern={OTHER}": 0,
    f"/api/v2/dags?dag_id_pattern={OWN}": 3,
    f"/api/v2/dags?dag_display_name_pattern={OTHER}": 0,
    f"/api/v2/dags?tags={OTHER}": 0,
    f"/api/v2/dags?owners=tenantry&dag_id_prefix_pattern={OTHER}": 0,
    f"/api/v2/dags/~/dagRuns?dag_id_pattern={OTHER}": 0,
    f"/api/v2/dags/~/dagRuns/~/taskInstances?dag_id_pattern={OTHER}": 0,
    f"/api/v2/dagStats?dag_ids={OTHER}.pipeline": 0,
    f"/api/v2/dagWarnings?dag_id={OTHER}.pipeline": None,
    f"/ui/dags?dag_ids={OTHER}.pipeline": 0,
    "/ui/dags": 3,
    "/ui/backfills": 1,
    "/ui/dashboard/dag_stats": None,
    "/ui/dashboard/historical_metrics_data?start_date=2024-01-01T00:00:00Z": None,
    f"/ui/structure/structure_data?dag_id={OWN}.pipeline&external_dependencies=true": None,
}


@pytest.mark.parametrize("path", ANYWHERE)
def test_counts_and_filters_know_ones_own_only(access: Access, path: str) -> None:
    """Also where a filter names the other tenant, and where `~` means all DAGs."""
    answer = access.ask("reader", path)
    if answer.status_code == 403 and path.partition("?")[2].startswith(f"dag_id={OTHER}"):
        return
    assert answer.status_code == 200, answer.text
    assert OTHER not in answer.text
    assert CANARY not in answer.text
    if (wanted := ANYWHERE[path]) is not None:
        assert answer.json()["total_entries"] == wanted


def test_dashboards_count_ones_own_only(access: Access) -> None:
    """Three DAGs and four runs, although there are twice as many."""
    stats = access.ask("reader", "/ui/dashboard/dag_stats").json()
    assert stats["active_dag_count"] == 3
    path = "/ui/dashboard/historical_metrics_data?start_date=2024-01-01T00:00:00Z"
    assert sum(access.ask("reader", path).json()["dag_run_states"].values()) == 4


def test_lists_asked_for_with_a_body_are_limited_likewise(access: Access) -> None:
    """The two routes that take their filter in a POST."""
    for path, key in (
        ("/api/v2/dags/~/dagRuns/list", "dag_runs"),
        ("/api/v2/dags/~/dagRuns/~/taskInstances/list", "task_instances"),
    ):
        for body in ({}, {"dag_ids": [dag_id(OTHER, "pipeline")]}):
            answer = access.ask("operator", path, "POST", body)
            assert answer.status_code in (200, 403)
            assert OTHER not in answer.text
            if not body:
                assert answer.json()[key]


def test_a_foreign_backfill_is_an_absent_one(access: Access) -> None:
    """Backfills have numbers, which anybody can count up."""
    for method, suffix in (("GET", ""), ("PUT", "/pause"), ("PUT", "/cancel"), ("PUT", "/unpause")):
        foreign = access.ask("operator", f"/api/v2/backfills/2{suffix}", method)
        absent = access.ask("operator", f"/api/v2/backfills/99{suffix}", method)
        assert (foreign.status_code, foreign.text) == (absent.status_code, absent.text)
    assert access.ask("reader", "/api/v2/backfills/1").status_code == 200


def _state(access: Access, tenant: str) -> Any:
    runs = access.admin.runs(dag_id(tenant, "pipeline"))
    tasks = access.admin.call("GET", f"/dags/{dag_id(tenant, 'pipeline')}/dagRuns/~/taskInstances")
    paused = access.admin.call("GET", f"/dags/{dag_id(tenant, 'pipeline')}")["is_paused"]
    states = [(one["task_id"], one["state"], one["note"]) for one in tasks["task_instances"]]
    return [(run["dag_run_id"], run["state"], run["note"]) for run in runs], states, paused


def test_an_operator_runs_their_own_dags_and_touches_no_others(access: Access) -> None:
    """Trigger, rerun and pause work at home; elsewhere nothing changes, also not by naming a DAG
    of one's own in the query, or another's in the body."""
    before = _state(access, OTHER)
    own, foreign = dag_id(OWN, "retrain"), dag_id(OTHER, "pipeline")
    run = {"dag_run_id": "by-hand", "logical_date": None, "conf": {"use_case": "churn"}}
    path = f"/api/v2/dags/{own}/dagRuns"
    assert access.ask("operator", path, "POST", run).status_code == 200
    assert access.ask("reader", path, "POST", run | {"dag_run_id": "x"}).status_code == 403
    for paused in (True, False):
        answer = access.ask("operator", f"/api/v2/dags/{own}", "PATCH", {"is_paused": paused})
        assert answer.status_code == 200
    at = f"/api/v2/dags/{foreign}"
    instance = {"dag_id": foreign, "dag_run_id": RUN, "task_id": TASK, "new_state": "failed"}
    for user in ("operator", "both"):
        for method, target, body in (
            ("POST", f"{at}/dagRuns", run),
            ("POST", f"{at}/dagRuns?dag_id={own}", run),
            ("PATCH", at, {"is_paused": True}),
            ("PATCH", f"/api/v2/dags?dag_id_pattern={OTHER}", {"is_paused": True}),
            ("PATCH", f"{at}/dagRuns/{RUN}", {"state": "failed", "note": "mine"}),
            ("POST", f"{at}/dagRuns/{RUN}/clear", {"dry_run": False}),
            ("POST", f"{at}/clearTaskInstances", {"dry_run": False, "dag_run_id": RUN}),
            ("PATCH", f"{at}/dagRuns/{RUN}/taskInstances/{TASK}", {"new_state": "failed"}),
            ("DELETE", at, None),
            ("DELETE", f"{at}/dagRuns/{RUN}", None),
            (
                "POST",
                "/api/v2/backfills",
                {
                    "dag_id": foreign,
                    "from_date": "2024-06-17T00:00:00Z",
                    "to_date": "2024-06-17T00:00:00Z",
                },
            ),
            (
                "PATCH",
                "/api/v2/dags/~/dagRuns/~/taskInstances",
                {"actions": [{"action": "update", "entities": [instance]}]},
            ),
            (
                "PATCH",
                "/api/v2/dags/~/dagRuns",
                {
                    "actions": [
                        {
                            "action": "delete",
                            "entities": [{"dag_id": foreign, "dag_run_id": RUN}],
                        }
                    ]
                },
            ),
        ):
            answer = access.ask(user, target, method, body)
            assert answer.status_code in (200, 403, 404, 422), (method, target, answer.text)
            assert OTHER not in answer.text.replace(foreign, "") or user == "both"
    assert _state(access, OTHER) == before


def test_ones_own_is_all_there(access: Access) -> None:
    """The roles are not just walls: runs, tasks, XComs, logs, the graph and the page of reports."""
    at = f"/api/v2/dags/{dag_id(OWN, 'pipeline')}"
    instance = f"{at}/dagRuns/{RUN}/taskInstances/{TASK}"
    for path in (
        *(at, f"{at}/details", f"{at}/tasks", f"{at}/dagRuns/{RUN}", instance),
        *(f"{instance}/xcomEntries/return_value", f"{instance}/logs/1", f"{instance}/tries"),
        f"/ui/structure/structure_data?dag_id={OWN}.pipeline",
        *(f"/ui/grid/structure/{OWN}.pipeline", f"/ui/grid/runs/{OWN}.pipeline"),
        *(f"/ui/gantt/{OWN}.pipeline/{RUN}", "/api/v2/plugins", "/ui/config", "/ui/auth/menus"),
        f"/tenantry/reports/{OWN}",
    ):
        assert access.ask("reader", path).status_code == 200, path
    assert f"canary-of-{OWN}" in access.ask("reader", f"{instance}/logs/1").text
    assert f"canary-of-{OWN}" in access.ask("reader", f"{instance}/xcomEntries/return_value").text


def test_the_pages_of_the_plugin_are_limited_likewise(access: Access) -> None:
    """The fleet shows one tenant; another's page and tab are refused like an absent one's."""
    fleet = access.ask("reader", "/tenantry/")
    assert fleet.status_code == 200
    assert OWN in fleet.text
    assert OTHER not in fleet.text
    for path in ("/tenantry/reports/{}", "/tenantry/dag/{}.pipeline", "/tenantry/reports/{}/file"):
        foreign, absent = (
            access.ask("reader", path.format(tenant), path="reports/x.html")
            for tenant in (OTHER, ABSENT)
        )
        assert (foreign.status_code, foreign.text) == (absent.status_code, absent.text)
        assert foreign.status_code == 403


def test_users_and_roles_are_the_administrators(access: Access) -> None:
    """Nobody learns who else there is, nor gives themselves a role."""
    for path in ("/auth/fab/v1/users", "/auth/fab/v1/roles", "/auth/fab/v1/permissions"):
        for method, body in (("GET", None), ("POST", {"name": "mine", "actions": []})):
            answer = access.ask("operator", path, method, body)
            assert answer.status_code in (401, 403, 404, 405, 422), (path, method)
            assert "other" not in answer.text


@pytest.mark.parametrize("user", ["nobody", ""])
def test_without_a_role_or_a_login_there_is_nothing(access: Access, user: str) -> None:
    """Every route of a DAG is refused, whosever the DAG."""
    for route in OF_A_DAG:
        if route.method == "GET":
            for tenant in (OWN, OTHER, ABSENT):
                status, answer = route.ask(access, user, dag_id(tenant, "pipeline"))
                assert status in (401, 403), (route, tenant)
                assert "canary" not in answer


def test_who_has_two_roles_has_each_where_it_counts(access: Access) -> None:
    """Operator of one tenant and reader of another: to run is allowed at the first only."""
    run = {"dag_run_id": "by-both", "logical_date": None, "conf": {"use_case": "churn"}}
    for tenant, status in ((OWN, 200), (OTHER, 403)):
        assert access.ask("both", f"/api/v2/dags/{tenant}.pipeline").status_code == 200
        path = f"/api/v2/dags/{tenant}.retrain/dagRuns"
        assert access.ask("both", path, "POST", run).status_code == status


def _roles(access: Access) -> dict[str, list[str]]:
    found = access.ask_admin("/auth/fab/v1/roles?limit=100")
    return {
        role["name"]: sorted(
            f"{a['action']['name']} on {a['resource']['name']}" for a in role["actions"]
        )
        for role in found["roles"]
    }


def test_roles_come_and_go_with_the_files(access: Access) -> None:
    """A second time nothing is done; a bad file costs nobody a role; with the file the role goes,
    the person stays, and what they could see is gone for them. Last, as it changes the people."""
    wanted = {
        name: sorted(f"{action} on {resource}" for action, resource in permissions)
        for tenant in (OWN, OTHER)
        for name, permissions in roles_of(tenant).items()
    }
    ours = {name: found for name, found in _roles(access).items() if name.startswith("tenant:")}
    assert ours == wanted
    assert access.sync() == {"made": [], "changed": [], "removed": []}
    file = access.state.home / "tenants" / f"{OTHER}.yaml"
    good = file.read_text()
    file.write_text("id: [")
    assert access.sync() == {"made": [], "changed": [], "removed": []}
    file.unlink()
    gone = [f"tenant:{OTHER}:operator", f"tenant:{OTHER}:reader"]
    assert access.sync() == {"made": [], "changed": [], "removed": gone}
    assert {name for name in _roles(access) if name.startswith("tenant:")} == {
        f"tenant:{OWN}:operator",
        f"tenant:{OWN}:reader",
    }
    file.write_text(good)
    assert access.sync() == {"made": sorted(gone), "changed": [], "removed": []}
    fresh = access.log_in("other")  # the tenant is there again, and its old people are strangers
    assert access.ask(fresh, f"/api/v2/dags/{OTHER}.pipeline").status_code == 403
    assert json.loads(access.ask(fresh, "/ui/auth/menus").text)["authorized_menu_items"] == []
