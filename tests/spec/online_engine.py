"""The online store as an engine: what it answers at each `as_of` of a spine, one after another.

Before each answer everything known by then was appended, delivered by the lake or both, in some
interleaving with materializations that a seed decides. Copies of what was delivered and happened
lately stream in once more, as if only then known. A correction makes the lake deliver all anew.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.features.online.store import REMEMBERED, OnlineStore
from include.features.spine import AS_OF, Spine
from include.features.views import FeatureService
from include.storage.canonical import REPLACED
from include.storage.versions import counting
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants.namespace import TenantRef
from tests.online_shop import OwnerStore, forget

TENANT = TenantRef("acme", "eu", "pool")
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def compute(
    service: FeatureService,
    spine: Spine,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
    seed: int = 0,
    online: OnlineStore | None = None,
) -> pa.Table:
    """See `Engine.compute`; in Postgres, which is emptied first, or in another empty store."""
    if online is None:
        forget(TENANT)
        online = PostgresOnlineStore()
    service = replace(service, views=tuple(replace(view, ttl=None) for view in service.views))
    rng = random.Random(seed)
    store = OwnerStore(online, TENANT, service, timezone)
    spine.check_serves(service)
    as_of = spine.table[AS_OF].to_pylist()
    parts: list[pa.Table] = []
    rows: list[int] = []
    known = min(as_of, default=_SOME_DAY) - timedelta(hours=rng.randrange(100))
    store.materialize(known, _between(events, None, known), _between(attributes, None, known))
    for at in sorted(set(as_of)):
        _advance(store, known, at, events, attributes, rng)
        known = at
        here = [row for row, instant in enumerate(as_of) if instant == at]
        asked = (
            spine.table.take(here).select(spine.join_keys).to_pydict() if spine.join_keys else {}
        )
        found = store.read(asked, at)
        assert not found.stale, found.stale
        parts.append(found.table if spine.join_keys else _repeated(found.table, len(here)))
        rows += here
    if not parts:
        return store.read({key: [] for key in spine.join_keys}, known).table
    back = sorted(range(len(rows)), key=rows.__getitem__)
    return pa.concat_tables(parts).take(back).combine_chunks()


def _advance(
    store: OwnerStore,
    after: datetime,
    at: datetime,
    events: pa.Table,
    attributes: pa.Table,
    rng: random.Random,
) -> None:
    """Let everything that became known in `(after, at]` reach the store, by either way."""
    stops = sorted(after + (at - after) * rng.random() for _ in range(rng.randrange(3)))
    for stop in (*stops, at):
        new, facts = _between(events, after, stop), _between(attributes, after, stop)
        streams = rng.random() < 0.7
        if streams:
            store.append(new, facts)
        if _corrected(events, after, stop):
            everything = _between(events, None, stop), _between(attributes, None, stop)
            store.materialize(stop, *everything, rebuild=True)
            after = stop
            continue
        if not streams or rng.random() < 0.5:
            kept_back = streams and rng.random() < 0.3
            store.materialize(stop, None if kept_back else new, facts)
            if rng.random() < 0.5:
                lately = _happened_after(new, stop - REMEMBERED)
                store.append(_known_at(lately, stop + timedelta(microseconds=1)))
        after = stop


def _between(table: pa.Table, after: datetime | None, until: datetime) -> pa.Table:
    """What became known in `(after, until]`, as it counts at the end."""
    created = table["created_timestamp"]
    inside = pc.less_equal(created, pa.scalar(until, created.type))
    if after is not None:
        inside = pc.and_(inside, pc.greater(created, pa.scalar(after, created.type)))
    return table.filter(pc.and_(inside, counting(table, until)))


def _corrected(events: pa.Table, after: datetime, until: datetime) -> bool:
    """Whether an event was replaced in `(after, until]`."""
    if REPLACED not in events.column_names:
        return False
    replaced = events[REPLACED]
    then = pc.and_(
        pc.greater(replaced, pa.scalar(after, replaced.type)),
        pc.less_equal(replaced, pa.scalar(until, replaced.type)),
    )
    return bool(pc.any(then).as_py())


def _happened_after(table: pa.Table, at: datetime) -> pa.Table:
    happened = table["event_timestamp"]
    return table.filter(pc.greater(happened, pa.scalar(at, happened.type)))


def _known_at(table: pa.Table, at: datetime) -> pa.Table:
    place = table.column_names.index("created_timestamp")
    known = pa.repeat(pa.scalar(at, table["created_timestamp"].type), len(table))
    return table.set_column(place, table.schema.field(place), known)


def _repeated(table: pa.Table, rows: int) -> pa.Table:
    return table.take([0] * rows)
