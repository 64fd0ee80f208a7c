"""The retrain ledger: every decision, and of every request whether retraining helped.

A request goes `requested` → `triggered` → `finished`; every other decision is `closed` at once.
There is one decision per tenant, use case and `as_of`, made once and never overwritten, and each
change of state is a compare-and-set: repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.errors import UnknownNameError
from include.monitoring.retrain_effect import Effect
from include.storage import audit
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef

Decision = Literal["retrain", "wait", "suppress"]
Outcome = Literal["promoted", "kept", "untrained", "failed"]
OUTCOMES: Final = ("promoted", "kept", "untrained", "failed")
#: Outcomes of requests in which nothing was trained: as far as the next one goes, there was none.
_NO_TRAINING: Final = ("untrained", "failed")

_COLUMNS: Final = (
    "use_case, as_of, decision, reason, details, state, dag_run_id, outcome, outcome_details, "
    "effect, effect_details"
)
_OPEN: Final = (
    f"SELECT {_COLUMNS} FROM retrain_ledger "  # noqa: S608
    "WHERE tenant_id = %s AND state = 'requested' ORDER BY as_of, use_case"
)
_SINCE: Final = (
    f"SELECT {_COLUMNS} FROM retrain_ledger "  # noqa: S608
    "WHERE tenant_id = %s AND decision = 'retrain' AND (state = 'requested' OR decided_at >= %s) "
    "ORDER BY as_of, use_case"
)


@dataclass(frozen=True)
class Entry:
    """One decision and what became of it."""

    use_case: str
    as_of: datetime
    decision: Decision
    reason: str
    details: Mapping[str, Any]
    state: str  #: `closed`, `requested`, `triggered` or `finished`
    dag_run_id: str
    outcome: str  #: `promoted`, `kept`, `untrained`, `failed`, or empty until finished
    outcome_details: Mapping[str, Any]  #: `before`, `after` and `helped` once finished
    effect: str  #: on the live metric: `helped`, `hurt`, `no difference`, or empty until known
    effect_details: Mapping[str, Any]  #: the fields of an `Effect`


@dataclass(frozen=True)
class Past:
    """What the ledger knows that bears on the next decision, in `as_of` time."""

    decided: Entry | None  #: the decision at this very `as_of`, if it has been made
    in_flight: datetime | None
    last_retrain_at: datetime | None
    retrains_today: int


def record(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    *,
    decision: Decision,
    reason: str,
    details: Mapping[str, Any],
) -> bool:
    """Enter a decision; False when there is one for this `as_of` already, which stays."""
    state = "requested" if decision == "retrain" else "closed"
    with tenant_transaction(tenant) as connection:
        done = connection.execute(
            "INSERT INTO retrain_ledger "
            "(tenant_id, use_case, as_of, decision, reason, details, state) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [tenant.id, use_case, as_of, decision, reason, Jsonb(dict(details)), state],
        )
        return _entered(connection, tenant, use_case, as_of, done.rowcount)


def open_requests(tenant: TenantRef) -> list[Entry]:
    """Requests nobody has taken up, oldest first."""
    with tenant_transaction(tenant) as connection:
        return [_entry(row) for row in connection.execute(_OPEN, [tenant.id])]


def requests_since(tenant: TenantRef, since: datetime) -> list[Entry]:
    """Requests that are open, or were made since an instant of the wall clock, oldest first."""
    with tenant_transaction(tenant) as connection:
        return [_entry(row) for row in connection.execute(_SINCE, [tenant.id, since])]


def mark_triggered(tenant: TenantRef, use_case: str, as_of: datetime, dag_run_id: str) -> bool:
    """Hand the request to a run; False when it is another run's, finished or never was."""
    key = [tenant.id, use_case, as_of]
    with tenant_transaction(tenant) as connection:
        taken = connection.execute(
            "UPDATE retrain_ledger SET state = 'triggered', dag_run_id = %s, triggered_at = now() "
            "WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND state = 'requested'",
            [dag_run_id, *key],
        )
        _entered(connection, tenant, use_case, as_of, taken.rowcount)
        row = connection.execute(
            "SELECT 1 FROM retrain_ledger WHERE tenant_id = %s AND use_case = %s AND as_of = %s "
            "AND state = 'triggered' AND dag_run_id = %s",
            [*key, dag_run_id],
        ).fetchone()
        return row is not None


def finish(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    outcome: Outcome,
    *,
    before: float | None = None,
    after: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Close a request with what came of it; the first outcome stays.

    Args:
        before: the metric of the champion that the request was about, on the retrain's holdout.
        after: the metric, on the same holdout, of the model that serves from now on.
    Returns:
        False when there is no unfinished request at this `as_of`: a retrain by hand has none.
    """
    if outcome not in OUTCOMES:
        raise UnknownNameError("outcome", outcome, OUTCOMES)
    helped = None if before is None or after is None else after > before
    recorded = {**(details or {}), "before": before, "after": after, "helped": helped}
    with tenant_transaction(tenant) as connection:
        done = connection.execute(
            "UPDATE retrain_ledger SET state = 'finished', outcome = %s, outcome_details = %s, "
            "finished_at = now() WHERE tenant_id = %s AND use_case = %s AND as_of = %s "
            "AND state IN ('requested', 'triggered')",
            [outcome, Jsonb(recorded), tenant.id, use_case, as_of],
        )
        return _entered(connection, tenant, use_case, as_of, done.rowcount)


def enter_effect(tenant: TenantRef, use_case: str, as_of: datetime, effect: Effect) -> bool:
    """Say what a promoted retrain did to the live metric.

    What is known stays, except that more windows replace fewer, and a comparison on the same labels
    one over time.

    Returns:
        False when it stays as it was.
    """
    details = {
        **asdict(effect),
        "as_of": effect.as_of.astimezone(UTC).isoformat(),
        "windows": [
            {**asdict(one), "as_of": one.as_of.astimezone(UTC).isoformat()}
            for one in effect.windows
        ],
    }
    del details["name"]
    with tenant_transaction(tenant) as connection:
        done = connection.execute(
            "UPDATE retrain_ledger SET effect = %s, effect_details = %s "
            "WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND outcome = 'promoted' "
            "AND (effect_details = '{}' OR "
            "(%s AND effect_details->>'method' = 'before and after') OR "
            "(effect_details->>'method' = %s AND effect_details ? 'windows' AND "
            "jsonb_array_length(effect_details->'windows') < %s))",
            [
                *(effect.name, Jsonb(details), tenant.id, use_case, as_of),
                effect.method == "same labels",
                *(effect.method, len(effect.windows)),
            ],
        )
        return _entered(connection, tenant, use_case, as_of, done.rowcount)


def history(tenant: TenantRef, use_case: str | None = None) -> list[Entry]:
    """Every decision about one use case, or about all, oldest first."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM retrain_ledger "  # noqa: S608
            "WHERE tenant_id = %s AND (%s::text IS NULL OR use_case = %s) ORDER BY as_of, use_case",
            [tenant.id, use_case, use_case],
        ).fetchall()
    return [_entry(row) for row in rows]


def past(tenant: TenantRef, use_case: str, as_of: datetime) -> Past:
    """What bears on the decision at `as_of`, which itself does not count."""
    entries = history(tenant)
    mine = [e for e in entries if e.use_case == use_case]
    decided = next((e for e in mine if e.as_of == as_of), None)
    others = [e for e in mine if e.decision == "retrain" and e.as_of != as_of]
    running = [e.as_of for e in others if e.state in ("requested", "triggered")]
    day = as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = [
        e
        for e in entries
        if e.decision == "retrain"
        and day <= e.as_of < day + timedelta(days=1)
        and (e.use_case, e.as_of) != (use_case, as_of)
    ]
    return Past(decided, max(running, default=None), _last_retrain(others), len(today))


def _entered(
    connection: Connection, tenant: TenantRef, use_case: str, as_of: datetime, rows: int
) -> bool:
    """Enter the row into the audit chain where it was written just now; whether it was."""
    if rows:
        audit.enter(connection, tenant, "retrain", use_case, as_of)
    return rows == 1


def _last_retrain(requests: Sequence[Entry]) -> datetime | None:
    return max((e.as_of for e in requests if e.outcome not in _NO_TRAINING), default=None)


def _entry(row: DictRow) -> Entry:
    return Entry(**{**row, "as_of": row["as_of"].astimezone(UTC)})
