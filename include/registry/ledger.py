"""The promotions ledger: every decision about who serves, once and for ever.

Postgres lets the tenants' role add rows and read them, and neither change nor delete one.

What serves at an instant is read here and not from the registry's alias, so that a rerun of an old
interval scores with the version that served then. The alias follows the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.registry.card import plain
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef, model_name

_COLUMNS: Final = (
    "use_case, as_of, trigger, promoted, version, rung, incumbent_version, digest, reasons, "
    "evidence, actor, withdrawn, decided_at"
)
_FIND: Final = f"""
    SELECT {_COLUMNS} FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND trigger = %s
"""  # noqa: S608
_CHAMPION: Final = f"""
    SELECT {_COLUMNS} FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND promoted AND as_of <= %s
    ORDER BY as_of DESC, decided_at DESC, trigger DESC
    LIMIT 1
"""  # noqa: S608
_HISTORY: Final = f"""
    SELECT {_COLUMNS} FROM promotions
    WHERE tenant_id = %s AND use_case = %s
    ORDER BY as_of, decided_at, trigger
"""  # noqa: S608
#: What was decided, without what it was decided on, which is large.
_OUTLINE: Final = _HISTORY.replace(" evidence,", " '{}'::jsonb AS evidence,")
_CHALLENGER: Final = """
    SELECT evidence->>'challenger' AS version FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND evidence->>'challenger' <> ''
    ORDER BY as_of DESC, decided_at DESC, trigger DESC
    LIMIT 1
"""
_RECORD: Final = """
    INSERT INTO promotions (tenant_id, use_case, as_of, trigger, promoted, version, rung,
                            incumbent_version, digest, reasons, evidence, actor, withdrawn)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
ROLLBACK: Final = "rollback"
EXPERIMENT: Final = "experiment"
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Promotion:
    """One decision: about a training or an experiment, or to go back to an earlier version."""

    tenant: str
    use_case: str
    as_of: datetime
    #: `scheduled`, `drift` or `manual`; `rollback-1`, `experiment-1`, … where nothing was trained
    trigger: str
    promoted: bool
    version: str  #: champion after the decision; empty when there is none
    rung: str
    digest: str
    incumbent_version: str  #: champion before the decision; empty when there was none
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]
    actor: str = "system"  #: or the user who decided
    withdrawn: tuple[str, ...] = ()  #: versions that must not serve again until one is put back
    decided_at: datetime | None = field(default=None, compare=False)  #: set by Postgres

    @property
    def trained(self) -> bool:
        """Whether a training was decided upon."""
        return not self.trigger.startswith((ROLLBACK, EXPERIMENT))


def record(tenant: TenantRef, promotion: Promotion) -> Promotion:
    """Write a decision unless there is one for its training; return the one that stands."""
    key = [tenant.id, promotion.use_case, promotion.as_of, promotion.trigger]
    with tenant_transaction(tenant) as connection:
        connection.execute(
            _RECORD,
            [
                *key,
                promotion.promoted,
                promotion.version,
                promotion.rung,
                promotion.incumbent_version,
                promotion.digest,
                Jsonb(list(promotion.reasons)),
                Jsonb(plain(promotion.evidence)),
                promotion.actor,
                Jsonb(list(promotion.withdrawn)),
            ],
        )
        standing = connection.execute(_FIND, key).fetchone()
    assert standing is not None  # inserted, or in the way of the insert
    return _promotion(tenant, standing)


def find(tenant: TenantRef, use_case: str, as_of: datetime, trigger: str) -> Promotion | None:
    """The decision for one training, if it was taken."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(_FIND, [tenant.id, use_case, as_of, trigger]).fetchone()
    return None if row is None else _promotion(tenant, row)


def champion_at(
    tenant: TenantRef, use_case: str, as_of: datetime | None = None
) -> Promotion | None:
    """The promotion that is in force at `as_of` (the newest of all when None), if any."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(_CHAMPION, [tenant.id, use_case, as_of or _LATEST]).fetchone()
    return None if row is None else _promotion(tenant, row)


def history(tenant: TenantRef, use_case: str) -> list[Promotion]:
    """Every decision, oldest first."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(_HISTORY, [tenant.id, use_case]).fetchall()
    return [_promotion(tenant, row) for row in rows]


def outline(tenant: TenantRef, use_case: str) -> list[Promotion]:
    """`history` with empty evidence."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(_OUTLINE, [tenant.id, use_case]).fetchall()
    return [_promotion(tenant, row) for row in rows]


def challenger(tenant: TenantRef, use_case: str) -> str:
    """The newest version that lost, of the tenant's own; empty where there is none."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(_CHALLENGER, [tenant.id, use_case]).fetchone()
    return "" if row is None else str(row["version"])


@contextmanager
def exclusive(tenant: TenantRef, use_case: str) -> Iterator[None]:
    """One decision at a time per tenant and use case; a killed holder lets go by itself."""
    with tenant_transaction(tenant) as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"promotion/{tenant.id}/{model_name(use_case)}"],
        )
        yield


def _promotion(tenant: TenantRef, row: DictRow) -> Promotion:
    listed = {name: tuple(row[name]) for name in ("reasons", "withdrawn")}
    return Promotion(tenant=tenant.id, **{**row, **listed})


def withdrawn(decided: Sequence[Promotion]) -> dict[str, str]:
    """Versions that were withdrawn and not put back since, each with what it was withdrawn for.

    Args:
        decided: as `history` gives them.
    """
    found: dict[str, str] = {}
    for one in decided:
        found |= dict.fromkeys(one.withdrawn, " ".join(one.reasons))
        if one.promoted:
            found.pop(one.version, None)
    return found
