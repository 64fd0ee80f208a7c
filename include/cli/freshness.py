"""How fresh the views are that tenants have online."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from include import use_cases
from include.errors import UnavailableError
from include.features.description.wording import duration_words
from include.features.online.served import Served
from include.features.online.store import OnlineStore
from include.features.views import FeatureView
from include.tenants.config import TenantConfig


def freshness(
    tenants: Sequence[TenantConfig], at: datetime, online: OnlineStore
) -> list[dict[str, Any]]:
    """One row per tenant and view that its use cases read and that has a TTL.

    A tenant whose database does not answer says so in its rows.

    Raises:
        UnavailableError: not one tenant's database answers.
    """
    rows: list[dict[str, Any]] = []
    errors: list[UnavailableError] = []
    for tenant in tenants:
        views = online_views(tenant)
        try:
            served: list[Served] | None = _served(tenant, views, online)
        except UnavailableError as error:
            errors.append(error)
            served = None
        rows += ({"tenant": tenant.id, **judged(view, served, at)} for view in views)
    if errors and len(errors) == len(tenants):
        raise errors[0]
    return rows


def online_views(tenant: TenantConfig) -> list[FeatureView]:
    """The views that the tenant's use cases read and that are served online, each once."""
    read = [view for name in tenant.use_cases for view in use_cases.get(name).features.views]
    return list({view.name: view for view in read if view.ttl is not None}.values())


def judged(view: FeatureView, served: Sequence[Served] | None, at: datetime) -> dict[str, Any]:
    """What the store has of a view; `served` of None is a store that does not answer."""
    of_view = [stored for stored in served or () if stored.view == view.name]
    # The view as it is declared now, where there are several; then the newest.
    of_view.sort(key=lambda stored: (stored.fingerprint == view.fingerprint, stored.watermark))
    newest = of_view[-1] if of_view else None
    return {
        "view": view.name,
        "watermark": newest and newest.watermark,
        "age": newest and str(timedelta(seconds=(at - newest.watermark) // timedelta(seconds=1))),
        "ttl": view.ttl and duration_words(view.ttl),
        "state": "unavailable" if served is None else _state(view, newest, at),
    }


def _state(view: FeatureView, newest: Served | None, at: datetime) -> str:
    if newest is None:
        return "never materialized: reads as null"
    if newest.fingerprint != view.fingerprint:
        return f"of declaration {newest.fingerprint}: reads as null"
    return "past its TTL: reads as null" if newest.stale(at) else "fresh"


def _served(
    tenant: TenantConfig, views: Sequence[FeatureView], online: OnlineStore
) -> list[Served]:
    return online.freshness(tenant.ref) if views else []
