"""Reads logged vectors' views from the online store, where it stands at their very instant."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from include.features.online.store import OnlineStore
from include.features.spine import Spine
from include.features.views import FeatureService
from include.tenants.config import TenantConfig


class OnlineVectors:
    """One tenant's views of a service that are served online.

    Events that were streamed in count online before the lake has them, so a difference may also be
    the lake's.
    """

    def __init__(self, tenant: TenantConfig, service: FeatureService, online: OnlineStore) -> None:
        self._tenant, self._online = tenant, online
        self._views = [v for v in service.views if v.ttl is not None]

    def __call__(self, spine: Spine, as_of: datetime) -> tuple[pa.Table, tuple[str, ...]]:
        """The spine's rows with the features of the views that are materialized up to `as_of`.

        Returns:
            The features, and the names of those views: none where the store has moved on.
        """
        if not self._views:
            return pa.table({}), ()
        there = {
            (s.view, s.fingerprint): s.watermark for s in self._online.freshness(self._tenant.ref)
        }
        views = [v for v in self._views if there.get((v.name, v.fingerprint)) == as_of]
        if not views:
            return pa.table({}), ()
        entities = {key: spine.table[key].to_pylist() for key in spine.join_keys}
        service = FeatureService("skew", tuple(views))
        answer = self._online.reader(self._tenant.ref, service).read(entities, as_of)
        return answer.table, tuple(v.name for v in views if v.name not in answer.stale)
