"""A migrated database and an empty lake."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.storage.migrate import migrate


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Iterator[Postgres]:
    """Tenantry's database, migrated, in the environment as the runtime puts it there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("tenantry"))
        patch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
        migrate()
        yield postgres


@pytest.fixture
def lake() -> Iterator[Lake]:
    """An empty lake."""
    root = Path(tempfile.mkdtemp(prefix="tenantry-lake-"))
    yield Lake(root)
    shutil.rmtree(root)
