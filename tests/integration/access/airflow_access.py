"""One API server with FAB, over two tenants that both have a past, and people who log in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compose_services
import generated
import httpx
import psycopg
from compose_services import SERVICES, Filled

from include.runtime import postgres, processes
from include.runtime.airflow_api import AirflowApi
from include.runtime.state import PROJECT, State, prepare
from include.tenants.namespace import DAG_KINDS, dag_id

#: The other's id begins with the own one: no role may match by beginning.
OWN, OTHER, ABSENT = "store-1", "store-10", "store-2"
RUN = "manual__1"
TASK = "quality"
#: Stands in everything that is the other tenant's: a run's conf and note, an XCom, a log.
CANARY = f"canary-of-{OTHER}"
PASSWORD = "a password of a test"
#: user name -> roles
PEOPLE = {
    "reader": [f"tenant:{OWN}:reader"],
    "operator": [f"tenant:{OWN}:operator"],
    "other": [f"tenant:{OTHER}:operator"],
    "both": [f"tenant:{OWN}:operator", f"tenant:{OTHER}:reader"],
    "nobody": ["Public"],
}
_USERS = """
import json, sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

people, password = json.loads(sys.argv[1]), sys.argv[2]
with get_application_builder() as builder:
    security = builder.sm
    for name, roles in people.items():
        found = [security.find_role(role) for role in roles]
        assert None not in found, roles
        assert security.add_user(name, name, "", f"{name}@localhost", found, password)
"""


@dataclass(frozen=True)
class Access:
    """The API server, seen from outside."""

    state: State
    environment: dict[str, str]  #: of the init job
    url: str
    admin: AirflowApi
    login: tuple[str, str]  #: the administrator's
    tokens: dict[str, str]

    def ask(
        self, user: str, path: str, method: str = "GET", body: Any = None, /, **query: Any
    ) -> httpx.Response:
        """One request with a person's token."""
        return httpx.request(
            method,
            self.url + path,
            headers={"Authorization": f"Bearer {self.tokens[user]}"} if user else {},
            params=query or None,
            json=body,
            timeout=120,
            trust_env=False,
        )

    def ask_admin(self, path: str) -> dict[str, Any]:
        """What the administrator is told."""
        self.tokens["admin"] = self.tokens.get("admin") or _token(self.url, *self.login)
        answer = self.ask("admin", path)
        answer.raise_for_status()
        return dict(answer.json())

    def log_in(self, user: str) -> str:
        """Log in anew; the name to ask with."""
        self.tokens[f"{user} again"] = _token(self.url, user, PASSWORD)
        return f"{user} again"

    def sync(self) -> dict[str, list[str]]:
        """`tenantry roles sync`, and what it did."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tenantry"), "roles", "sync", "--json"],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@contextmanager
def serving() -> Iterator[Access]:
    """Postgres, the init job and compose's api-server; no scheduler, so that nothing moves."""
    state = prepare(State(Path(tempfile.mkdtemp(prefix="tenantry-access-"))))
    tenants = state.home / "tenants"
    for name in (OWN, OTHER):
        generated.write(generated.Shop(name, customers=5), state.home / "data", tenants)
    (port,) = compose_services.free_ports(1)
    filled = Filled()
    records: list[processes.Record] = []
    try:
        server = postgres.start(state)
        init = filled.environment("init", state, server, port, {})
        compose_services.write_local_settings(state)
        compose_services.run_to_the_end(state, "init", SERVICES["init"]["command"], init)
        airflow = str(Path(sys.executable).parent / "airflow")
        reserialize = [airflow, "dags", "reserialize"]
        parsing = filled.environment("dag-processor", state, server, port, {})
        compose_services.run_to_the_end(state, "reserialize", reserialize, parsing)
        people = [sys.executable, "-c", _USERS, json.dumps(PEOPLE), PASSWORD]
        compose_services.run_to_the_end(state, "people", people, init)
        serve = filled.environment("api-server", state, server, port, {})
        process = compose_services.spawn(
            state, "api-server", SERVICES["api-server"]["command"], serve
        )
        records.append(processes.remember(state.run, "api-server", process.pid))
        url = f"http://127.0.0.1:{port}"
        compose_services.wait_for(url)
        login = (init["TENANTRY_ADMIN_USER"], init["TENANTRY_ADMIN_PASSWORD"])
        admin = AirflowApi(url, *login)
        _give_a_past(admin, state)
        with psycopg.connect(server.dsn("airflow")) as connection:  # as if they had run
            connection.execute("UPDATE task_instance SET try_number = 1")
        tokens = {name: _token(url, name, PASSWORD) for name in PEOPLE}
        yield Access(state, init, url, admin, login, tokens)
    finally:
        processes.end(records, 10)
        postgres.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)


def _token(url: str, user: str, password: str) -> str:
    login = {"username": user, "password": password}
    answer = httpx.post(f"{url}/auth/token", json=login, timeout=60, trust_env=False)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def _give_a_past(admin: AirflowApi, state: State) -> None:
    """Runs, notes, XComs, logs, backfills, variables and connections of both tenants."""
    for tenant in (OWN, OTHER):
        told = f"canary-of-{tenant}"
        for kind in DAG_KINDS:
            dag = dag_id(tenant, kind)
            body = {"dag_run_id": RUN, "logical_date": None, "note": told}
            if kind == "pipeline":
                body |= {"logical_date": "2024-06-03T00:00:00Z"}
            if kind == "retrain":
                body |= {"conf": {"use_case": "churn", "reason": told}}
            admin.call("POST", f"/dags/{dag}/dagRuns", json=body)
        run = f"/dags/{dag_id(tenant, 'pipeline')}/dagRuns/{RUN}"
        instance = f"{run}/taskInstances/{TASK}"
        admin.call("PATCH", instance, json={"new_state": "success", "note": told})
        entry = {"key": "return_value", "value": told, "map_index": -1}
        admin.call("POST", f"{instance}/xcomEntries", json=entry)
        log = state.logs / "tasks" / f"dag_id={dag_id(tenant, 'pipeline')}" / f"run_id={RUN}"
        file = log / f"task_id={TASK}" / "attempt=1.log"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"event": told, "timestamp": "2024-06-03T00:00:00Z"}) + "\n")
        backfill = {
            "dag_id": dag_id(tenant, "pipeline"),
            "from_date": "2024-06-10T00:00:00Z",
            "to_date": "2024-06-10T00:00:00Z",
            "dag_run_conf": {"use_cases": []},
        }
        admin.call("POST", "/backfills", json=backfill)
        admin.call("POST", "/variables", json={"key": told, "value": told})
        connection = {"connection_id": told, "conn_type": "postgres", "description": told}
        admin.call("POST", "/connections", json=connection)
        admin.call("POST", "/pools", json={"name": told, "slots": 1, "description": told})
