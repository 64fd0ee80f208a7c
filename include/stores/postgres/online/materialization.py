"""Batches of partial aggregates: every known event goes into one, exactly once.

Idea: a batch adds the events since the last watermark, per entity, beside the batches that are
there; none of these is read or written again. Its cost follows the new events, not the history.

Invariant: in each group an event is in one batch, or has a state of its own as long as it is known
from the stream alone, or neither where it is still unknown. Which of these holds is read from the
rows and not from clocks: a streamed event has left the stream when its state is gone.

    events of the lake, known in (watermark, until]      ──┐
    states of streamed events, known by `until`,           ├─ fold, per entity ──> one batch
        which the lake has not delivered                 ──┘
    states of streamed events that the lake delivered    ────> dropped: their events are above

Everything is one transaction, so a materialization that is killed leaves nothing behind. Appending
goes on meanwhile; only `finish`, at the very end, holds it up, and settles what came in since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from include.features.online import tables
from include.features.online.codec import decode
from include.features.online.folding import fold
from include.features.online.layout import Layout, layouts
from include.features.online.progress import needed_since, served_from_now
from include.features.online.records import Records, entities_of, joined, records_of
from include.features.views import FeatureView
from include.handoffs import Materialized
from include.storage.postgres import Connection, keyed_transaction, tenant_transaction
from include.stores.postgres.online import arrivals, delivered, partials
from include.stores.postgres.online.appending import shut, states
from include.stores.postgres.online.partials import Batch, Group, Row
from include.stores.postgres.online.served import serve, served
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
    rebuild: bool,
    source: str,
) -> Materialized:
    """Bring all views to `until`; other views are served no more.

    Args:
        events: of `tables.delivered_rows`, as are the facts; see `OnlineStore.materialize`.
    """
    with tenant_transaction(tenant) as connection:
        connection.execute(LOCK, [tenant.id])
        there = partials.groups(connection, tenant)
        facts = tables.known(facts, None, until)
        if rebuild:
            for key in there:
                partials.forget_batches(connection, tenant, key)
            arrivals.forget_facts(connection, tenant, until)
            delivered.forget_all(connection, tenant)
        arrivals.insert_facts(connection, tenant, facts)
        events = tables.known(events, None, until)
        delivered.remember(connection, tenant, events, until)
        work = _Work(connection, tenant, until, events, facts)
        old = {} if rebuild else there
        groups = [
            work.group(layout, old.get(layout.key))
            for layout in layouts(views, tenant.region, timezone)
        ]
        watermarks = {group.key: group.watermark for group in groups}
        before = served(connection, tenant)
        now = served_from_now(watermarks, before, tenant, views, timezone, until, source)
        serve(connection, tenant, now)
        work.finish(groups, there.keys() - watermarks.keys())
    names = tuple(view.name for view in views)
    return Materialized(tenant.id, until, names, work.states, work.rows + len(facts))


def since(tenant: TenantRef, views: Sequence[FeatureView], timezone: str) -> datetime | None:
    """See `OnlineStore.since`."""
    with keyed_transaction(tenant) as connection:
        groups = partials.groups(connection, tenant)
        there = served(connection, tenant)
    watermarks = {key: group.watermark for key, group in groups.items()}
    return needed_since(watermarks, there, tenant, views, timezone)


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
        self._streamed = arrivals.streamed_events(connection, tenant)
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
            numbers, entity_of = np.unique(entities.of_event[rows], return_inverse=True)
            keys = entities.keys(numbers)
            facts = arrivals.facts_of(self._connection, self._tenant, layout.lookups, part)
            found = records_of(layout, part, facts)
            records = Records(layout, entity_of[found.entity], found.fields, found.words)
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
        now = arrivals.streamed_events(connection, tenant)
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
        arrivals.forget_events(connection, tenant, confirmed, forgotten)
