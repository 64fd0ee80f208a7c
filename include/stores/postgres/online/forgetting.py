"""What has to go from a region's pool: of those who left it, or everything."""

from __future__ import annotations

from collections.abc import Sequence

from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres.online import arrivals, delivered, partials
from include.stores.postgres.online.appending import shut
from include.stores.postgres.online.materialization import LOCK
from include.stores.postgres.online.served import serve
from include.tenants.namespace import TenantRef


def keep_members(pool: TenantRef, members: Sequence[str]) -> None:
    """See `OnlineStore.keep_members`."""
    with tenant_transaction(pool) as connection:
        _keep_members(connection, pool, members)


def empty(owner: TenantRef) -> None:
    """See `OnlineStore.empty`."""
    with tenant_transaction(owner) as connection:
        _keep_members(connection, owner, ())
        for key in partials.groups(connection, owner):
            partials.forget_group(connection, owner, key)
        serve(connection, owner, ())


def _keep_members(connection: Connection, pool: TenantRef, members: Sequence[str]) -> None:
    connection.execute(LOCK, [pool.id])
    shut(connection, pool)
    delivered.forget_other_owners(connection, pool, members)
    gone = arrivals.forget_other_owners(connection, pool, members)
    for key in partials.groups(connection, pool):
        partials.forget_streamed(connection, pool, key, gone)
