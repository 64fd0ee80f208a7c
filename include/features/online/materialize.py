"""Moves what became known into batches of partial aggregates: exactly once, in one transaction.

A streamed event has a state of its own in each group until it is in a batch there; so whether it
is in a batch is no matter of clocks. A materialization that is killed leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from include.features.online import partials, tables
from include.features.online.codec import decode
from include.features.online.folding import fold
from include.features.online.layout import Layout, layouts
from include.features.online.partials import Batch, Group, Row
from include.features.online.records import Records, entities_of, joined, records_of
from include.features.online.served import forget_groups, serve, served
from include.features.views import FeatureView
from include.handoffs import Materialized
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef

#: Events that are turned into records at once: some 200 MB.
_EVENTS_PER_CHUNK: Final = 500_000
#: A streamed event that the lake did not deliver by then is only kept in its batch.
_UNCONFIRMED: Final = timedelta(days=30)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

#: One materialization or compaction of a tenant's at a time.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.online'), hashtext(%s))"
_SHUT: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.online.append'), hashtext(%s))"
_ENTER: Final = (
    "SELECT pg_advisory_xact_lock_shared(hashtext('tenantry.online.append'), hashtext(%s))"
)
_CONFIRM: Final = """
    DELETE FROM online_events WHERE tenant_id = %s AND region = %s AND
    (created_timestamp <= %s OR (owner, source, event_id) IN
        (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])))
"""
_FORGET_FACTS: Final = "DELETE FROM online_facts WHERE tenant_id = %s AND created_timestamp <= %s"


def append(tenant: TenantRef, connection: Connection, events: pa.Table, facts: pa.Table) -> int:
    """Take what streamed in; returns how many of the events are new.

    Args:
        events: of `tables.canonical_events`; those created at or before the watermark are left to
            the lake, as the batch up to there is closed.
        facts: of `tables.canonical_facts`.
    """
    connection.execute(_ENTER, [tenant.id])
    groups = partials.groups(connection, tenant)
    closed = max((group.watermark for group in groups.values()), default=None)
    tables.insert_facts(connection, tenant, facts)
    new = tables.insert_events(connection, tenant, tables.known(events, closed, None))
    taken = events.filter(pa.array([key in new for key in tables.event_keys(events)], pa.bool_()))
    touched = _touched(connection, tenant, closed, facts)
    _write_streamed(connection, tenant, list(groups.values()), taken, touched)
    return len(new)


def materialize(
    tenant: TenantRef,
    views: Sequence[FeatureView],
    timezone: str,
    *,
    until: datetime,
    events: pa.Table,
    facts: pa.Table,
    rebuild: bool = False,
    source: str = "",
) -> Materialized:
    """Bring all views to `until`; what was served besides them is served no more.

    Args:
        events: at least what became known since `since(…)`, of `tables.canonical_events`.
        facts: likewise, of `tables.canonical_facts`.
        rebuild: forget the batches first; `events` and `facts` are then all there is.
        source: what to record as their origin.
    """
    with tenant_transaction(tenant) as connection:
        connection.execute(LOCK, [tenant.id])
        there = partials.groups(connection, tenant)
        if rebuild:
            forget_groups(connection, tenant, there.values())
            connection.execute(_FORGET_FACTS, [tenant.id, until])
            there = {}
        facts = tables.known(facts, None, until)
        tables.insert_facts(connection, tenant, facts)
        closed = max((group.watermark for group in there.values()), default=None)
        touched = _touched(connection, tenant, closed, facts)
        _write_streamed(connection, tenant, list(there.values()), touched.slice(0, 0), touched)
        streamed = tables.streamed_events(connection, tenant)
        work = _Work(connection, tenant, until, events, streamed)
        wanted = layouts(views, tenant.region, timezone)
        groups = {layout: work.group(layout, there.get(layout.key)) for layout in wanted}
        rows = [(v, groups[o].key, groups[o].watermark) for o, some in wanted.items() for v in some]
        old = served(connection, tenant)
        for view in views:
            if view.stream is None:
                before = old.get((view.name, view.fingerprint))
                rows.append((view, "", max(until, before.watermark) if before else until))
        serve(connection, tenant, rows, source)
        kept = {group.key for group in groups.values()}
        forget_groups(connection, tenant, [g for key, g in there.items() if key not in kept])
        _shut(connection, tenant, work, list(groups.values()))
    names = tuple(view.name for view in views)
    return Materialized(tenant.id, until, names, work.states, work.rows + len(facts))


def since(
    connection: Connection, tenant: TenantRef, views: Sequence[FeatureView], timezone: str
) -> datetime | None:
    """From when on a materialization of the views needs rows; None for all there are."""
    groups = partials.groups(connection, tenant)
    there = served(connection, tenant)
    found = [there.get((v.name, v.fingerprint)) for v in views if v.stream is None]
    marks = [one.watermark if one else None for one in found]
    for layout in layouts(views, tenant.region, timezone):
        group = groups.get(layout.key)
        marks.append(group.watermark if group else None)
    return min((m for m in marks if m), default=None) if all(marks) else None


class _Work:
    """One materialization."""

    def __init__(
        self,
        connection: Connection,
        tenant: TenantRef,
        until: datetime,
        events: pa.Table,
        streamed: pa.Table,
    ) -> None:
        self.connection, self.tenant, self.until = connection, tenant, until
        self.events = tables.known(events, None, until)
        self.streamed = streamed
        keys = tables.event_keys(streamed)
        created = streamed["created_timestamp"].to_pylist()
        #: When what was streamed became known, by event key.
        self.created = dict(zip(keys, created, strict=True))
        self.delivered = tables.delivered(self.events, keys, streamed)
        self.rows = self.states = 0

    def group(self, layout: Layout, group: Group | None) -> Group:
        """Bring one group to `until`, if it is not there yet."""
        if group is None:
            group = Group(layout.key, layout, _BEGINNING, ())
            self._stream(group)
        elif group.watermark >= self.until:
            return group
        open_rows = partials.streamed(self.connection, self.tenant, group.key)
        still_open = {row.event for row in open_rows}
        in_a_batch = {
            key
            for key in self.delivered
            if self.created[key] <= group.watermark and key not in still_open
        }
        after = None if group.watermark == _BEGINNING else group.watermark
        new = _without(tables.known(self.events, after, None), in_a_batch)
        folded = [
            row for row in open_rows if row.until <= self.until and row.event not in self.delivered
        ]
        written = partials.write(
            self.connection, self.tenant, group.key, self._batch(layout, new, folded)
        )
        done = {row.event for row in folded} | (self.delivered & still_open)
        partials.forget_streamed(self.connection, self.tenant, group.key, done)
        self.rows = max(self.rows, len(new))
        self.states += written
        batches = (*group.batches, Batch(self.until, written)) if written else group.batches
        group = replace(group, watermark=self.until, batches=batches)
        partials.save_group(self.connection, self.tenant, group)
        return group

    def _stream(self, group: Group) -> None:
        """Give what was streamed a state in a group that is new."""
        facts = tables.facts_of(self.connection, self.tenant, group.layout.lookups, self.streamed)
        rows = partials.streamed_states(group.layout, self.streamed, facts)
        partials.write(self.connection, self.tenant, group.key, rows)

    def _batch(self, layout: Layout, events: pa.Table, folded: Sequence[Row]) -> Iterator[Row]:
        """A state for each entity with new events or with states of streamed ones."""
        waiting: dict[str, list[Row]] = {}
        for row in folded:
            waiting.setdefault(row.entity, []).append(row)
        entities = entities_of(events, layout.join_keys)
        for rows in entities.chunks(_EVENTS_PER_CHUNK):
            part = events.take(pa.array(rows))
            numbers, owner = np.unique(entities.of_event[rows], return_inverse=True)
            keys = entities.keys(numbers)
            facts = tables.facts_of(self.connection, self.tenant, layout.lookups, part)
            found = records_of(layout, part, facts)
            records = Records(layout, owner[found.entity], found.fields, found.words)
            also = [
                row.state._replace(entity=number)
                for number, key in enumerate(keys)
                for row in waiting.pop(key, ())
            ]
            yield from self._folded([records, decode(layout, also)], keys)
        keys = list(waiting)
        states = [r.state._replace(entity=n) for n, key in enumerate(keys) for r in waiting[key]]
        yield from self._folded([decode(layout, states)], keys)

    def _folded(self, parts: Sequence[Records], keys: Sequence[str]) -> Iterator[Row]:
        records = fold(joined(parts), (self.until - _EPOCH) // timedelta(microseconds=1))
        return partials.batch_states(records, keys, self.until)


def _without(events: pa.Table, keys: set[str]) -> pa.Table:
    if not keys:
        return events
    kept = [key not in keys for key in tables.event_keys(events)]
    return events.filter(pa.array(kept, pa.bool_()))


def _touched(
    connection: Connection, tenant: TenantRef, closed: datetime | None, facts: pa.Table
) -> pa.Table:
    """Streamed events, in no batch yet, that new facts may say something about."""
    if not len(facts):
        return tables.canonical_events(tenant, None)
    open_ = tables.known(tables.streamed_events(connection, tenant), closed, None)
    return tables.looking_up(open_, facts)


def _write_streamed(
    connection: Connection,
    tenant: TenantRef,
    groups: Sequence[Group],
    new: pa.Table,
    touched: pa.Table,
) -> None:
    """Give streamed events their states, once more where facts came in that they look up."""
    for group in groups:
        events = new
        if group.layout.lookups and len(touched):
            again = tables.event_keys(touched)
            partials.forget_streamed(connection, tenant, group.key, again)
            events = pa.concat_tables([_without(new, set(again)), touched])
        if not len(events):
            continue
        facts = tables.facts_of(connection, tenant, group.layout.lookups, events)
        rows = partials.streamed_states(group.layout, events, facts)
        partials.write(connection, tenant, group.key, rows)


def _shut(connection: Connection, tenant: TenantRef, work: _Work, groups: Sequence[Group]) -> None:
    """With nobody appending: forget what the lake confirmed, also of what streamed in meanwhile."""
    connection.execute(_SHUT, [tenant.id])
    now = tables.streamed_events(connection, tenant)
    keys = tables.event_keys(now)
    meanwhile = set(keys) - work.created.keys()
    if meanwhile:
        late = tables.delivered(work.events, meanwhile, now)
        for group in groups:
            partials.forget_streamed(connection, tenant, group.key, late)
        work.delivered |= late
    confirmed = now.filter(pa.array([key in work.delivered for key in keys], pa.bool_()))
    ids = [confirmed[name].to_pylist() for name in ("tenant_id", "source", "event_id")]
    forgotten = work.until - min(_UNCONFIRMED, work.until - _BEGINNING)
    connection.execute(_CONFIRM, [tenant.id, tenant.region, forgotten, *ids])
