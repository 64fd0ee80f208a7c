"""Fixtures shared by every folder of tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from include.runtime import postgres as embedded
from include.runtime.state import State
from include.storage.migrate import migrate
from tests.promises import Promises

# No test says anything about time, and a busy machine is no failure.
settings.register_profile("tenantry", deadline=None)
settings.load_profile("tenantry")


def pytest_configure(config: pytest.Config) -> None:
    """See to it that what `docs/security.md` names as its tests is there and runs."""
    config.pluginmanager.register(Promises(), "promises")


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.Postgres]:
    """A running embedded Postgres of this test process's own, gone when the session ends.

    Not below `tmp_path_factory`: pytest closes that folder to other users, and as root the server
    runs as one.
    """
    state = State(Path(tempfile.mkdtemp(prefix="tenantry-test-")))
    try:
        yield embedded.start(state)
    finally:
        embedded.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)


@pytest.fixture(scope="session")
def database(postgres: embedded.Postgres) -> Iterator[None]:
    """The migrated pool database, named by the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("postgres"))
        patch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
        migrate()
        yield
