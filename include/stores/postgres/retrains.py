"""Retrains in Postgres; every change of a row is entered in the tenant's audit chain with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.monitoring.retrain_effect import RetrainEffect
from include.monitoring.retrains import Decision, Outcome, RetrainRequest, outcome_details
from include.storage import audit
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_COLUMNS: Final = (
    "use_case, as_of, decision, reason, details, state, dag_run_id, outcome, outcome_details, "
    "effect, effect_details"
)
_RECORD: Final = """
    INSERT INTO retrain_ledger (tenant_id, use_case, as_of, decision, reason, details, state)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_OPEN: Final = f"""
    SELECT {_COLUMNS} FROM retrain_ledger
    WHERE tenant_id = %s AND state = 'requested' ORDER BY as_of, use_case
"""  # noqa: S608
_SINCE: Final = f"""
    SELECT {_COLUMNS} FROM retrain_ledger
    WHERE tenant_id = %s AND decision = 'retrain' AND (state = 'requested' OR decided_at >= %s)
    ORDER BY as_of, use_case
"""  # noqa: S608
_TRIGGER: Final = """
    UPDATE retrain_ledger SET state = 'triggered', dag_run_id = %s, triggered_at = now()
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND state = 'requested'
"""
_TRIGGERED: Final = """
    SELECT 1 FROM retrain_ledger WHERE tenant_id = %s AND use_case = %s AND as_of = %s
    AND state = 'triggered' AND dag_run_id = %s
"""
_FINISH: Final = """
    UPDATE retrain_ledger SET state = 'finished', outcome = %s, outcome_details = %s,
        finished_at = now()
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND state IN ('requested', 'triggered')
"""
_KNOWN: Final = """
    SELECT effect, effect_details FROM retrain_ledger
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND outcome = 'promoted' FOR UPDATE
"""
_EFFECT: Final = """
    UPDATE retrain_ledger SET effect = %s, effect_details = %s
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s
"""
_HISTORY: Final = f"""
    SELECT {_COLUMNS} FROM retrain_ledger
    WHERE tenant_id = %s AND (%s::text IS NULL OR use_case = %s) ORDER BY as_of, use_case
"""  # noqa: S608


class PostgresRetrains:
    """The table `retrain_ledger`."""

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        decision: Decision,
        reason: str,
        details: Mapping[str, Any],
    ) -> bool:
        """See `Retrains.record`."""
        state = "requested" if decision == "retrain" else "closed"
        with tenant_transaction(tenant) as connection:
            done = connection.execute(
                _RECORD,
                [tenant.id, use_case, as_of, decision, reason, Jsonb(dict(details)), state],
            )
            return _entered(connection, tenant, use_case, as_of, done.rowcount)

    def open_requests(self, tenant: TenantRef) -> list[RetrainRequest]:
        """See `Retrains.open_requests`."""
        return [_request(row) for row in select(tenant, _OPEN, [tenant.id])]

    def requests_since(self, tenant: TenantRef, since: datetime) -> list[RetrainRequest]:
        """See `Retrains.requests_since`."""
        return [_request(row) for row in select(tenant, _SINCE, [tenant.id, since])]

    def mark_triggered(
        self, tenant: TenantRef, use_case: str, as_of: datetime, dag_run_id: str
    ) -> bool:
        """See `Retrains.mark_triggered`."""
        key = [tenant.id, use_case, as_of]
        with tenant_transaction(tenant) as connection:
            taken = connection.execute(_TRIGGER, [dag_run_id, *key])
            _entered(connection, tenant, use_case, as_of, taken.rowcount)
            return connection.execute(_TRIGGERED, [*key, dag_run_id]).fetchone() is not None

    def finish(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        outcome: Outcome,
        *,
        before: float | None = None,
        after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """See `Retrains.finish`."""
        kept = Jsonb(outcome_details(outcome, before, after, details))
        with tenant_transaction(tenant) as connection:
            done = connection.execute(_FINISH, [outcome, kept, tenant.id, use_case, as_of])
            return _entered(connection, tenant, use_case, as_of, done.rowcount)

    def enter_effect(
        self, tenant: TenantRef, use_case: str, as_of: datetime, effect: RetrainEffect
    ) -> bool:
        """See `Retrains.enter_effect`."""
        key = [tenant.id, use_case, as_of]
        with tenant_transaction(tenant) as connection:
            row = connection.execute(_KNOWN, key).fetchone()
            if row is None or not effect.replaces(_effect(row)):
                return False
            done = connection.execute(_EFFECT, [effect.name, Jsonb(effect.document()), *key])
            return _entered(connection, tenant, use_case, as_of, done.rowcount)

    def history(self, tenant: TenantRef, use_case: str | None = None) -> list[RetrainRequest]:
        """See `Retrains.history`."""
        rows = select(tenant, _HISTORY, [tenant.id, use_case, use_case])
        return [_request(row) for row in rows]


def _entered(
    connection: Connection, tenant: TenantRef, use_case: str, as_of: datetime, rows: int
) -> bool:
    """Enter the row into the audit chain where it was written just now; whether it was."""
    if rows:
        audit.enter(connection, tenant, "retrain", use_case, as_of)
    return rows == 1


def _request(row: DictRow) -> RetrainRequest:
    columns = {name: row[name] for name in row if name not in ("as_of", "effect", "effect_details")}
    return RetrainRequest(as_of=row["as_of"].astimezone(UTC), effect=_effect(row), **columns)


def _effect(row: DictRow) -> RetrainEffect | None:
    return (
        RetrainEffect.read(row["effect"], row["effect_details"]) if row["effect_details"] else None
    )
