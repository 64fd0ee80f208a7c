"""A Postgres of the benchmark's own: the embedded one, in a folder that is gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.runtime import postgres as embedded
from include.runtime.state import State
from include.storage.migrate import migrate


@contextmanager
def running_postgres() -> Iterator[embedded.Postgres]:
    """A migrated server that `tenant_transaction` of this process reaches."""
    state = State(Path(tempfile.mkdtemp(prefix="tenantry-bench-")))
    try:
        server = embedded.start(state)
        os.environ["TENANTRY_ADMIN_DATABASE_URL"] = server.dsn("postgres")
        os.environ["TENANTRY_DATABASE_URL"] = server.dsn("tenantry", "tenantry_app")
        migrate()
        yield server
    finally:
        embedded.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)
