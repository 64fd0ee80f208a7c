"""What Airflow keeps of runs: logs on disk; DAG runs, task instances and XCom by its API.

Tasks cannot reach Airflow's database, so its own API deletes, as the user that the settings name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from include.errors import ConfigError, TenantryError, UnavailableError
from include.tenants.namespace import DAG_KINDS, dag_id

DAYS: Final = "TENANTRY_RUN_RETENTION_DAYS"
_DEFAULT_DAYS: Final = 90
_OVER: Final = ("success", "failed")
_MOST_RUNS: Final = 5_000  #: deleted in a night, each by a request
_LOGS: Final = "AIRFLOW__LOGGING__BASE_LOG_FOLDER"
#: Where Airflow logs the parsing of DAG files, a folder a day.
_PARSING_LOGS: Final = "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY"


def kept() -> timedelta:
    """How long runs and their logs are kept: a setting of the operator's."""
    text = os.environ.get(DAYS) or str(_DEFAULT_DAYS)
    if not text.isdigit() or not 1 <= int(text) <= 36_500:
        raise ConfigError(f"{DAYS} {text[:40]!r} must be a number of days from 1 to 36500")
    return timedelta(days=int(text))


# logs


def log_folders(tenant_id: str | None = None) -> list[Path]:
    """Folders of the tasks' logs, one per DAG: of one tenant, or of all DAGs."""
    root = os.environ.get(_LOGS)
    if not root:
        return []
    if tenant_id is None:
        return sorted(Path(root).glob("dag_id=*"))
    folders = (Path(root) / f"dag_id={dag_id(tenant_id, kind)}" for kind in DAG_KINDS)
    return [folder for folder in folders if folder.is_dir()]


def expire_logs(before: datetime) -> int:
    """Delete logs of tasks and of parsing that nobody has written to since; returns how many.

    Goes by when a file was written, as a run's name may be about a past that it played again.
    """
    gone = 0
    parsing = os.environ.get(_PARSING_LOGS)
    for folder in (*log_folders(), *(Path(parsing).glob("????-??-??") if parsing else ())):
        for path in sorted(folder.rglob("*"), reverse=True):  # files before their folder
            try:
                if path.is_dir() and not path.is_symlink():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif path.lstat().st_mtime < before.timestamp():
                    path.unlink()
                    gone += 1
            except (FileNotFoundError, OSError):  # a task writes there again
                continue
    return gone


def erase_logs(tenant_id: str) -> int:
    """Delete all logs of the tenant's DAGs; returns how many files there were."""
    files = 0
    for folder in log_folders(tenant_id):
        files += sum(path.is_file() for path in folder.rglob("*"))
        shutil.rmtree(folder)
    return files


# runs, task instances, XCom


@dataclass(frozen=True)
class AirflowRuns:
    """Airflow's API, logged in."""

    client: httpx.Client

    @classmethod
    def from_environment(cls) -> AirflowRuns | None:
        """As the user of TENANTRY_AIRFLOW_USER, else as the embedded installation's admin.

        None where this process is told of no Airflow.

        Raises:
            UnavailableError: it does not answer, or does not let the user in.
        """
        # Where tasks reach it; its public address need not lead there from within.
        url = os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "").rstrip("/")
        url = url.removesuffix("/execution")
        login = _login()
        if not url or login is None:
            return None
        client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        try:
            answer = client.post("/auth/token", json=login)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            client.close()
            raise UnavailableError(
                f"Airflow at {url} does not let {login['username']!r} in ({type(error).__name__}); "
                "is it up (`make up`), and are TENANTRY_AIRFLOW_USER and "
                "TENANTRY_AIRFLOW_PASSWORD_FILE right?"
            ) from None
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return cls(client)

    def expire(self, before: datetime) -> int:
        """Delete runs that ended before, with their XCom; each DAG's newest stays. How many.

        At most some thousands at a time, the oldest first: what is left goes the next night. Where
        the component `housekeeping` is there, it has been faster.
        """
        ended = {"end_date_lt": before.isoformat(), "order_by": "end_date"}
        newest: dict[str, str | None] = {}
        gone = 0
        for run in list(islice(self._pages("/dags/~/dagRuns", "dag_runs", ended), _MOST_RUNS)):
            dag = run["dag_id"]
            if dag not in newest:
                newest[dag] = self._newest_run(dag)
            if run["state"] in _OVER and run["dag_run_id"] != newest[dag]:
                self._delete_run(run)
                gone += 1
        return gone

    def count(self, tenant_id: str) -> int:
        """How many runs of the tenant's DAGs there are."""
        return sum(1 for _ in self._of(tenant_id))

    def erase(self, tenant_id: str) -> int:
        """Delete the tenant's DAGs with all that Airflow keeps of them; returns how many runs.

        Raises:
            TenantryError: a task of theirs still runs.
        """
        runs = list(self._of(tenant_id))
        for run in runs:
            if run["state"] not in _OVER:  # a sensor that waits, as a rule
                path = f"/dags/{quote(run['dag_id'])}/dagRuns/{quote(run['dag_run_id'], safe='')}"
                self._call("PATCH", path, missing=True, json={"state": "failed"})
            self._delete_run(run)
        for kind in DAG_KINDS:
            self._call("DELETE", f"/dags/{dag_id(tenant_id, kind)}", missing=True)
        return len(runs)

    def _newest_run(self, dag: str) -> str | None:
        asked = {"limit": 1, "order_by": "-run_after"}
        runs = self._call("GET", f"/dags/{quote(dag)}/dagRuns", params=asked)["dag_runs"]
        return runs[0]["dag_run_id"] if runs else None

    def _of(self, tenant_id: str) -> Iterator[dict[str, Any]]:
        for kind in DAG_KINDS:
            yield from self._pages(f"/dags/{dag_id(tenant_id, kind)}/dagRuns", "dag_runs", {})

    def _delete_run(self, run: dict[str, Any]) -> None:
        path = f"/dags/{quote(run['dag_id'])}/dagRuns/{quote(run['dag_run_id'], safe='')}"
        self._call("DELETE", path, missing=True)

    def _pages(self, path: str, key: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            given = {"limit": 100, "offset": offset, **query}
            page = self._call("GET", path, missing=True, params=given)
            yield from page.get(key, [])
            offset += len(page.get(key, []))
            if not page.get(key) or offset >= page["total_entries"]:
                return

    def _call(
        self, method: str, path: str, *, missing: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        try:
            answer = self.client.request(method, f"/api/v2{path}", **arguments)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"Airflow at {self.client.base_url} does not answer ({type(error).__name__})"
            ) from None
        if answer.status_code == 404 and missing:
            return {}
        if answer.is_error:
            raise TenantryError(
                f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:300]}"
            )
        return dict(answer.json()) if answer.content else {}


def _login() -> dict[str, str] | None:
    user = os.environ.get("TENANTRY_AIRFLOW_USER")
    try:
        if user:
            file = Path(os.environ.get("TENANTRY_AIRFLOW_PASSWORD_FILE", ""))
            return {"username": user, "password": file.read_text(encoding="utf-8").strip()}
        embedded = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
        if not embedded:
            return None
        name, password = next(iter(json.loads(Path(embedded).read_text()).items()))
        return {"username": name, "password": password}
    except (OSError, ValueError, StopIteration):
        return None
