"""The client of Airflow's REST API, against answers as Airflow gives them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx
import pytest

from include.runtime.airflow_api import AirflowApi

WEEK = datetime(2017, 10, 16, tzinfo=UTC)


def test_a_backfill_waits_until_the_one_before_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow refuses a second backfill of a DAG until its scheduler has closed the first."""
    asked: list[str] = []

    def airflow(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if request.method == "GET":
            closed = None if len(asked) < 3 else "2026-01-01T00:00:00Z"
            return httpx.Response(200, json={"backfills": [{"completed_at": closed}]})
        return httpx.Response(200 if len(asked) > 3 else 409, json={"detail": "already running"})

    monkeypatch.setattr(time, "sleep", lambda _: None)
    api = AirflowApi("http://airflow", "admin", "secret")
    api._client = httpx.Client(
        base_url="http://airflow",
        transport=httpx.MockTransport(airflow),
        headers={"Authorization": "Bearer token"},
    )
    api.backfill("acme.pipeline", WEEK, WEEK, {})
    assert asked == ["GET", "GET", "GET", "POST"]
