"""What people may look at: the fleet, one tenant's history, one report.

Airflow does not protect a plugin's routes. All of these ask for a user, and whatever belongs to a
tenant asks whether that user may read the DAG `{tenant}.pipeline`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from include import use_cases
from include.errors import ConfigError, IntegrityError, TenantryError
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import DAG_KINDS, TENANT_ID, dag_id, split_dag_id
from tenantry_pages.markup import Alarm, Link, heading, page, paragraph, table

#: Tenants on a page of the fleet, rows in a table: the rest is a click, or `tenantry why`, away.
TENANTS: Final = 50
ROWS: Final = 50

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE: Final = {
    **_ALWAYS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
}
#: A report's own script runs (Evidently draws with one), but in an origin that is not Airflow's,
#: and it may load nothing.
_REPORT: Final = {
    **_ALWAYS,
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
#: Verdicts that nobody has to look at.
_CALM: Final = ("", "stable", "too_few_rows", "no_model")
_TYPES: Final = {".html": "text/html; charset=utf-8", ".json": "application/json"}

app = FastAPI(
    title="Tenantry reports",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(get_user)],
)


def readable_tenant(tenant_id: str, request: Request, user: GetUserDep) -> TenantConfig:
    """The tenant, for a user who may read its pipeline; 403 before anyone learns if it exists."""
    if not TENANT_ID.fullmatch(tenant_id):
        raise HTTPException(404, f"a tenant id matches {TENANT_ID.pattern}")
    requires_access_dag("GET", param_dag_id=dag_id(tenant_id, "pipeline"))(request, user)
    try:
        return find_tenant(tenants_folder(), tenant_id, use_cases.names())
    except ConfigError:  # its message may name other tenants
        raise HTTPException(
            404, f"no good tenant file of {tenant_id}; see `tenantry tenants check`"
        ) from None


ReadableTenant = Annotated[TenantConfig, Depends(readable_tenant)]


@app.exception_handler(TenantryError)
def told(request: Request, error: TenantryError) -> Response:
    """Postgres is down, say: the message tells a person what to do."""
    return HTMLResponse(page("Tenantry", paragraph(error)), 503, headers=_PAGE)


@app.get("/")
def fleet(user: GetUserDep, after: Annotated[str, Query(max_length=50)] = "") -> Response:
    """The fleet as far as the user may read it, some tenants at a time."""
    from include.pipeline.report import fleet_status

    allowed = get_auth_manager().get_authorized_dag_ids(user=user)
    known = load_fleet(tenants_folder(), use_cases.names()).tenants
    readable = [one for one in known if one > after and dag_id(one, "pipeline") in allowed]
    shown = readable[:TENANTS]
    rows = fleet_status(Fleet({one: known[one] for one in shown}))
    for row in rows:
        del row["link"]
        row["tenant"] = Link(row["tenant"], f"reports/{row['tenant']}")
        if row["drift"] not in _CALM:
            row["drift"] = Alarm(row["drift"])
    parts = [table(rows)]
    if len(readable) > len(shown):
        parts.append(paragraph(Link("more tenants", f"?{urlencode({'after': shown[-1]})}")))
    return HTMLResponse(page("Tenantry: the fleet", *parts), headers=_PAGE)


@app.get("/dag/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def of_dag(dag_id: str) -> Response:
    """The tab on a DAG: leads to its tenant, if it has one."""
    tenant_id, kind = split_dag_id(dag_id)
    if kind in DAG_KINDS and TENANT_ID.fullmatch(tenant_id):
        return RedirectResponse(f"../reports/{tenant_id}", headers=_PAGE)
    text = "This DAG belongs to no tenant, and only tenants have reports."
    return HTMLResponse(page("Reports", paragraph(text)), headers=_PAGE)


@app.get("/reports/{tenant_id}")
def reports(tenant: ReadableTenant) -> Response:
    """The newest reports, then the history of each use case: what `tenantry why` prints."""
    from include.pipeline.report import explain
    from include.storage.lake import Lake

    home = Lake.from_environment().file_path(tenant.ref, "")
    found = {name: explain(tenant, name) for name in tenant.use_cases}
    newest = sorted(_reports(tenant, home, found), key=lambda row: row["as_of"], reverse=True)
    parts = [paragraph(Link("all tenants", "../")), heading("Reports"), table(newest[:ROWS])]
    for use_case, history in found.items():
        parts.append(heading(use_case))
        for name in ("promotions", "retrains", "live_metrics", "incidents"):
            parts.append(heading(name.replace("_", " ").capitalize(), 3))
            parts.append(table(list(islice(reversed(history[name]), ROWS))))
    return HTMLResponse(page(f"{tenant.name} ({tenant.id})", *parts), headers=_PAGE)


@app.get("/reports/{tenant_id}/file")
def file(tenant: ReadableTenant, path: Annotated[str, Query(max_length=500)]) -> Response:
    """One report of the tenant's, confined to an origin of its own."""
    from include.storage.lake import Lake

    lake = Lake.from_environment()
    try:
        target = lake.file_path(tenant.ref, path)
        inside = target.is_relative_to(lake.file_path(tenant.ref, "reports"))
        if not inside or target.suffix not in _TYPES or not target.is_file():
            raise HTTPException(404, f"{tenant.id} has no such report")
    except (IntegrityError, ValueError, OSError, RuntimeError):
        raise HTTPException(404, f"{tenant.id} has no such report") from None
    return FileResponse(target, media_type=_TYPES[target.suffix], headers=_REPORT)


def _reports(
    tenant: TenantConfig, home: Path, found: dict[str, dict[str, list[dict[str, Any]]]]
) -> Iterator[dict[str, Any]]:
    def row(stage: str, use_case: str, as_of: Any, verdict: str, why: Any, path: str) -> Any:
        told = {"as_of": as_of, "stage": stage, "use_case": use_case, "verdict": verdict}
        link = None
        if path:
            relative = Path(path).relative_to(home).as_posix()
            link = Link(
                f"{stage} {use_case}".strip(), f"{tenant.id}/file?{urlencode({'path': relative})}"
            )
        return {**told, "why": why, "report": link}

    for one in next(iter(found.values()))["quality"]:  # the tenant's, whatever the use case
        met = "not met" if one["failed"] else "met"
        why = one["failed"] or f"{one['checks']} checks"
        yield row("quality", "", one["interval_end"], met, why, one["report_path"])
    for use_case, history in found.items():
        for one in history["drift_verdicts"]:
            yield row(
                "drift", use_case, one["as_of"], one["verdict"], one["reasons"], one["report_path"]
            )
