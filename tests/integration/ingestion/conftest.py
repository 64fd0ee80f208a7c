"""A tenant with one source of a test's making, on the real Postgres and a lake of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.runtime.postgres import Postgres
from include.storage.migrate import migrate
from include.stores.postgres.slices import PostgresSlices
from tests import shops as shared
from tests.counted_rows import count_every_slice
from tests.shops import grant


@dataclass
class Shops(shared.Shops):
    """Makes tenants whose only source is what a test writes."""

    postgres: Postgres = field(kw_only=True)


@pytest.fixture(autouse=True)
def counted_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test ingests, no row is lost from the counts."""
    count_every_slice(monkeypatch)


@pytest.fixture
def shops(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shops:
    """The maker of tenants."""
    monkeypatch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("postgres"))
    monkeypatch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
    grant(monkeypatch, roots=[str(tmp_path)], connections=["postgres", "nowhere", "x"])
    migrate()

    @contextmanager
    def connect(connection_id: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(postgres.dsn(connection_id)) as connection:
            yield connection

    return Shops(tmp_path, PostgresSlices(), connect, postgres=postgres)
