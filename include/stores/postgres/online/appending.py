"""Streamed events are kept as they came, and at once as a state in every group."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pyarrow as pa

from include.features.online import tables
from include.features.online.layout import Layout
from include.storage.postgres import Connection, keyed_transaction
from include.stores.postgres.online import arrivals, delivered, partials
from include.stores.postgres.online.partials import Row
from include.tenants.namespace import TenantRef

#: Any number append at once, unless a materialization is about to end.
_ENTER: Final = (
    "SELECT pg_advisory_xact_lock_shared(hashtext('tenantry.online.append'), hashtext(%s))"
)
_SHUT: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.online.append'), hashtext(%s))"


def shut(connection: Connection, tenant: TenantRef) -> None:
    """Wait until nobody appends, and let nobody until the transaction ends."""
    connection.execute(_SHUT, [tenant.id])


def append(tenant: TenantRef, events: pa.Table, facts: pa.Table) -> int:
    """Keep rows that are not there yet; returns how many of the events are new.

    Args:
        events: of `tables.streamed_rows`, as are the facts. Those created at or before the
            watermark are left to the lake, as the batch up to there is closed, and so are those
            that a batch may hold.
    """
    with keyed_transaction(tenant) as connection:
        connection.execute(_ENTER, [tenant.id])
        groups = partials.groups(connection, tenant).values()
        closed = max((group.watermark for group in groups), default=None)
        arrivals.insert_facts(connection, tenant, facts)
        events = tables.known(events, closed, None)
        if closed is not None:
            events = delivered.undelivered(connection, tenant, events)
        new = arrivals.insert_events(connection, tenant, events)
        taken = tables.among(events, new)
        again = touched(connection, tenant, closed, facts)
        old = set(tables.event_keys(again))
        for group in groups:
            stated = taken
            if group.layout.lookups and old:
                partials.forget_streamed(connection, tenant, group.key, old)
                stated = pa.concat_tables([tables.among(taken, old, keep=False), again])
            rows = states(connection, tenant, group.layout, stated)
            partials.write(connection, tenant, group.key, rows)
    return len(new)


def touched(
    connection: Connection, tenant: TenantRef, closed: datetime | None, facts: pa.Table
) -> pa.Table:
    """Streamed events, in no batch yet, that new facts may say something about."""
    if not len(facts):
        return arrivals.NO_EVENTS
    still_open = tables.known(arrivals.streamed_events(connection, tenant), closed, None)
    return tables.looking_up(still_open, facts)


def states(
    connection: Connection, tenant: TenantRef, layout: Layout, events: pa.Table
) -> list[Row]:
    """A state for each streamed event of the layout's stream."""
    if not len(events):
        return []
    facts = arrivals.facts_of(connection, tenant, layout.lookups, events)
    return list(partials.streamed_states(layout, events, facts))
