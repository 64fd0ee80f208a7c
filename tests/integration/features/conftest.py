"""A migrated database for whatever keeps features in Postgres."""

from __future__ import annotations

import pytest

from include.runtime.postgres import Postgres
from include.storage.migrate import migrate


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """The embedded server with both DSNs set and the pool migrated."""
    monkeypatch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("tenantry"))
    monkeypatch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
    migrate()
    return postgres
