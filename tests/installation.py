"""Postgres, MLflow's database, a lake and tenants of a test's own; its state can be put back."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import end_state
import generated
import psycopg
from psycopg import sql

from include import use_cases
from include.runtime import postgres
from include.runtime.state import PROJECT, State
from include.storage.migrate import migrate
from include.tenants.loader import load_fleet

#: A commit made while a test runs must not be taken for a difference between two trainings.
FIXED_REVISION = {"GIT_DIR": os.devnull, "TENANTRY_REVISION": "tested"}

_OURS = ("TENANTRY_", "AIRFLOW__")


@dataclass(frozen=True)
class Installation:
    """What a pipeline needs besides Airflow."""

    state: State
    server: postgres.Postgres

    @property
    def tenants(self) -> Path:
        """Folder of the tenant files."""
        return self.state.home / "tenants"

    @property
    def data(self) -> Path:
        """Folder of the folders that the shops' files lie in."""
        return self.state.home / "data"

    @property
    def roots(self) -> list[str]:
        """Folders that a tenant's files lie in: a shop's, and those of a simulated tenant."""
        return [f"{folder}/{{tenant}}" for folder in (self.data, self.tenants / "data")]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a process here."""
        return {
            "TENANTRY_ADMIN_DATABASE_URL": self.server.dsn("tenantry"),
            "TENANTRY_DATABASE_URL": self.server.dsn("tenantry", "tenantry_app"),
            "MLFLOW_TRACKING_URI": self.server.sqlalchemy_url("mlflow", "mlflow"),
            "TENANTRY_LAKE": str(self.state.lake),
            "TENANTRY_TENANTS": str(self.tenants),
            "TENANTRY_SOURCES": json.dumps({"default": {"roots": self.roots}}),
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "true",
            "GX_ANALYTICS_ENABLED": "false",
            **FIXED_REVISION,
        }

    def open(self, *shops: generated.Shop) -> None:
        """Write the shops' data and tenant files, or write them anew, and make their databases."""
        for shop in shops:
            generated.write(shop, self.data, self.tenants)
        for tenant in load_fleet(self.tenants, use_cases.names()).tenants.values():
            migrate(tenant.ref)

    def end_state(self) -> dict[str, object]:
        """Everything that runs have left behind."""
        return end_state.end_state(self.server, self.state.lake)

    def save(self, name: str) -> None:
        """Keep databases and lake as they are now."""
        for database in self._databases():
            self._copy(database, f"saved_{name}_{database}")
        target = self.state.home / "saved" / name
        shutil.rmtree(target, ignore_errors=True)
        self.state.lake.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.state.lake, target)

    def restore(self, name: str) -> None:
        """Put back what `save` kept."""
        for database in self._databases():
            self._copy(f"saved_{name}_{database}", database)
        shutil.rmtree(self.state.lake)
        shutil.copytree(self.state.home / "saved" / name, self.state.lake)

    def _databases(self) -> list[str]:
        return ["mlflow", *end_state.databases(self.server)]

    def _copy(self, source: str, target: str) -> None:
        names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
        with psycopg.connect(self.server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names)
            )
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [source],
            )
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [source]
            ).fetchone()
            assert owner is not None
            connection.execute(
                sql.SQL("CREATE DATABASE {target} TEMPLATE {source} OWNER {owner}").format(
                    **names, owner=sql.Identifier(owner[0])
                )
            )


@contextmanager
def installed() -> Iterator[Installation]:
    """An empty installation, migrated, with this process's environment leading to it."""
    state = State(Path(tempfile.mkdtemp(prefix="tenantry-test-")))
    before = dict(os.environ)
    try:
        here = Installation(state, postgres.start(state))
        for name in [name for name in os.environ if name.startswith(_OURS)]:
            del os.environ[name]  # what another test, or the shell, leads to
        os.environ.update(here.environment)
        migrate()
        from include.registry import mlflow_registry

        mlflow_registry.prepare(here.environment["MLFLOW_TRACKING_URI"])
        yield here
    finally:
        os.environ.clear()
        os.environ.update(before)
        postgres.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)


def child_environment(here: Installation) -> dict[str, str]:
    """For processes that import the tests' own modules, too."""
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    return {**os.environ, **here.environment, "PYTHONPATH": paths}
