"""Brings Airflow's own database to what this version and airflow_settings.yaml ask for.

Runs as a process of its own (`python -m include.runtime.airflow_setup`), in the components'
environment: one import of Airflow instead of one per CLI command.
"""

from __future__ import annotations

import json

from airflow.models import Connection, Pool, Variable
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from include.runtime import settings


def main() -> None:
    """Creates or migrates the schema, then writes pools, connections and variables."""
    initdb()
    wanted = settings.load()
    with create_session() as session:
        for pool in wanted.pools:
            Pool.create_or_update_pool(
                pool.pool_name, pool.pool_slot, pool.pool_description, False, session=session
            )
        for connection in wanted.connections:
            if connection.is_embedded:
                continue  # comes from the environment, because the socket's place may change
            row = session.scalar(select(Connection).where(Connection.conn_id == connection.conn_id))
            if row is not None:
                session.delete(row)
                session.flush()
            session.add(_row(connection))
    for variable in wanted.variables:
        Variable.set(variable.variable_name, variable.variable_value)


def _row(connection: settings.Connection) -> Connection:
    if connection.conn_uri:
        return Connection(conn_id=connection.conn_id, uri=connection.conn_uri)
    extra = connection.conn_extra
    return Connection(
        conn_id=connection.conn_id,
        conn_type=connection.conn_type,
        host=connection.conn_host or None,
        schema=connection.conn_schema or None,
        login=connection.conn_login or None,
        password=connection.conn_password or None,
        port=connection.conn_port,
        extra=(json.dumps(extra) if isinstance(extra, dict) else extra) or None,
    )


if __name__ == "__main__":
    main()
