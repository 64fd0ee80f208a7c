"""Moves what became known into batches of partial aggregates: exactly once, in one transaction.

A streamed event has a state of its own in each group until it is in a batch there; so whether it
is in a batch is no matter of clocks. Whoever appends waits only for the very end. A materialization
that is killed leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from include.features.online import delivered, partials, tables
from include.features.online.appending import shut, states
from include.features.online.codec import decode
from include.features.online.folding import fold
from include.features.online.layout import Layout, layouts
from include.features.online.partials import Batch, Group, Row
from include.features.online.records import Records, entities_of, joined, records_of
from include.features.online.served import serve, served
from include.features.views import FeatureView
from include.handoffs import Materialized
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef

#: Events that are turned into records at once: some 200 MB.
_EVENTS_PER_CHUNK: Final = 500_000
#: A streamed event that the lake did not deliver by then is only kept in its batch.
_UNCONFIRMED: Final = timedelta(days=30)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

#: One materialization or compaction of a tenant's at a time.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.online'), hashtext(%s))"


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
        facts = tables.known(facts, None, until)
        if rebuild:
            for key in there:
                partials.forget_batches(connection, tenant, key)
            tables.forget_facts(connection, tenant, until)
            delivered.forget_all(connection, tenant)
        tables.insert_facts(connection, tenant, facts)
        events = tables.known(events, None, until)
        delivered.remember(connection, tenant, events, until)
        work = _Work(connection, tenant, until, events, facts)
        wanted = layouts(views, tenant.region, timezone)
        old = {} if rebuild else there
        groups = {layout: work.group(layout, old.get(layout.key)) for layout in wanted}
        before = served(connection, tenant)
        rows = [(v, groups[o].key, groups[o].watermark) for o, some in wanted.items() for v in some]
        for view in views:
            if view.stream is None:
                one = before.get((view.name, view.fingerprint))
                rows.append((view, "", max(until, one.watermark) if one else until))
        serve(connection, tenant, rows, source)
        unused = there.keys() - {group.key for group in groups.values()}
        work.finish(groups.values(), unused)
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
    return min((mark for mark in marks if mark), default=None) if all(marks) else None


class _Work:
    """One materialization."""

    def __init__(
        self,
        connection: Connection,
        tenant: TenantRef,
        until: datetime,
        events: pa.Table,
        facts: pa.Table,
    ) -> None:
        self._connection, self._tenant, self._until = connection, tenant, until
        self._events = events
        self._streamed = tables.streamed_events(connection, tenant)
        keys = tables.event_keys(self._streamed)
        created = self._streamed["created_timestamp"].to_pylist()
        self._created = dict(zip(keys, created, strict=True))
        #: Keys of streamed events that are among `events`.
        self._delivered = tables.delivered(events, keys, self._streamed)
        self._touched = tables.looking_up(self._streamed, facts)
        #: Group key → keys of streamed events: those in a batch now, those to be stated anew.
        self._done: dict[str, set[str]] = {}
        self._again: dict[str, set[str]] = {}
        self._new: dict[str, Layout] = {}
        self.rows = self.states = 0

    def group(self, layout: Layout, group: Group | None) -> Group:
        """Bring one group to `until`, if it is not there yet."""
        if group is not None:
            touched = tables.known(self._touched, group.watermark, None)
            self._again[layout.key] = set(tables.event_keys(touched)) if layout.lookups else set()
            if group.watermark >= self._until:
                return group
        key = layout.key
        if group is None:
            group = Group(key, layout, _NEVER, ())
            self._new[key] = layout
            waiting = states(self._connection, self._tenant, layout, self._streamed)
        else:
            waiting = self._waiting(group)
        after = None if group.watermark == _NEVER else group.watermark
        still = {row.event for row in waiting}
        in_a_batch = {e for e in self._delivered - still if self._created[e] <= group.watermark}
        new = tables.among(tables.known(self._events, after, None), in_a_batch, keep=False)
        folded = [
            row for row in waiting if row.until <= self._until and row.event not in self._delivered
        ]
        self._done[key] = {row.event for row in folded} | self._delivered
        rows = self._batch(layout, new, folded)
        count = partials.write(self._connection, self._tenant, key, rows)
        self.rows = max(self.rows, len(new))
        self.states += count
        batches = (*group.batches, Batch(self._until, count)) if count else group.batches
        group = replace(group, watermark=self._until, batches=batches)
        partials.save_group(self._connection, self._tenant, group)
        return group

    def _waiting(self, group: Group) -> list[Row]:
        """States of streamed events that are in no batch, made anew where facts came in."""
        found = partials.streamed(self._connection, self._tenant, group.key)
        again = self._again[group.key]
        touched = tables.among(self._streamed, again)
        rows = states(self._connection, self._tenant, group.layout, touched)
        return [row for row in found if row.event not in again] + rows

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
            facts = tables.facts_of(self._connection, self._tenant, layout.lookups, part)
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
        records = fold(joined(parts), (self._until - _EPOCH) // timedelta(microseconds=1))
        return partials.batch_states(records, keys, self._until)

    def finish(self, groups: Iterable[Group], unused: Iterable[str]) -> None:
        """With nobody appending: settle what was streamed, also what came in meanwhile."""
        connection, tenant = self._connection, self._tenant
        shut(connection, tenant)
        now = tables.streamed_events(connection, tenant)
        meanwhile = tables.among(now, self._created.keys(), keep=False)
        late = tables.delivered(self._events, tables.event_keys(meanwhile), meanwhile)
        for group in groups:
            again = self._again.get(group.key, set())
            done = self._done[group.key] | late if group.key in self._done else set()
            if group.key in self._new:
                again = set(tables.event_keys(now))
                partials.forget_all_streamed(connection, tenant, group.key)
            partials.forget_streamed(connection, tenant, group.key, done | again)
            rows = states(connection, tenant, group.layout, tables.among(now, again - done))
            partials.write(connection, tenant, group.key, rows)
        for key in unused:
            partials.forget_group(connection, tenant, key)
        forgotten = self._until - min(_UNCONFIRMED, self._until - _NEVER)
        confirmed = tables.among(now, self._delivered | late)
        tables.forget_events(connection, tenant, confirmed, forgotten)
