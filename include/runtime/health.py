"""Whether the web servers and Airflow's heartbeats answer for the processes we started."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime

from include.runtime.ports import Ports

#: key in Airflow's health report, the component it speaks of, and the field of its last heartbeat
_HEARTBEATS = (
    ("scheduler", "scheduler", "latest_scheduler_heartbeat"),
    ("dag_processor", "dag-processor", "latest_dag_processor_heartbeat"),
    ("triggerer", "triggerer", "latest_triggerer_heartbeat"),
)
#: loopback addresses never go through a proxy
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def unhealthy(ports: Ports, since: datetime) -> tuple[str, ...]:
    """The components that have given no sign of health since that instant."""
    missing = [] if _get(f"{ports.mlflow_url}/health") is not None else ["mlflow"]
    body = _get(f"{ports.airflow_url}/api/v2/monitor/health")
    if body is None:
        return (*missing, "api-server", *(name for _, name, _ in _HEARTBEATS))
    report = json.loads(body)
    for key, name, heartbeat in _HEARTBEATS:
        part = report.get(key) or {}
        if part.get("status") != "healthy" or _instant(part.get(heartbeat)) < since:
            missing.append(name)
    return tuple(missing)


def _get(url: str) -> bytes | None:
    try:
        with _OPENER.open(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError):
        return None


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(text)
