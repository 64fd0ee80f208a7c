"""Incidents in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from include.incidents import Incident
from include.storage import audit
from include.storage.postgres import Connection, Value, tenant_transaction
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_PUT: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details, closed_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET summary = excluded.summary, details = excluded.details,
        closed_at = excluded.closed_at
"""
_OPEN: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET summary = excluded.summary, details = incidents.details || excluded.details,
        closed_at = NULL
"""
_CLOSE: Final = """
    UPDATE incidents SET closed_at = coalesce(%s, now())
    WHERE tenant_id = %s AND kind = %s AND use_case = %s AND as_of = %s AND closed_at IS NULL
"""
_ANSWER: Final = """
    UPDATE incidents SET details = details || %s, closed_at = %s
    WHERE tenant_id = %s AND kind = %s AND use_case = %s AND as_of = %s
"""
_COLUMNS: Final = "kind, use_case, as_of, summary, details, closed_at"
_OF_KIND: Final = f"""
    SELECT {_COLUMNS} FROM incidents WHERE tenant_id = %s AND kind = %s AND use_case = %s
    ORDER BY as_of
"""  # noqa: S608
_ABOUT: Final = f"""
    SELECT {_COLUMNS} FROM incidents WHERE tenant_id = %s AND use_case IN ('', %s)
    ORDER BY as_of, kind, use_case
"""  # noqa: S608


class PostgresIncidents:
    """The table `incidents`."""

    def put(self, owner: TenantRef, incident: Incident) -> None:
        """See `Incidents.put`."""
        with tenant_transaction(owner) as connection:
            put(connection, owner, incident)

    def open(self, owner: TenantRef, incident: Incident) -> None:
        """See `Incidents.open`."""
        with tenant_transaction(owner) as connection:
            connection.execute(
                _OPEN,
                [*_key(owner, incident), incident.summary, Jsonb(dict(incident.details))],
            )

    def close(
        self,
        owner: TenantRef,
        kind: str,
        use_case: str,
        as_of: datetime,
        at: datetime | None = None,
    ) -> None:
        """See `Incidents.close`."""
        with tenant_transaction(owner) as connection:
            close(connection, owner, kind, use_case, as_of, at)

    def answer(
        self, owner: TenantRef, answered: Incident, action: str, entry: Mapping[str, Any], by: str
    ) -> None:
        """See `Incidents.answer`."""
        with tenant_transaction(owner) as connection:
            connection.execute(
                _ANSWER,
                [Jsonb(dict(answered.details)), answered.closed_at, *_key(owner, answered)],
            )
            audit.record(owner, action, entry, by, connection)

    def of_kind(self, owner: TenantRef, kind: str, use_case: str = "") -> list[Incident]:
        """See `Incidents.of_kind`."""
        with tenant_transaction(owner) as connection:
            return of_kind(connection, owner, kind, use_case)

    def about(self, owner: TenantRef, use_case: str) -> list[Incident]:
        """See `Incidents.about`."""
        rows = select(owner, _ABOUT, [owner.id, use_case])
        return [Incident(**row) for row in rows]


def put(connection: Connection, owner: TenantRef, incident: Incident) -> None:
    """`Incidents.put` in a transaction that writes more than the incident."""
    details = Jsonb(dict(incident.details))
    connection.execute(
        _PUT, [*_key(owner, incident), incident.summary, details, incident.closed_at]
    )


def close(
    connection: Connection,
    owner: TenantRef,
    kind: str,
    use_case: str,
    as_of: datetime,
    at: datetime | None,
) -> None:
    """`Incidents.close` in a transaction that writes more than the incident."""
    connection.execute(_CLOSE, [at, owner.id, kind, use_case, as_of])


def of_kind(
    connection: Connection, owner: TenantRef, kind: str, use_case: str = ""
) -> list[Incident]:
    """`Incidents.of_kind` in a transaction that writes what depends on them."""
    rows = connection.execute(_OF_KIND, [owner.id, kind, use_case]).fetchall()
    return [Incident(**row) for row in rows]


def _key(owner: TenantRef, incident: Incident) -> list[Value]:
    return [owner.id, incident.kind, incident.use_case, incident.as_of]
