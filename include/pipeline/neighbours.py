"""Which tenants' tables a step for several tenants can read; one that is broken is left out.

A neighbour's broken table is no reason for anybody else's run to fail, and no business of theirs:
the platform is told, in an incident of its own, and the tenant whose run it is hears nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from include.features.inputs import unreadable
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL

KIND: Final = "unreadable_table"
_OPEN: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details)
    VALUES (%s, %s, '', %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET details = incidents.details || excluded.details, closed_at = NULL
"""
#: Closed is what was about tenants whose tables can all be read by now.
_CLOSE: Final = """
    UPDATE incidents SET closed_at = now()
    WHERE tenant_id = %s AND kind = %s AND closed_at IS NULL AND as_of <= %s
    AND details - %s::text[] = '{}'
"""
_SUMMARY: Final = (
    "Tables of tenants cannot be read, so what is made of several tenants was made without them; "
    "the details name them and what is wrong"
)


def readable(
    tenants: Sequence[TenantConfig], tables: Sequence[str], lake: Lake, as_of: datetime
) -> list[TenantConfig]:
    """The tenants whose tables can be read from the first row to the last, in their order.

    Opens an incident of the platform's about the others, and closes it once all can be read.
    """
    broken = unreadable(tenants, tables, lake)
    good = [one for one in tenants if one.id not in broken]
    _tell(broken, [one.id for one in good], as_of)
    return good


def _tell(broken: dict[str, str], good: list[str], as_of: datetime) -> None:
    with tenant_transaction(GLOBAL) as connection:
        if broken:
            told = [GLOBAL.id, KIND, as_of, _SUMMARY, Jsonb(broken)]
            connection.execute(_OPEN, told)
        elif good:
            connection.execute(_CLOSE, [GLOBAL.id, KIND, as_of, good])
