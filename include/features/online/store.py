"""The online store: features of now, for one entity or many, from one tenant's partial aggregates.

`materialize` moves what the lake knows into partial aggregates, `append` takes what streams in
before the lake has it, `read` merges both. Read at an instant it gives what the offline engines
give as of that instant. Nothing is computed from the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from include.errors import ConfigError
from include.features.engine import tenant_zone
from include.features.online import materialize as batches
from include.features.online import served, tables
from include.features.online.appending import append
from include.features.online.compaction import compact
from include.features.online.reading import OnlineFeatures, Reader
from include.features.online.served import Served
from include.features.views import FeatureService
from include.handoffs import Materialized
from include.storage.postgres import keyed_transaction
from include.tenants.namespace import TenantRef, global_owner, is_global


class OnlineStore:
    """One tenant's online features of one service.

    Views with scope `shared` are read from what `pool_store` of the tenant's region materialized;
    a tenant's own store never writes there.
    """

    def __init__(self, tenant: TenantRef, service: FeatureService, timezone: str) -> None:
        tenant_zone(timezone)
        self._tenant = tenant
        self._timezone = timezone
        scope = "shared" if is_global(tenant.id) else "tenant"
        self._views = [view for view in service.views if view.scope == scope]
        self._reader = Reader(tenant, service)

    def append(self, events: pa.Table | None = None, attributes: pa.Table | None = None) -> int:
        """Take canonical rows that streamed in; returns how many events are new.

        Appending again changes nothing, and neither does a copy of what the lake has delivered, if
        that was within `delivered.REMEMBERED` before the watermark or the copy says that it was
        known by then. An event created at or before the watermark is not taken, as that batch is
        closed.

        Raises:
            QualityError: Postgres cannot keep a row; nothing was taken.
        """
        new = tables.canonical_events(self._tenant, events)
        facts = tables.canonical_facts(self._tenant, attributes)
        tables.check_events(new)
        tables.check_facts(facts)
        with keyed_transaction(self._tenant) as connection:
            return append(connection, self._tenant, new, facts)

    def since(self) -> datetime | None:
        """From when on `materialize` needs rows; None where it needs all of history."""
        with keyed_transaction(self._tenant) as connection:
            return batches.since(connection, self._tenant, self._views, self._timezone)

    def materialize(
        self,
        until: datetime,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
        *,
        rebuild: bool = False,
        source: str = "",
    ) -> Materialized:
        """Fold what was known by `until` into partial aggregates; again changes nothing.

        The service's views are served from then on, and no others of this tenant.

        Args:
            events: canonical rows, at least those that became known after `since()`. More may be
                given, and what was appended need not be.
            attributes: likewise.
            rebuild: forget what is there; the tables then hold all there is.
            source: where the tables come from, for `freshness`.

        Raises:
            QualityError: Postgres cannot keep a row; nothing was changed.
        """
        if until.utcoffset() is None:
            raise ConfigError(f"until must be an aware datetime, got {until!r}")
        new = tables.canonical_events(self._tenant, events)
        facts = tables.canonical_facts(self._tenant, attributes)
        tables.check_entities(new)
        tables.check_facts(facts)
        done = batches.materialize(
            self._tenant,
            self._views,
            self._timezone,
            until=until,
            events=new,
            facts=facts,
            rebuild=rebuild,
            source=source,
        )
        compact(self._tenant)
        return done

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """Features of the entities at an instant; see `Reader.read`."""
        return self._reader.read(entities, at)

    def freshness(self) -> list[Served]:
        """What the store serves of this tenant, and up to when each view is materialized."""
        return served.freshness(self._tenant)


def pool_store(region: str, service: FeatureService) -> OnlineStore:
    """The store of the shared views that the region's consenting tenants fill together."""
    return OnlineStore(global_owner(region), service, "UTC")
