"""Fewer batches: the newest are made one, so that an entity is a few rows and work is amortized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final

from psycopg.rows import DictRow

from include.features.online.codec import EntityState, decode
from include.features.online.folding import fold
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres.online import partials
from include.stores.postgres.online.materialization import LOCK
from include.stores.postgres.online.partials import Batch, Group, Row
from include.tenants.namespace import TenantRef

#: Batches beyond which the newest are merged.
MOST_BATCHES: Final = 8
_STATES_PER_CHUNK: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SELECT: Final = """
    SELECT entity_key, fields, words, ends FROM online_partials
    WHERE tenant_id = %s AND group_key = %s AND until = ANY(%s) AND event_key = ''
    ORDER BY entity_key
"""
_DELETE: Final = """
    DELETE FROM online_partials
    WHERE tenant_id = %s AND group_key = %s AND until = ANY(%s) AND event_key = ''
"""


def compact(tenant: TenantRef, most: int = MOST_BATCHES) -> int:
    """Merge batches of every group that has more than `most`; returns how many groups had."""
    with tenant_transaction(tenant) as connection:
        connection.execute(LOCK, [tenant.id])
        many = [g for g in partials.groups(connection, tenant).values() if len(g.batches) > most]
        for group in many:
            _merge(connection, tenant, group, merged(group.batches))
    return len(many)


def merged(batches: Sequence[Batch]) -> int:
    """How many of the newest batches to make one.

    As many as leave every other one larger than all that are newer. So a row is written again
    only when its batch about doubles, log2(n) times in all.
    """
    sizes = [batch.rows for batch in batches]
    kept = 0
    while kept < len(sizes) - 2 and sizes[kept] > sum(sizes[kept + 1 :]):
        kept += 1
    return len(sizes) - kept


def _merge(connection: Connection, tenant: TenantRef, group: Group, count: int) -> None:
    newest = group.batches[-count:]
    which = [tenant.id, group.key, [batch.until for batch in newest]]
    with connection.cursor("compaction", binary=True) as cursor:
        cursor.itersize = _STATES_PER_CHUNK
        cursor.execute(_SELECT, which)  # sees the rows as they are now
        connection.execute(_DELETE, which)
        rows = partials.write(connection, tenant, group.key, _folded(cursor, group, newest[-1]))
    batches = (*group.batches[:-count], Batch(newest[-1].until, rows))
    partials.save_group(connection, tenant, replace(group, batches=batches))


def _folded(rows: Iterable[DictRow], group: Group, newest: Batch) -> Iterator[Row]:
    until = (group.watermark - _EPOCH) // timedelta(microseconds=1)
    keys: list[str] = []
    states: list[EntityState] = []
    for key, some in groupby(rows, itemgetter("entity_key")):
        if len(states) >= _STATES_PER_CHUNK:
            records = fold(decode(group.layout, states), until)
            yield from partials.batch_states(records, keys, newest.until)
            keys, states = [], []
        states += [EntityState(len(keys), row["fields"], row["words"], row["ends"]) for row in some]
        keys.append(key)
    records = fold(decode(group.layout, states), until)
    yield from partials.batch_states(records, keys, newest.until)
