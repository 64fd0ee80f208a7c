"""What people may look at: the fleet, one tenant's history, one report.

Airflow does not protect a plugin's routes. All of these ask for a user, and whatever belongs to a
tenant asks whether that user may read the DAG `{tenant}.pipeline`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from include import use_cases
from include.errors import ConfigError, IntegrityError, IsolationError, TenantryError
from include.pages import Alarm, Link, render
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import DAG_KINDS, TENANT_ID, dag_id, split_dag_id
from include.wall_clock import localised

#: Tenants on a page of the fleet, rows in a table: the rest is a click, or `tenantry why`, away.
TENANTS: Final = 50
ROWS: Final = 50
#: What a tenant's page tells of each use case.
LEDGERS: Final = ("promotions", "retrains", "live_metrics", "incidents")

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
#: A page around a report, which is the only thing that it may load.
_FRAME: Final = {
    **_PAGE,
    "Content-Security-Policy": f"{_PAGE['Content-Security-Policy']}; frame-src 'self'",
}
#: A page that the browser asks for again.
_AGAIN: Final = {**_PAGE, "Refresh": "5"}
#: A report's own script runs (Evidently draws with one), but in an origin that is not Airflow's,
#: and it may load nothing.
_REPORT: Final = {
    **_ALWAYS,
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
#: Verdicts that nobody has to look at.
_CALM: Final = ("", "stable", "too_few_rows", "no_model", "unjudged")
_TYPES: Final = {".html": "text/html; charset=utf-8", ".json": "application/json"}

#: Reports of drift, within a tenant's part of the lake.
_DRIFT: Final = "reports/drift"
#: A page takes some five seconds, and more where a machine is busy.
_DRAW_SECONDS: Final = 300
_drawing: Final = Lock()

log = logging.getLogger(__name__)
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
    from include.storage import ownership

    try:
        tenant = find_tenant(tenants_folder(), tenant_id, use_cases.names())
        ownership.check(tenant)
        return tenant
    except IsolationError:  # there is data under the id, and it is somebody else's
        raise HTTPException(
            404, f"{tenant_id} has no reports; see `tenantry tenants check`"
        ) from None
    except ConfigError:  # its message may name other tenants
        raise HTTPException(
            404, f"no good tenant file of {tenant_id}; see `tenantry tenants check`"
        ) from None


ReadableTenant = Annotated[TenantConfig, Depends(readable_tenant)]


@app.exception_handler(TenantryError)
def told(request: Request, error: TenantryError) -> Response:
    """Postgres is down, say: the message tells a person what to do."""
    return _page("message", title="Tenantry", message=error, status=503)


@app.get("/")
def fleet(user: GetUserDep, after: Annotated[str, Query(max_length=50)] = "") -> Response:
    """The fleet as far as the user may read it, some tenants at a time."""
    from include import wiring
    from include.pipeline.report import fleet_status
    from include.storage import ownership

    allowed = get_auth_manager().get_authorized_dag_ids(user=user)
    everybody = load_fleet(tenants_folder(), use_cases.names()).tenants
    known = {one.id: one for one in ownership.admitted(everybody.values())}
    readable = [one for one in known if one > after and dag_id(one, "pipeline") in allowed]
    shown = readable[:TENANTS]
    rows = fleet_status(Fleet({one: known[one] for one in shown}), wiring.stores())
    for row in rows:
        del row["link"]
        row["tenant"] = Link(row["tenant"], f"reports/{row['tenant']}")
        if row["drift"] not in _CALM:
            row["drift"] = Alarm(row["drift"])
    more = f"?{urlencode({'after': shown[-1]})}" if len(readable) > len(shown) else ""
    return _page("fleet", title="Tenantry: the fleet", tenants=rows, more=more)


@app.get("/dag/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def of_dag(dag_id: str) -> Response:
    """The tab on a DAG: leads to its tenant, if it has one."""
    tenant_id, kind = split_dag_id(dag_id)
    if kind in DAG_KINDS and TENANT_ID.fullmatch(tenant_id):
        return RedirectResponse(f"../reports/{tenant_id}", headers=_PAGE)
    text = "This DAG belongs to no tenant, and only tenants have reports."
    return _page("message", title="Reports", message=text)


@app.get("/reports/{tenant_id}")
def reports(tenant: ReadableTenant) -> Response:
    """The newest reports, then the history of each use case: what `tenantry why` prints."""
    from include import wiring
    from include.pipeline.report import explain

    home, rows = wiring.lake_files().file_path(tenant.ref, ""), wiring.stores()
    found = {name: explain(tenant, name, rows) for name in tenant.use_cases}
    zone = tenant.timezone
    newest = sorted(_reports(tenant, home, found), key=lambda row: row["as_of"], reverse=True)
    ledgers = {
        use_case: {name: list(islice(reversed(history[name]), ROWS)) for name in LEDGERS}
        for use_case, history in found.items()
    }
    return _page(
        "history",
        title=_title(tenant),
        reports=localised(newest[:ROWS], zone),
        use_cases=localised(ledgers, zone),
    )


@app.get("/reports/{tenant_id}/report")
def report(tenant: ReadableTenant, path: Annotated[str, Query(max_length=500)]) -> Response:
    """One report of the tenant's with a way back; the frame it stands in has no session."""
    drawn = _report_file(tenant, path).is_file()
    about: dict[str, Any] = {"tenant": tenant.id, "path": path, "drawn": drawn}
    return _page("report_frame", headers=_FRAME, title=_title(tenant), **about)


@app.get("/reports/{tenant_id}/file")
def file(tenant: ReadableTenant, path: Annotated[str, Query(max_length=500)]) -> Response:
    """One report of the tenant's, confined to an origin of its own; drawn if nobody has yet."""
    target = _report_file(tenant, path)
    if not target.is_file() and not _draw(tenant, target):
        text = "Another page is being drawn; this one is tried again in a few seconds."
        return _page("message", title="Reports", message=text, headers=_AGAIN)
    return FileResponse(target, media_type=_TYPES[target.suffix], headers=_REPORT)


def _page(
    template: str, *, status: int = 200, headers: Mapping[str, str] = _PAGE, **values: object
) -> Response:
    return HTMLResponse(render(f"{template}.html.jinja", **values), status, headers=headers)


def _title(tenant: TenantConfig) -> str:
    return f"{tenant.name} ({tenant.id})"


def _report_file(tenant: TenantConfig, path: str) -> Path:
    """Where one of the tenant's reports lies, or will once it is drawn; 404 for what is none."""
    from include import wiring

    lake = wiring.lake_files()
    try:
        target = lake.file_path(tenant.ref, path)
        inside = target.is_relative_to(lake.file_path(tenant.ref, "reports"))
        there = target.is_file() or _to_be_drawn(target, lake.file_path(tenant.ref, _DRIFT))
        if not inside or target.suffix not in _TYPES or not there:
            raise HTTPException(404, f"{tenant.id} has no such report")
    except (IntegrityError, ValueError, OSError, RuntimeError):
        raise HTTPException(404, f"{tenant.id} has no such report") from None
    return target


def _to_be_drawn(target: Path, drift: Path) -> bool:
    """Whether it is the page of a drift verdict whose figures are there."""
    figures = target.with_suffix(".json")
    return target.suffix == ".html" and target.is_relative_to(drift) and figures.is_file()


def _draw(tenant: TenantConfig, page: Path) -> bool:
    """Draw a page in a process of its own, one at a time: the server has to stay small and quick.

    Returns:
        False where another one is being drawn: no request waits, as tasks report to this server.
    Raises:
        HTTPException: it cannot be drawn any more; the log says why.
    """
    from include import wiring

    home = wiring.lake_files().file_path(tenant.ref, "")
    figures = page.with_suffix(".json").relative_to(home)
    command = [sys.executable, "-m", "include.pipeline.drift_pages"]
    if not _drawing.acquire(blocking=False):
        return False
    try:
        done = subprocess.run(
            [*command, tenant.id, figures.parent.name, str(figures)],
            capture_output=True,
            text=True,
            timeout=_DRAW_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HTTPException(504, f"not drawn within {_DRAW_SECONDS} s; try again later") from None
    finally:
        _drawing.release()
    if done.returncode:
        log.error("%s: %s cannot be drawn: %s", tenant.id, page.name, done.stderr)
        raise HTTPException(500, "this page cannot be drawn; `tenantry report` says why")
    return True


def _reports(
    tenant: TenantConfig, home: Path, found: dict[str, dict[str, list[dict[str, Any]]]]
) -> Iterator[dict[str, Any]]:
    def row(stage: str, use_case: str, as_of: Any, verdict: str, why: Any, path: str) -> Any:
        told = {"as_of": as_of, "stage": stage, "use_case": use_case, "verdict": verdict}
        link = None
        if path:
            relative = Path(path).relative_to(home).as_posix()
            link = Link(
                f"{stage} {use_case}".strip(), f"{tenant.id}/report?{urlencode({'path': relative})}"
            )
        return {**told, "why": why, "report": link}

    for one in next(iter(found.values()))["quality"]:  # the tenant's, whatever the use case
        met = "not met" if one["failed"] else "met"
        why = one["failed"] or f"{one['checks']} checks"
        yield row("quality", "", one["interval_end"], met, why, one["report_path"])
    for use_case, history in found.items():
        for one in history["drift_verdicts"]:
            page = one["report_path"] and str(Path(one["report_path"]).with_suffix(".html"))
            yield row("drift", use_case, one["as_of"], one["verdict"], one["reasons"], page)
