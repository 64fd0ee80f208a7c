"""The one place where a tenant becomes a schema, path, key, MLflow name or DAG id.

Everything here is built from identifiers that matched `TENANT_ID`, `REGION` or `NAME`; nothing else
ever reaches a path or an SQL identifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from include.errors import ConfigError

TENANT_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,40}")
REGION: Final = TENANT_ID
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  #: sources, use cases, lake tables

#: Names that stand for the platform itself and can therefore never be a tenant's.
RESERVED: Final = frozenset({"global", "platform", "default"})
#: What the ids of the regions' own owners of global models begin with, and no tenant's does.
REGIONAL: Final = "global-"
#: Ids of tenants, and of those owners, which are longer.
OWNER_ID: Final = re.compile(rf"{TENANT_ID.pattern}|{REGIONAL}{REGION.pattern}")

#: Names that MLflow keeps from being a workspace.
MLFLOW_RESERVED: Final = frozenset({"workspaces", "api", "ajax-api", "static-files"})

POOL_DATABASE: Final = "tenantry"
DAG_KINDS: Final = ("pipeline", "retrain", "drift_watch")


@dataclass(frozen=True)
class TenantRef:
    """Who a row, file or model belongs to, and where that tenant's data lives."""

    id: str
    region: str
    isolation: str  #: `pool` shares tables, `silo` has its own database

    def __post_init__(self) -> None:
        regional = self.id.startswith(REGIONAL)
        if not regional and not TENANT_ID.fullmatch(self.id):
            raise ConfigError(f"tenant id {self.id[:60]!r} must match {TENANT_ID.pattern}")
        if regional and (self.id, self.isolation) != (f"{REGIONAL}{self.region}", "pool"):
            raise ConfigError(
                f"id {self.id[:60]!r} is reserved for the global models of a region; "
                f"no tenant's begins with {REGIONAL!r}"
            )
        if not REGION.fullmatch(self.region):
            raise ConfigError(f"region {self.region[:60]!r} must match {REGION.pattern}")
        if self.isolation not in ("pool", "silo"):
            raise ConfigError(f"isolation {self.isolation[:60]!r} must be 'pool' or 'silo'")


#: Owner of the global models of the tenants that let their data be pooled across regions.
GLOBAL: Final = TenantRef("global", "global", "pool")


@cache
def global_owner(region: str) -> TenantRef:
    """Owner of a region's global models: what it has lies in the region, and nobody else's."""
    return TenantRef(f"{REGIONAL}{region}", region, "pool")


def is_global(owner_id: str) -> bool:
    """Whether the id stands for an owner of global models, all regions' or one's."""
    return owner_id == GLOBAL.id or owner_id.startswith(REGIONAL)


def global_ref(owner_id: str) -> TenantRef:
    """The owner of global models of that id."""
    if not is_global(owner_id):
        raise ConfigError(f"{owner_id[:60]!r} owns no global models; {GLOBAL.id!r} does")
    return GLOBAL if owner_id == GLOBAL.id else global_owner(owner_id.removeprefix(REGIONAL))


def database(tenant: TenantRef) -> str:
    """Name of the Postgres database that holds the tenant's rows."""
    if tenant.isolation == "pool":
        return POOL_DATABASE
    return f"{POOL_DATABASE}_silo_{tenant.id.replace('-', '_')}"


def lake_prefix(tenant: TenantRef) -> str:
    """Folder of everything the tenant has in the lake, relative to the lake's root."""
    return f"{tenant.region}/{tenant.id}"


def lake_table(tenant: TenantRef, table: str) -> str:
    """Folder of one Delta table, relative to the lake's root."""
    return f"{lake_prefix(tenant)}/{_name('table', table)}"


def workspace(tenant: TenantRef) -> str:
    """MLflow workspace that holds the tenant's runs, versions, aliases and artifacts.

    The tenant's id, except where MLflow refuses it; no tenant id starts with a digit, so the
    replacement is nobody else's.
    """
    refused = tenant.id.endswith("-") or tenant.id in MLFLOW_RESERVED
    return f"0{tenant.id}0" if refused else tenant.id


def model_name(use_case: str) -> str:
    """Registered model within the tenant's workspace."""
    return _name("use case", use_case)


def dag_id(tenant_id: str, kind: str) -> str:
    """`{tenant}.{kind}`; a tenant id holds no dot, so the two parts can always be told apart."""
    if kind not in DAG_KINDS:
        raise ConfigError(f"unknown DAG kind {kind!r}; known: {', '.join(DAG_KINDS)}")
    if not TENANT_ID.fullmatch(tenant_id):
        raise ConfigError(f"tenant id {tenant_id[:60]!r} must match {TENANT_ID.pattern}")
    return f"{tenant_id}.{kind}"


def global_dag_id(use_case: str) -> str:
    """DAG that trains the global model of a use case."""
    return f"{GLOBAL.id}.{_name('use case', use_case)}"


#: DAG that forgets what the tenants' retention says is too old.
RETENTION_DAG: Final = "platform.retention"
#: DAG that carries withdrawn consent to whatever serves.
CONSENT_DAG: Final = "platform.consent"


def split_dag_id(value: str) -> tuple[str, str]:
    """Tenant id (or `global`) and kind (or use case) of a DAG id; empty for a stranger's."""
    head, dot, tail = value.partition(".")
    return (head, tail) if dot else ("", "")


def _name(kind: str, value: str) -> str:
    if not NAME.fullmatch(value):
        raise ConfigError(f"{kind} {value[:60]!r} must match {NAME.pattern}")
    return value
