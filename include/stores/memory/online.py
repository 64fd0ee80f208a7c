"""The online store in memory: keeps rows, and computes on reading with the reference engine.

That is the meaning of the port: a read sees what the lake delivered and what streamed in besides,
each event once, and the engine leaves out what was not known at the instant that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from include.features import in_memory
from include.features.engine import answer, tenant_zone
from include.features.online.layout import Layout, layouts
from include.features.online.progress import needed_since, served_from_now
from include.features.online.records import entities_of, records_of
from include.features.online.served import Served, unanswered
from include.features.online.store import OnlineFeatures, check_instant
from include.features.online.tables import (
    EVENT,
    FACT,
    FACT_KEY,
    delivered_rows,
    event_keys,
    known,
    streamed_rows,
)
from include.features.outputs import nulls
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.handoffs import Materialized
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.tenants.namespace import TenantRef

_Row = dict[str, Any]
_EVENTS = pa.schema([EVENTS.field(name) for name in EVENT])
_FACTS = pa.schema([ATTRIBUTES.field(name) for name in FACT])


@dataclass
class _Kept:
    """What one tenant's store holds."""

    delivered: dict[str, _Row] = field(default_factory=dict)  #: events from the lake, by their key
    streamed: dict[str, _Row] = field(default_factory=dict)  #: those that it has not delivered yet
    facts: dict[tuple[str, ...], _Row] = field(default_factory=dict)
    watermarks: dict[str, datetime] = field(default_factory=dict)  #: by layout key
    served: list[Served] = field(default_factory=list)
    timezone: str = "UTC"

    def events(self) -> pa.Table:
        """Everything that may count."""
        return _events([*self.delivered.values(), *self.streamed.values()])

    def attributes(self) -> pa.Table:
        """All facts."""
        return pa.Table.from_pylist(list(self.facts.values()), _FACTS)

    def add_facts(self, facts: pa.Table) -> None:
        """Keep facts that are not there yet."""
        for row in facts.to_pylist():
            self.facts.setdefault(tuple(row[name] for name in FACT_KEY), row)

    def watermark_of(self, view: FeatureView) -> datetime | None:
        """Up to when the view is materialized as it is declared."""
        key = (view.name, view.fingerprint)
        return next((s.watermark for s in self.served if (s.view, s.fingerprint) == key), None)


@dataclass
class InMemoryOnlineStore:
    """Keeps rows until the process ends."""

    _kept: dict[TenantRef, _Kept] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def append(
        self,
        tenant: TenantRef,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
    ) -> int:
        """See `OnlineStore.append`."""
        new, facts = streamed_rows(tenant, events, attributes)
        with self._lock:
            kept = self._of(tenant)
            kept.add_facts(facts)
            rows = _by_key(known(new, max(kept.watermarks.values(), default=None), None))
            there = kept.streamed | kept.delivered
            fresh = {key: row for key, row in rows.items() if key not in there}
            kept.streamed |= fresh
        return len(fresh)

    def since(
        self, tenant: TenantRef, views: Sequence[FeatureView], timezone: str
    ) -> datetime | None:
        """See `OnlineStore.since`."""
        kept = self._of(tenant)
        return needed_since(kept.watermarks, kept.served, tenant, views, timezone)

    def materialize(
        self,
        tenant: TenantRef,
        views: Sequence[FeatureView],
        timezone: str,
        until: datetime,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
        *,
        rebuild: bool = False,
        source: str = "",
    ) -> Materialized:
        """See `OnlineStore.materialize`."""
        check_instant(until)
        tenant_zone(timezone)
        delivered, facts = delivered_rows(tenant, events, attributes)
        delivered, facts = known(delivered, None, until), known(facts, None, until)
        with self._lock:
            kept = self._of(tenant)
            if rebuild:
                kept.delivered, kept.watermarks = {}, {}
                later = kept.facts.items()
                kept.facts = {k: row for k, row in later if row["created_timestamp"] > until}
            kept.add_facts(facts)
            after = needed_since(kept.watermarks, kept.served, tenant, views, timezone)
            wanted = layouts(views, tenant.region, timezone)
            rows = _by_key(known(delivered, after, None)) if wanted else {}
            before = {k: row for k, row in kept.streamed.items() if _known_by(row, after)}
            fresh = {k: row for k, row in rows.items() if k not in kept.delivered | before}
            kept.delivered = rows | kept.delivered
            streamed = kept.streamed.items()
            kept.streamed = {k: row for k, row in streamed if k not in kept.delivered}
            batch = fresh | {
                k: row
                for k, row in kept.streamed.items()
                if k not in before and _known_by(row, until)
            }
            events, looked_up = _events([*batch.values()]), kept.attributes()
            entities = sum(_entities(layout, events, looked_up) for layout in wanted)
            marks = kept.watermarks
            kept.watermarks = {o.key: max(until, marks.get(o.key, until)) for o in wanted}
            kept.served = served_from_now(
                kept.watermarks, kept.served, tenant, views, timezone, until, source
            )
            kept.timezone = timezone
        names = tuple(view.name for view in views)
        return Materialized(tenant.id, until, names, entities, len(fresh) + len(facts))

    def reader(self, tenant: TenantRef, service: FeatureService) -> InMemoryReader:
        """See `OnlineStore.reader`."""
        return InMemoryReader(self._of(tenant), service)

    def freshness(self, tenant: TenantRef) -> list[Served]:
        """See `OnlineStore.freshness`."""
        return sorted(self._of(tenant).served, key=lambda view: (view.view, view.fingerprint))

    def _of(self, tenant: TenantRef) -> _Kept:
        return self._kept.setdefault(tenant, _Kept())


class InMemoryReader:
    """Computes from the rows as they are when it is asked."""

    def __init__(self, kept: _Kept, service: FeatureService) -> None:
        self._kept, self._service = kept, service

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """See `Reader.read`."""
        spine, kept = Spine.at(entities, at), self._kept
        spine.check_serves(self._service)
        columns: dict[str, pa.Array] = {}
        stale: dict[str, str] = {}
        fresh: list[FeatureView] = []
        for view in self._service.views:
            reason = unanswered(view, kept.watermark_of(view), at)
            if reason is None:
                fresh.append(view)
            else:
                stale[view.name] = reason
                columns |= nulls(view, len(spine.table))
        if fresh:
            service = FeatureService(self._service.name, tuple(fresh))
            rows = kept.events(), kept.attributes()
            table = in_memory.compute(service, spine, *rows, kept.timezone)
            columns |= {name: table[name] for name in service.columns}
        keys = dict(zip(spine.table.column_names, spine.table.columns, strict=True))
        return OnlineFeatures(answer(self._service, keys, columns), stale)


def _events(rows: list[_Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, _EVENTS)


def _by_key(events: pa.Table) -> dict[str, _Row]:
    return dict(zip(event_keys(events), events.to_pylist(), strict=True))


def _known_by(row: _Row, until: datetime | None) -> bool:
    return until is not None and row["created_timestamp"] <= until


def _entities(layout: Layout, events: pa.Table, facts: pa.Table) -> int:
    """How many entities of the layout's stream the events are about."""
    whose = entities_of(events, layout.join_keys).of_event
    about = whose[records_of(layout, events, facts).entity]
    return len(np.unique(about[about >= 0]))
