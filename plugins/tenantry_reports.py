"""A tenant's reports inside the Airflow UI: a tab on its DAGs, and the fleet in the menu.

Every process that runs a task imports this file, but only the API server ever answers a request.
What the pages need is therefore imported with the first one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

Message = MutableMapping[str, Any]


async def pages(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The ASGI application behind `/tenantry`."""
    from tenantry_pages.routes import app

    await app(scope, receive, send)


class TenantryReports(AirflowPlugin):
    """Addresses are relative to Airflow's base URL, wherever that is."""

    name = "tenantry_reports"
    fastapi_apps: list[Any] = [  # noqa: RUF012  (declared so by Airflow)
        {"name": "Tenantry reports", "app": pages, "url_prefix": "/tenantry"},
    ]
    external_views: list[Any] = [  # noqa: RUF012  (declared so by Airflow)
        {
            "name": "Tenantry",
            "href": "tenantry/",
            "destination": "nav",
            "url_route": "tenantry",
            "nav_top_level": True,
        },
        {
            "name": "Reports",
            "href": "tenantry/dag/{DAG_ID}",
            "destination": "dag",
            "url_route": "reports",
        },
    ]
