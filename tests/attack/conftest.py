"""One platform under attack per test process; its environment holds during these tests only."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from include.runtime.postgres import Postgres
from tests.attack.world import World, planted
from tests.installation import installed


@pytest.fixture(scope="session")
def _platform() -> Iterator[tuple[World, dict[str, str]]]:
    before = dict(os.environ)
    with installed() as installation:
        _hasten(installation.server)
        with planted(installation) as world:
            environment = {**installation.environment, "MLFLOW_TRACKING_URI": world.tracking_uri}
            for name in environment:  # other tests of this process have a platform of their own
                del os.environ[name]
                os.environ.update({name: before[name]} if name in before else {})
            yield world, environment


@pytest.fixture
def world(
    _platform: tuple[World, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The platform; this process leads to it for a test, whatever a command does about that."""
    world, environment = _platform
    before = dict(os.environ)
    os.environ.update(environment)
    # nobody is killed here, and thousands of attempts write
    monkeypatch.setattr("os.fsync", lambda _: None)
    yield world
    for name in os.environ.keys() - before.keys():
        if name.startswith(("AIRFLOW__", "TENANTRY_")) or name in environment:
            del os.environ[name]
    os.environ.update(before)


def _hasten(server: Postgres) -> None:
    """Postgres need not survive a crash here, and nothing else may write in between."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "autovacuum = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")  # type: ignore[arg-type]
        connection.execute("SELECT pg_reload_conf()")
