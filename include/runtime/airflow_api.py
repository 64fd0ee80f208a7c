"""The few calls Tenantry makes to Airflow's own REST API, as the admin of the embedded Airflow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from include.errors import TenantryError, UnavailableError

OVER: Final = frozenset({"success", "failed"})
_BACKFILL_CLOSES: Final = 120  #: seconds; the scheduler looks every thirty


class AirflowApi:
    """A logged-in client.

    Args:
        url: address of the api-server, without a path.
        user: login name.
        password: its password; only ever sent to `url`.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """One request below `/api/v2`; logs in when needed and waits out a restart.

        Raises:
            UnavailableError: no answer within a minute.
            TenantryError: Airflow refused; the message is Airflow's.
        """
        for attempt in range(30):
            try:
                if "Authorization" not in self._client.headers:
                    self._authenticate()
                answer = self._client.request(method, f"/api/v2{path}", **arguments)
            except httpx.TransportError:
                time.sleep(2)
                continue
            if answer.status_code == 401 and attempt == 0:
                self._client.headers.pop("Authorization", None)
                continue
            if answer.status_code >= 500:
                time.sleep(2)
                continue
            if answer.is_error:
                raise TenantryError(
                    f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
                )
            return dict(answer.json()) if answer.content else {}
        raise UnavailableError(f"Airflow at {self.url} does not answer; see `tenantry logs`")

    def dag_ids(self) -> set[str]:
        """Ids of all DAGs Airflow has read so far."""
        return {dag["dag_id"] for dag in self._pages("/dags", "dags")}

    def trigger(
        self,
        dag_id: str,
        run_id: str,
        conf: dict[str, Any],
        logical_date: datetime | None = None,
    ) -> None:
        """Start a run, unless one with this id exists already."""
        body = {
            "dag_run_id": run_id,
            "logical_date": logical_date.isoformat() if logical_date else None,
            "conf": conf,
        }
        try:
            self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
        except TenantryError as error:
            if "answered 409" not in str(error):
                raise

    def backfill(
        self, dag_id: str, start: datetime, end: datetime, conf: dict[str, object]
    ) -> None:
        """Start a backfill of the logical dates `[start, end]`, oldest first, one at a time.

        Runs that exist already are left as they are. Airflow has one backfill of a DAG at a time,
        and its scheduler closes one only some time after its last run.
        """
        for _ in range(_BACKFILL_CLOSES):
            there = self.call("GET", "/backfills", params={"dag_id": dag_id})["backfills"]
            if all(backfill["completed_at"] for backfill in there):
                break
            time.sleep(1)
        body = {
            "dag_id": dag_id,
            "from_date": start.isoformat(),
            "to_date": end.isoformat(),
            "run_backwards": False,
            "dag_run_conf": conf,
            "max_active_runs": 1,
            "reprocess_behavior": "none",
        }
        self.call("POST", "/backfills", json=body)

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """Runs of one DAG, or of all."""
        return list(self._pages(f"/dags/{quote(dag_id, safe='~')}/dagRuns", "dag_runs"))

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """Ids of the failed task instances of a run."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        return [
            task["task_id"]
            for task in self._pages(path, "task_instances")
            if task["state"] == "failed"
        ]

    def _pages(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.call("GET", path, params={"limit": 100, "offset": offset})
            yield from page[key]
            offset += len(page[key])
            if not page[key] or offset >= page["total_entries"]:
                return

    def _authenticate(self) -> None:
        answer = self._client.post("/auth/token", json=self._login)
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
