"""The audit chain: what happened to each owner's ledgers, and what operators did, in Postgres.

Each owner, a tenant or the platform, has a chain of its own (see `include.storage.chain`). A
ledger's row is entered in the transaction that writes it, so that there is never one without the
other. The tenants' role can add entries and read them, and neither change nor delete one; what a
table's owner could do all the same, `verify` finds beside a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from include.errors import ConfigError
from include.storage.chain import (
    ERASED,
    LEDGERS,
    RESERVED,
    AuditEntry,
    Finding,
    Head,
    Row,
    broken_links,
    broken_promises,
    canonical,
    changed_rows,
    columns,
    following,
    head_of,
)
from include.storage.postgres import Connection, Query, Value, snapshot, tenant_transaction
from include.tenants.namespace import TenantRef

SYSTEM: Final = "system"  #: the actor where nobody asked
_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_LAST: Final = """
    SELECT clock_timestamp() AS recorded_at, coalesce(max(number), 0) AS length,
           coalesce((array_agg(digest ORDER BY number DESC))[1], '') AS digest
    FROM (SELECT number, digest FROM audit WHERE tenant_id = %s ORDER BY number DESC LIMIT 1) last
"""
_ADD: Final = """
    INSERT INTO audit (tenant_id, number, recorded_at, actor, action, details, previous, digest)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_THERE: Final = """
    SELECT 1 FROM audit
    WHERE tenant_id = %s AND actor = %s AND action = %s AND details = %s LIMIT 1
"""
_COLUMNS: Final = "tenant_id, number, recorded_at, actor, action, details, previous, digest"
_ENTRIES: Final = f"SELECT {_COLUMNS} FROM audit WHERE tenant_id = $1 ORDER BY number"  # noqa: S608


def enter(
    connection: Connection, tenant: TenantRef, action: str, *key: Value, actor: str = SYSTEM
) -> None:
    """Enter a ledger's row as it is now, in the transaction that wrote it; last of all therein.

    Args:
        action: of the ledger (`include.storage.chain.LEDGERS`).
        key: the row's, without the tenant.
    """
    (ledger,) = (one for one in LEDGERS if one.action == action)
    mine = " AND ".join(f"{column} = %s" for column in ledger.key)
    row = connection.execute(
        f"{_row_of(ledger.table)} WHERE tenant_id = %s AND {mine}", [tenant.id, *key]
    ).fetchone()
    assert row is not None  # the caller has written it
    _append(connection, tenant, action, canonical(columns(row["written"])), actor)


def record(
    tenant: TenantRef,
    action: str,
    details: Mapping[str, Any],
    actor: str,
    connection: Connection | None = None,
    *,
    once: bool = False,
) -> None:
    """Enter what an operator did.

    Args:
        tenant: to whom; `GLOBAL` where it concerns the platform or several.
        action: in a few words, such as `retrain by hand`.
        details: in JSON's types; no customer's data and no secrets, as entries stay.
        connection: a transaction of the tenant's that does what is recorded; its own if none.
        once: enter nothing where the same is there: for what may be run again.

    Raises:
        ConfigError: the action is one that only a ledger's rows have.
    """
    if action in RESERVED:
        raise ConfigError(
            f"{action!r} stands for what ledgers write themselves; give the operator's action "
            "another name"
        )
    if connection is None:
        with tenant_transaction(tenant) as own:
            record(tenant, action, details, actor, own, once=once)
        return
    text = canonical(dict(details))
    if once:
        connection.execute(_TURN, [_lock(tenant)])
        if connection.execute(_THERE, [tenant.id, actor, action, text]).fetchone():
            return
    _append(connection, tenant, action, text, actor)


def record_erasure(
    connection: Connection, tenant: TenantRef, tables: Iterable[str], actor: str
) -> None:
    """Enter that the tenant's rows in these ledgers were erased, in the transaction that did it.

    Rows that were entered before are not expected any more; the chain itself stays.
    """
    known = {ledger.table for ledger in LEDGERS}
    text = canonical({"tables": sorted(known & set(tables))})
    _append(connection, tenant, ERASED, text, actor)


def entries(tenant: TenantRef) -> list[AuditEntry]:
    """The tenant's chain, oldest first."""
    (found,) = snapshot(tenant, [(_ENTRIES, [tenant.id])])
    return [AuditEntry(*row) for row in found]


@dataclass(frozen=True)
class Verified:
    """What became of looking at one owner's chain."""

    owner: str
    entries: int
    rows: int  #: of ledgers, compared with their entries
    head: Head
    findings: tuple[Finding, ...]
    erasures: tuple[int, ...] = ()  #: numbers of entries that say that rows were erased


def verify(tenant: TenantRef, heads: Sequence[tuple[str, Head]] = ()) -> Verified:
    """Compute a tenant's chain again, and compare the ledgers' rows with it, as of one moment.

    Args:
        heads: of the tenant's chain in checkpoints, each with the checkpoint's name.
    """
    asked: list[Query] = [
        (query, [tenant.id])
        for query in (_ENTRIES, *(f"{_row_of(one.table)} WHERE tenant_id = $1" for one in LEDGERS))
    ]
    found, *ledgers = snapshot(tenant, asked)
    chain = [AuditEntry(*row) for row in found]
    rows: dict[str, list[Row]] = {
        ledger.table: [row for (row,) in there]
        for ledger, there in zip(LEDGERS, ledgers, strict=True)
    }
    findings = (
        *broken_links(tenant.id, chain),
        *broken_promises(tenant.id, chain, heads),
        *changed_rows(tenant.id, chain, rows),
    )
    counted = sum(map(len, rows.values()))
    erasures = tuple(entry.number for entry in chain if entry.action == ERASED)
    return Verified(tenant.id, len(chain), counted, head_of(chain), findings, erasures)


def head(tenant: TenantRef) -> Head:
    """How far the tenant's chain has come."""
    with tenant_transaction(tenant) as connection:
        return _last(connection, tenant)[0]


def _append(
    connection: Connection, tenant: TenantRef, action: str, details: str, actor: str
) -> None:
    """One more entry; the lock is held until the transaction ends, so that no two are the same."""
    connection.execute(_TURN, [_lock(tenant)])
    last, now = _last(connection, tenant)
    entry = following(last, tenant.id, recorded_at=now, actor=actor, action=action, details=details)
    connection.execute(
        _ADD,
        [
            *(entry.owner, entry.number, entry.recorded_at, entry.actor, entry.action),
            *(entry.details, entry.previous, entry.digest),
        ],
    )


def _last(connection: Connection, tenant: TenantRef) -> tuple[Head, Any]:
    row = connection.execute(_LAST, [tenant.id]).fetchone()
    assert row is not None  # an aggregate
    return Head(row["length"], row["digest"]), row["recorded_at"]


def _lock(tenant: TenantRef) -> str:
    return f"audit/{tenant.id}"


def _row_of(table: str) -> str:
    """Rows with each column as Postgres writes it as text."""
    texts = "(SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(to_jsonb(t)))"
    return f"SELECT {texts} AS written FROM {table} t"  # noqa: S608
