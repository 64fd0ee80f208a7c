"""The plugin's pages, as Airflow serves them, and people who visit them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.fleet import tenant_id, write_fleet
from tests.unit.plugins.visitors import ADMIN, ANALYST, open_pages

OWN, OTHER = tenant_id(1), tenant_id(2)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a lake, in which two tenants have a report each, and own what is there."""
    monkeypatch.setattr("include.storage.ownership.check", lambda tenant: None)  # no Postgres here
    monkeypatch.setattr("include.storage.ownership.admitted", list)
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("TENANTRY_TENANTS", str(write_fleet(tmp_path / "tenants", 3)))
    for home in (f"us/{OWN}", f"eu/{OTHER}"):
        reports = tmp_path / "lake" / home / "reports"
        reports.mkdir(parents=True)
        (reports / "page.html").write_text(f"<script>draw()</script>{home}", encoding="utf-8")
        (reports / "numbers.json").write_text("{}", encoding="utf-8")
    return tmp_path / "lake"


@pytest.fixture
def pages(lake: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A browser in front of an Airflow with an admin, and an analyst of one tenant."""
    every = {f"{tenant_id(n)}.{kind}" for n in range(3) for kind in ("pipeline", "retrain")}
    return open_pages(
        monkeypatch,
        {
            ADMIN: every | {"global.churn", "nobody.pipeline"},
            ANALYST: {f"{OWN}.pipeline", f"{OWN}.retrain"},
        },
    )
