"""What one transaction of a tenant's costs: on a new connection, a kept one, and psycopg_pool's.

Each enters the tenant, has its login checked, reads one row and ends; all on the same embedded
Postgres, in turn. CPU is this process's and its server's together, as both run on one machine.

    python -m benchmarks.transactions [--transactions 500] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Final

import psutil
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from benchmarks.features.server import running_postgres
from include.storage.postgres import _ENTER, keyed_transaction, snapshot, tenant_transaction
from include.tenants.namespace import TenantRef

TENANT: Final = TenantRef("bench", "local", "pool")
QUERY: Final = "SELECT count(*) AS rows FROM promotions WHERE tenant_id = %s"
ENTER: Final = _ENTER.replace("$1", "%s")


def _new() -> None:
    """A connection for one transaction."""
    with psycopg.connect(os.environ["TENANTRY_DATABASE_URL"], **_HOW) as connection:
        connection.execute(ENTER, [TENANT.id]).fetchone()
        connection.execute(QUERY, [TENANT.id]).fetchall()


def _kept() -> None:
    with tenant_transaction(TENANT) as connection:
        connection.execute(QUERY, [TENANT.id]).fetchall()


def _keyed() -> None:
    with keyed_transaction(TENANT) as connection:
        connection.execute(QUERY, [TENANT.id]).fetchall()


def _snapshot() -> None:
    snapshot(TENANT, [(QUERY.replace("%s", "$1"), [TENANT.id])])


_HOW: Final = {
    "row_factory": dict_row,
    "options": "-c search_path=tenantry -c timezone=UTC",
    "connect_timeout": 10,
}


def main() -> None:
    """Print milliseconds per transaction, by the clock and of CPU: medians of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dsn = "TENANTRY_DATABASE_URL"
    with (
        running_postgres() as running,
        ConnectionPool(os.environ[dsn], min_size=0, max_size=8, kwargs=_HOW) as pool,
    ):
        with psycopg.connect(running.dsn("postgres")) as connection:
            server = psutil.Process(connection.info.backend_pid).ppid()

        def pooled() -> None:
            with pool.connection() as connection:
                connection.execute(ENTER, [TENANT.id]).fetchone()
                connection.execute(QUERY, [TENANT.id]).fetchall()

        def one_trip() -> None:
            with pool.connection() as connection, connection.pipeline():
                connection.execute(ENTER, [TENANT.id])
                connection.execute(QUERY, [TENANT.id]).fetchall()

        ways: dict[str, Callable[[], object]] = {
            "a new connection": _new,
            "kept (tenant_transaction)": _kept,
            "kept (keyed_transaction)": _keyed,
            "kept (snapshot)": _snapshot,
            "psycopg_pool": pooled,
            "psycopg_pool, pipeline()": one_trip,
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                way()
                taken[name].append(_measured(way, options.transactions, server))
    for name, rounds in taken.items():
        clock, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:28} {clock:7.3f} ms  {cpu:7.3f} ms of CPU")


def _measured(way: Callable[[], object], times: int, server: int) -> tuple[float, float]:
    """Milliseconds per transaction by the clock, and of CPU here and in the server."""
    began, burnt = time.perf_counter(), _cpu(server)
    for _ in range(times):
        way()
    clock = time.perf_counter() - began
    return clock / times * 1e3, (_cpu(server) - burnt) / times * 1e3


def _cpu(server: int) -> float:
    """Seconds of CPU that this process and the server have used, its ended backends included."""
    own, postmaster = time.process_time(), psutil.Process(server)
    seconds = 0.0
    for process in (postmaster, *postmaster.children(recursive=True)):
        used = process.cpu_times()
        seconds += used.user + used.system
    ended = postmaster.cpu_times()
    return own + seconds + ended.children_user + ended.children_system


if __name__ == "__main__":
    main()
