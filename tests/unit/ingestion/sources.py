"""A state folder full of other people's secrets, and a tenant whose sources try to reach them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import IsolationError, SourceError, TenantryError
from include.ingestion.opening import Connect
from include.ingestion.trial import Trial, look_into
from include.tenants.config import TenantConfig

SECRETS = (
    "jwt-5cc0b7e1d2",
    "fernet-9a71c4f0aa",
    "hunter2-is-a-password",
    "ann.secret@birch.example",
    "neighbour-row-77120",
)
TENANT = "alder"
HEADER = "id,at,user,quantity,amount\n"
ROW = "1,2024-01-09,u,1,1\n"
EVENTS: dict[str, Any] = {
    "event": "Order Completed",
    "event_id": ["id"],
    "event_timestamp": "at",
    "user_id": "user",
}


@dataclass
class World:
    """An installation's folders; nothing runs in it."""

    home: Path
    patch: pytest.MonkeyPatch
    logged: list[str] = field(default_factory=list)

    @property
    def own(self) -> Path:
        """The tenant's own folder."""
        return self.home / "sources" / TENANT

    def grant(self, tenant: dict[str, Any] | None = None, **told: Any) -> None:
        """What the operator's list says: `default`, the tenant's own, `limits`."""
        document = told | ({"tenants": {TENANT: tenant}} if tenant is not None else {})
        self.patch.setenv("TENANTRY_SOURCES", json.dumps(document))

    def look(self, path: str | Path, kind: str = "csv", **mapping: Any) -> Trial:
        """What a source at a path begins with."""
        return self.read({"type": "file", "path": str(path), "format": kind}, **mapping)

    def read(
        self, connector: dict[str, Any], connect: Connect | None = None, **mapping: Any
    ) -> Trial:
        """What a source begins with."""
        tenant = TenantConfig.model_validate(
            {
                "id": TENANT,
                "name": "A shop",
                "region": "eu",
                "schedule": "0 0 * * 1",
                "history_from": "2024-01-01",
                "sources": [
                    {"name": "pos", "connector": connector, "events": {**EVENTS, **mapping}}
                ],
                "use_cases": {"churn": {}},
            }
        )
        return look_into(
            tenant, tenant.sources[0], forbidden=self.home / "lake", connect=connect or no_database
        )

    def refused(self, path: str | Path, kind: str = "csv", **mapping: Any) -> TenantryError:
        """The error that a path ends in, which tells nothing that was planted."""
        with pytest.raises((IsolationError, SourceError)) as caught:
            self.look(path, kind, **mapping)
        self.require_silence(caught.value)
        return caught.value

    def require_silence(self, error: BaseException) -> None:
        """Neither the error, nor its whole chain, nor a log has a secret in it."""
        told = "".join(traceback.format_exception(error)) + "".join(self.logged)
        told = told.replace("self.refused(", "").replace("world.refused(", "")
        shown = [line for line in told.splitlines() if not line.startswith("    ")]
        for secret in SECRETS:
            assert secret not in "\n".join(shown)


@contextmanager
def no_database(connection_id: str) -> Iterator[psycopg.Connection[Any]]:
    """No test here has a database."""
    raise AssertionError(f"connection {connection_id} was opened")
    yield


def make_world(home: Path, patch: pytest.MonkeyPatch) -> World:
    """The state folder of two tenants, `alder` and `birch`, and of the platform."""
    for name in ("TENANTRY_SOURCES", "TENANTRY_SPOOL", "AIRFLOW_HOME"):
        patch.delenv(name, raising=False)
    patch.setenv("TENANTRY_HOME", str(home))
    patch.setenv("TENANTRY_LAKE", str(home / "lake"))
    patch.setenv("TENANTRY_TENANTS", str(home / "tenants"))
    secret = HEADER + f"1,2024-01-09,{SECRETS[4]},1,1\n"
    for path, content in {
        "sources/alder/sales.csv": HEADER + ROW,
        "sources/birch/sales.csv": secret,
        "demo/birch/sales.csv": secret,
        "tenants/birch.yaml": f"path: ftp://birch:{SECRETS[2]}@host/x.csv\n",
        "tenants/data/birch/sales.csv": secret,
        "lake/eu/birch/landing_events/sales.csv": secret,
        "secrets/secrets.json": json.dumps({"jwt": SECRETS[0], "fernet": SECRETS[1]}),
        "secrets/sales.csv": secret,
        "postgres/sales.csv": secret,
        "airflow/sales.csv": secret,
        "mlflow/sales.csv": secret,
        "logs/sales.csv": secret,
        "run/sales.csv": secret,
        "spool/birch/sales.csv": secret,
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(content)
    at = pa.array([datetime(2024, 1, 9, tzinfo=UTC)])
    table = pa.table({"id": ["1"], "at": at, "user": [SECRETS[4]]})
    pq.write_table(table, home / "lake/eu/birch/landing_events/part.parquet")
    (home / "secrets").chmod(0o700)
    return World(home, patch)


class Listener(logging.Handler):
    """Hears every log of every library."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record as it would be written, tracebacks and all."""
        self._heard.append(self.format(record) + "\n")
