"""The only module that picks adapters: which lake, which registry, which feature engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from include.errors import ConfigError, SourceError
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.port import Registry
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.tenants.namespace import TenantRef

#: Opens a tenant's own source database, by connection id.
Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]


@dataclass(frozen=True)
class Platform:
    """Everything a stage needs besides the tenant and the handoffs before it."""

    lake: Lake
    registry: Registry
    connect: Connect


def platform(connect: Connect) -> Platform:
    """The platform this process's environment describes."""
    lake = Lake.from_environment()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ConfigError("MLFLOW_TRACKING_URI is not set; `make up` sets it for the embedded one")
    return Platform(lake=lake, registry=MlflowRegistry(uri, lake.root), connect=connect)


def provision(tenant: TenantRef) -> None:
    """Make the tenant's database where it has its own; what exists stays as it is."""
    if tenant.isolation == "silo":
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
        return psycopg.connect(dsn)
    try:
        told = json.loads(dsn)
        extra = told.get("extra") or {}
        names = {"host": "host", "port": "port", "login": "user", "password": "password"}
        given = {ours: told.get(airflows) for airflows, ours in names.items()}
        given["dbname"] = told.get("schema")
        given |= json.loads(extra) if isinstance(extra, str) else extra
    except ValueError as error:
        raise SourceError(f"connection {connection_id!r}: {variable} is no JSON: {error}") from None
    return psycopg.connect(**given)


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
