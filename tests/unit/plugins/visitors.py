"""An Airflow with a given list of who may read which DAG, and the plugin mounted in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Airflow writes a configuration into its home as soon as it is imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="tenantry-plugins-"))

import pytest
from airflow.api_fastapi.app import _AuthManagerState
from airflow.models.dag import DagModel
from jwt import InvalidTokenError
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
ADMIN, ANALYST, NOBODY = "admin", "analyst", "nobody"


class Visitors:
    """The part of Airflow's auth manager that pages ask; a user's token is their name."""

    def __init__(self, readable: Mapping[str, set[str]]) -> None:
        self.readable = readable

    async def get_user_from_token(self, token: str) -> str:
        """The user, if there is one of this name."""
        if token not in self.readable:
            raise InvalidTokenError
        return token

    def is_authorized_dag(self, *, method: str, details: Any, user: str, **_: object) -> bool:
        """Whether a DAG is on the user's list."""
        return method == "GET" and details.id in self.readable[user]

    def get_authorized_dag_ids(self, *, user: str) -> set[str]:
        """The user's list."""
        return self.readable[user]


def open_pages(monkeypatch: pytest.MonkeyPatch, readable: Mapping[str, set[str]]) -> TestClient:
    """A client of the plugin's application at the place where the plugin asks to be mounted."""
    monkeypatch.syspath_prepend(str(PLUGINS))  # as Airflow does
    monkeypatch.setattr(_AuthManagerState, "instance", Visitors({**readable, NOBODY: set()}))
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id: None)
    from tenantry_reports import TenantryReports

    (mounted,) = TenantryReports.fastapi_apps
    outer = Starlette(routes=[Mount(mounted["url_prefix"], mounted["app"])])
    return TestClient(outer, follow_redirects=False)


def as_user(name: str) -> dict[str, str]:
    """The header that logs a user in."""
    return {"Authorization": f"Bearer {name}"}
