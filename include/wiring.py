"""The only module that picks adapters: which lake, which registry, which stores of rows.

An adapter is imported when it is asked for: most commands need none of the heavy ones.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from include.errors import ConfigError, SourceError
from include.ingestion.watch import reason_of
from include.registry.mlflow_records import MlflowRecords
from include.registry.port import ModelRecords, Registry
from include.storage.lake_files import LakeFiles
from include.stores import Stores
from include.stores.postgres import in_postgres
from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    from include.storage.lake import Lake

#: Seconds a source's database has to take a login, where its connection says nothing else.
CONNECT_SECONDS = 30

#: Opens a tenant's own source database, by connection id.
Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]


@dataclass(frozen=True)
class Platform:
    """Everything a stage needs besides the tenant and the handoffs before it."""

    lake: Lake
    registry: Registry
    stores: Stores
    connect: Connect
    #: What the keys of tenants that hash PII columns are derived from; None where nobody gave one.
    pii_secret: str | None = field(default=None, repr=False)


def platform(connect: Connect) -> Platform:
    """The platform this process's environment describes."""
    from include.ingestion.personal import VARIABLE as PII_KEY
    from include.registry.mlflow_registry import MlflowRegistry

    tables = lake()
    return Platform(
        lake=tables,
        registry=MlflowRegistry(_tracking_uri(), tables.root),
        stores=stores(),
        connect=connect,
        pii_secret=os.environ.get(PII_KEY) or None,
    )


def lake() -> Lake:
    """The lake at `$TENANTRY_LAKE`."""
    from include.storage.lake import Lake

    return Lake.from_environment()


def lake_files() -> LakeFiles:
    """The same lake without its tables, which are what takes long to import."""
    return LakeFiles.from_environment()


def model_records() -> ModelRecords:
    """What the registry has recorded of versions, without the registry itself."""
    return MlflowRecords(_tracking_uri(), lake_files())


def _tracking_uri() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ConfigError("MLFLOW_TRACKING_URI is not set; `make up` sets it for the embedded one")
    return uri


def stores() -> Stores:
    """The rows that this process's environment leads to, without a lake or a registry."""
    return in_postgres()


def provision(tenant: TenantRef) -> None:
    """Make the tenant's database where it has its own; what exists stays as it is."""
    if tenant.isolation == "silo":
        from include.storage.migrate import migrate

        migrate(tenant)


def connect_from_environment(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """A source connection without Airflow: `AIRFLOW_CONN_{ID}`, a URL or JSON as for Airflow.

    Raises:
        SourceError: there is none, or it is neither.
    """
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    dsn = os.environ.get(variable)
    if not dsn:
        raise SourceError(f"connection {connection_id!r}: set {variable} to its postgresql:// URL")
    if not dsn.startswith("{"):
        return _opened(connection_id, dsn)
    try:
        told = json.loads(dsn)
        extra = told.get("extra") or {}
        names = {"host": "host", "port": "port", "login": "user", "password": "password"}
        given = {ours: told.get(airflows) for airflows, ours in names.items()}
        given["dbname"] = told.get("schema")
        given |= json.loads(extra) if isinstance(extra, str) else extra
    except ValueError as error:
        raise SourceError(f"connection {connection_id!r}: {variable} is no JSON: {error}") from None
    return _opened(connection_id, "", **given)


def _opened(connection_id: str, dsn: str, **given: Any) -> psycopg.Connection[Any]:
    """A connection, given up where the server does not answer; its address stays out of errors."""
    if "connect_timeout" not in dsn:
        given = {"connect_timeout": CONNECT_SECONDS, **given}
    try:
        return psycopg.connect(dsn, **given)
    except psycopg.Error as error:
        raise SourceError(
            f"connection {connection_id!r} cannot be opened: {reason_of(error)}"
        ) from None


@cache
def code_revision() -> str:
    """The git commit of this checkout, or `unknown` outside one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("TENANTRY_REVISION", "unknown")
    return found.stdout.strip()
