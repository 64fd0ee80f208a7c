"""The online store in Postgres: partial aggregates per entity, and what streamed in since.

`arrivals` and `delivered` hold events as they came, `partials` the states of groups and `served`
the views. `appending`, `materialization` and `compaction` write them, `reading` makes features.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from include.features.online.served import Served
from include.features.online.store import check_instant
from include.features.views import FeatureService, FeatureView
from include.handoffs import Materialized
from include.storage.postgres import keyed_transaction
from include.stores.postgres.online.served import served
from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    import pyarrow as pa

    from include.stores.postgres.online.reading import PostgresReader


class PostgresOnlineStore:
    """The tables `online_…`; what needs arrays is imported by whoever needs more than freshness."""

    def append(
        self,
        tenant: TenantRef,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
    ) -> int:
        """See `OnlineStore.append`."""
        from include.features.online.tables import streamed_rows
        from include.stores.postgres.online.appending import append

        return append(tenant, *streamed_rows(tenant, events, attributes))

    def since(
        self, tenant: TenantRef, views: Sequence[FeatureView], timezone: str
    ) -> datetime | None:
        """See `OnlineStore.since`."""
        from include.stores.postgres.online.materialization import since

        return since(tenant, views, timezone)

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
        """See `OnlineStore.materialize`; compaction follows in a transaction of its own."""
        from include.features.online.tables import delivered_rows
        from include.stores.postgres.online.compaction import compact
        from include.stores.postgres.online.materialization import materialize

        check_instant(until)
        new, facts = delivered_rows(tenant, events, attributes)
        done = materialize(
            tenant,
            views,
            timezone,
            until=until,
            events=new,
            facts=facts,
            rebuild=rebuild,
            source=source,
        )
        compact(tenant)
        return done

    def reader(self, tenant: TenantRef, service: FeatureService) -> PostgresReader:
        """See `OnlineStore.reader`."""
        from include.stores.postgres.online.reading import PostgresReader

        return PostgresReader(tenant, service)

    def freshness(self, tenant: TenantRef) -> list[Served]:
        """See `OnlineStore.freshness`."""
        with keyed_transaction(tenant) as connection:
            return served(connection, tenant)
