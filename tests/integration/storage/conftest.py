"""A migrated platform in the embedded Postgres: pooled tenants and one silo."""

from __future__ import annotations

import pytest

from include.runtime.postgres import Postgres
from include.storage.migrate import migrate
from include.tenants.namespace import TenantRef

A = TenantRef("tenant-a", "eu", "pool")
B = TenantRef("tenant-b", "eu", "pool")
SILO = TenantRef("tenant-silo", "us", "silo")


@pytest.fixture
def platform(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """The embedded server with both DSNs set, the pool and the silo migrated."""
    monkeypatch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("tenantry"))
    monkeypatch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
    migrate()
    migrate(SILO)
    return postgres


@pytest.fixture
def pool_tenants() -> tuple[TenantRef, TenantRef]:
    """Two tenants that share tables."""
    return A, B


@pytest.fixture
def silo_tenant() -> TenantRef:
    """A tenant with a database of its own."""
    return SILO
