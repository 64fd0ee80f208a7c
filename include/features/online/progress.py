"""How far a store has come: per layout, and from there per view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from include.features.online.layout import layouts
from include.features.online.served import Served
from include.features.views import FeatureView
from include.tenants.namespace import TenantRef


def needed_since(
    watermarks: Mapping[str, datetime],
    served: Sequence[Served],
    tenant: TenantRef,
    views: Sequence[FeatureView],
    timezone: str,
) -> datetime | None:
    """From when on a materialization of the views needs rows; None for all there are.

    Args:
        watermarks: layout key → up to when its records are materialized.
        served: what is served now.
    """
    of_view = {(view.view, view.fingerprint): view.watermark for view in served}
    marks = [of_view.get((v.name, v.fingerprint)) for v in views if v.stream is None]
    marks += [watermarks.get(layout.key) for layout in layouts(views, tenant.region, timezone)]
    return min((mark for mark in marks if mark), default=None) if all(marks) else None


def served_from_now(
    watermarks: Mapping[str, datetime],
    served: Sequence[Served],
    tenant: TenantRef,
    views: Sequence[FeatureView],
    timezone: str,
    until: datetime,
    source: str,
) -> list[Served]:
    """What is served once the views are materialized up to `until`.

    Args:
        watermarks: layout key → up to when its records are materialized by then.
        served: what was served before.
    """
    of_view = {(view.view, view.fingerprint): view.watermark for view in served}
    group_of = {
        view.name: layout.key
        for layout, members in layouts(views, tenant.region, timezone).items()
        for view in members
    }
    now_served = []
    for view in views:
        group = group_of.get(view.name, "")
        before = of_view.get((view.name, view.fingerprint), until)
        watermark = watermarks[group] if group else max(until, before)
        now_served.append(Served(view.name, view.fingerprint, group, watermark, view.ttl, source))
    return now_served
