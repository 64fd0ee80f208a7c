"""A tenant's own source database, reached through the Airflow connection its YAML names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook

from include.errors import SourceError
from include.wiring import CONNECT_SECONDS

_TIMEOUT: Final = "PGCONNECT_TIMEOUT"


@contextmanager
def through_airflow(connection_id: str) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection made by `PostgresHook`; the secret stays inside the hook.

    Raises:
        SourceError: Airflow knows no such connection, or the database does not answer.
    """
    patience = os.environ.get(_TIMEOUT)
    os.environ[_TIMEOUT] = patience or str(CONNECT_SECONDS)  # where the connection says nothing
    try:
        # Typed for both drivers; with SQLAlchemy 2 it is always psycopg's.
        connection = cast(
            "psycopg.Connection[Any]", PostgresHook(postgres_conn_id=connection_id).get_conn()
        )
    except Exception as error:  # Airflow and the driver raise unrelated types here
        # Not chained: what a driver says can quote its whole address.
        raise SourceError(
            f"connection {connection_id!r} cannot be opened ({type(error).__name__}); "
            "check it under Admin → Connections, or in airflow_settings.yaml"
        ) from None
    finally:
        if patience is None:
            del os.environ[_TIMEOUT]
    with closing(connection):
        yield connection
