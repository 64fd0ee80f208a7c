"""Promotions in Postgres, which lets the tenants' role add rows and read them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.registry.card import plain
from include.registry.promotions import Promotion
from include.storage import audit
from include.storage.postgres import Value, tenant_transaction
from include.stores.postgres.statements import select, select_first, take_turn
from include.tenants.namespace import TenantRef, model_name

_COLUMNS: Final = (
    "use_case, as_of, trigger, promoted, version, rung, incumbent_version, digest, reasons, "
    "evidence, actor, withdrawn, decided_at"
)
_FIND: Final = f"""
    SELECT {_COLUMNS} FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s AND trigger = %s
"""  # noqa: S608
#: Versions that were withdrawn for good, as consent to what they were made of was.
_GONE: Final = """
    SELECT jsonb_array_elements_text(withdrawn) AS version FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND trigger LIKE 'consent-%%'
"""
_CHAMPION: Final = f"""
    SELECT {_COLUMNS} FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND promoted AND version <> '' AND as_of <= %s
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
_CHALLENGER: Final = f"""
    SELECT evidence->>'challenger' AS version FROM promotions
    WHERE tenant_id = %s AND use_case = %s AND evidence->>'challenger' <> ''
    AND evidence->>'challenger' NOT IN ({_GONE})
    ORDER BY as_of DESC, decided_at DESC, trigger DESC
    LIMIT 1
"""  # noqa: S608
_RECORD: Final = """
    INSERT INTO promotions (tenant_id, use_case, as_of, trigger, promoted, version, rung,
                            incumbent_version, digest, reasons, evidence, actor, withdrawn)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class PostgresPromotions:
    """The table `promotions`; each decision is entered in the tenant's audit chain with its row."""

    def record(self, tenant: TenantRef, promotion: Promotion) -> Promotion:
        """See `Promotions.record`."""
        key: list[Value] = [tenant.id, promotion.use_case, promotion.as_of, promotion.trigger]
        with tenant_transaction(tenant) as connection:
            done = connection.execute(
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
            if done.rowcount:
                audit.enter(connection, tenant, "promotion", *key[1:], actor=promotion.actor)
            standing = connection.execute(_FIND, key).fetchone()
        assert standing is not None  # inserted, or in the way of the insert
        return _promotion(tenant, standing)

    def find(
        self, tenant: TenantRef, use_case: str, as_of: datetime, trigger: str
    ) -> Promotion | None:
        """See `Promotions.find`."""
        row = select_first(tenant, _FIND, [tenant.id, use_case, as_of, trigger])
        return None if row is None else _promotion(tenant, row)

    def champion_at(
        self, tenant: TenantRef, use_case: str, as_of: datetime | None = None
    ) -> Promotion | None:
        """See `Promotions.champion_at`."""
        with tenant_transaction(tenant) as connection:
            row = connection.execute(_CHAMPION, [tenant.id, use_case, as_of or _LATEST]).fetchone()
            gone = connection.execute(_GONE, [tenant.id, use_case]).fetchall()
        if row is None or row["version"] in {one["version"] for one in gone}:
            return None
        return _promotion(tenant, row)

    def gone(self, tenant: TenantRef, use_case: str) -> frozenset[str]:
        """See `Promotions.gone`."""
        rows = select(tenant, _GONE, [tenant.id, use_case])
        return frozenset(row["version"] for row in rows)

    def history(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """See `Promotions.history`."""
        return _promotions(tenant, _HISTORY, use_case)

    def outline(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """See `Promotions.outline`."""
        return _promotions(tenant, _OUTLINE, use_case)

    def challenger(self, tenant: TenantRef, use_case: str) -> str:
        """See `Promotions.challenger`."""
        row = select_first(tenant, _CHALLENGER, 2 * [tenant.id, use_case])
        return "" if row is None else str(row["version"])

    @contextmanager
    def exclusive(self, tenant: TenantRef, use_case: str) -> Iterator[None]:
        """See `Promotions.exclusive`: the lock ends with its transaction."""
        with tenant_transaction(tenant) as connection:
            take_turn(connection, f"promotion/{tenant.id}/{model_name(use_case)}")
            yield


def _promotions(tenant: TenantRef, query: str, use_case: str) -> list[Promotion]:
    rows = select(tenant, query, [tenant.id, use_case])
    return [_promotion(tenant, row) for row in rows]


def _promotion(tenant: TenantRef, row: DictRow) -> Promotion:
    listed = {name: tuple(row[name]) for name in ("reasons", "withdrawn")}
    return Promotion(tenant=tenant.id, **{**row, **listed})
