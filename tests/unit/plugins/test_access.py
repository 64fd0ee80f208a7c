"""Who may see what of the plugin's pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from include.errors import IsolationError
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet
from tests.fleet import tenant_id
from tests.unit.plugins.visitors import ADMIN, ANALYST, NOBODY, as_user

OWN, OTHER, UNKNOWN = tenant_id(1), tenant_id(2), "tenant-9999"
AT = "/tenantry"


def _addresses(tenant: str) -> list[str]:
    """Every route's address, from the application itself."""
    from fastapi.routing import APIRoute
    from tenantry_pages.routes import app

    assert app.routes
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is not protected by the application"
        assert route.methods == {"GET"}
    paths = [route.path for route in app.routes if isinstance(route, APIRoute)]
    return [
        AT + path.format(tenant_id=tenant, dag_id=f"{tenant}.pipeline") + "?path=reports/page.html"
        for path in paths
    ]


def test_no_route_answers_who_is_not_logged_in(pages: TestClient) -> None:
    """401 everywhere, with no body but the refusal, also for a route added tomorrow."""
    for address in _addresses(OWN):
        answer = pages.get(address)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


def test_no_route_believes_a_forged_token(pages: TestClient) -> None:
    """A token that Airflow's auth manager does not know opens nothing, in a header or a cookie."""
    for address in _addresses(OWN):
        assert pages.get(address, headers=as_user("forged")).status_code == 403
        assert pages.get(address, headers={"Cookie": "_token=forged"}).status_code == 403


@pytest.mark.parametrize("tenant", [OTHER, UNKNOWN])
@pytest.mark.parametrize("user", [ANALYST, NOBODY])
def test_what_is_a_tenants_is_for_readers_of_its_pipeline(
    pages: TestClient, user: str, tenant: str
) -> None:
    """403 on every route but the fleet, the same whether the tenant exists or not."""
    for address in _addresses(tenant):
        if not address.startswith(f"{AT}/?"):
            answer = pages.get(address, headers=as_user(user))
            assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"}), address


def test_a_reader_of_another_dag_of_the_tenant_is_no_reader(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the pipeline that must be readable: `retrain` alone opens the tab, not the reports."""
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setitem(get_auth_manager().readable, NOBODY, {f"{OWN}.retrain"})
    tab = pages.get(f"{AT}/dag/{OWN}.retrain", headers=as_user(NOBODY))
    assert tab.status_code == 307
    answer = pages.get(f"{AT}/reports/{OWN}", headers=as_user(NOBODY))
    assert answer.status_code == 403


def test_the_fleet_of_somebody_who_may_read_nothing_is_empty(pages: TestClient) -> None:
    """No tenant's name is on the page."""
    answer = pages.get(f"{AT}/", headers=as_user(NOBODY))
    assert answer.status_code == 200
    assert "Nothing yet" in answer.text
    assert "tenant-0" not in answer.text


@pytest.mark.parametrize(
    "tenant",
    [
        *("%2e%2e%2f" + OTHER, "A", OWN.upper(), OWN + "%00", OWN + "%0a", "a" * 60, "~", "*"),
        *("%3Cscript%3E", "'; DROP TABLE x; --", "global", "nobody"),
    ],
)
def test_what_is_no_tenant_is_not_found(pages: TestClient, tenant: str) -> None:
    """An id that cannot be one goes no further, and a stranger's names no other tenant."""
    for address in (f"{AT}/reports/{tenant}", f"{AT}/reports/{tenant}/file?path=reports/page.html"):
        answer = pages.get(address, headers=as_user(ADMIN))
        assert answer.status_code in (403, 404)
        assert "tenant-0" not in answer.text
        assert "<script" not in answer.text


def test_a_report_is_confined_to_an_origin_of_its_own(pages: TestClient) -> None:
    """Its script may run, but neither as Airflow's origin nor with anything from elsewhere."""
    answer = pages.get(f"{AT}/reports/{OWN}/file?path=reports/page.html", headers=as_user(ANALYST))
    assert (answer.status_code, answer.text) == (200, f"<script>draw()</script>us/{OWN}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = [part.strip() for part in answer.headers["content-security-policy"].split(";")]
    assert "sandbox allow-scripts" in policy
    assert "default-src 'none'" in policy
    assert "http" not in str(policy)


def test_the_page_around_a_report_loads_it_and_nothing_else(pages: TestClient) -> None:
    """It has no script; its frame may hold what is Airflow's own only."""
    around = pages.get(
        f"{AT}/reports/{OWN}/report?path=reports/page.html", headers=as_user(ANALYST)
    )
    policy = [part.strip() for part in around.headers["content-security-policy"].split(";")]
    assert {"default-src 'none'", "frame-src 'self'"} <= set(policy)
    assert "<script" not in around.text
    assert f'href="../{OWN}"' in around.text
    assert 'src="file?path=reports%2Fpage.html"' in around.text


def test_numbers_are_served_as_json(pages: TestClient) -> None:
    """The other kind of report is data, and confined likewise."""
    answer = pages.get(
        f"{AT}/reports/{OWN}/file?path=reports/numbers.json", headers=as_user(ANALYST)
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")


@pytest.mark.parametrize("route", ["file", "report"])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "reports",
        "reports/",
        "reports/missing.html",
        "page.html",
        "models/page.html",
        "reports/../models/page.html",
        "reports-old/page.html",
        "reports/notes.txt",
        "reports/PAGE.HTML",
        "reports/linked.html",
        "reports/folder.html",
        "reports/loop.html",
        f"../../eu/{OTHER}/reports/page.html",
        f"reports/../../../eu/{OTHER}/reports/page.html",
        f"../{OWN}/../../eu/{OTHER}/reports/page.html",
        "{lake}/eu/" + OTHER + "/reports/page.html",
        "/etc/passwd",
        "reports/page.html%00",
        "reports/%00.html",
        "reports/" + "a" * 300 + ".html",
        "file:///etc/passwd",
        "..%2f..%2feu%2f" + OTHER + "%2freports%2fpage.html",
    ],
)
def test_nothing_but_the_tenants_own_reports_is_served(
    pages: TestClient, lake: Path, path: str, route: str
) -> None:
    """Neither another tenant's report, nor another kind of file, nor through a link to either."""
    own = lake / "us" / OWN
    for folder in ("models", "reports-old", "reports/folder.html"):
        (own / folder).mkdir()
        (own / folder / "page.html").write_text("secret", encoding="utf-8")
    (own / "reports/notes.txt").write_text("secret", encoding="utf-8")
    (own / "reports/linked.html").symlink_to(lake / "eu" / OTHER / "reports/page.html")
    (own / "reports/loop.html").symlink_to(own / "reports/loop.html")
    answer = pages.get(
        f"{AT}/reports/{OWN}/{route}?path={path.format(lake=lake)}", headers=as_user(ADMIN)
    )
    assert (answer.status_code, answer.json()) == (404, {"detail": f"{OWN} has no such report"})


def test_a_path_of_any_length_is_refused_before_it_is_looked_up(pages: TestClient) -> None:
    """An address is not a place to put a novel."""
    address = f"{AT}/reports/{OWN}/file?path=reports/{'a' * 501}.html"
    assert pages.get(address, headers=as_user(ADMIN)).status_code == 422


def test_a_tenant_whose_file_is_bad_has_no_page(pages: TestClient, lake: Path) -> None:
    """The answer says where to look, and nothing of what is in the folder."""
    (lake.parent / "tenants" / f"{OWN}.yaml").write_text("id: [", encoding="utf-8")
    answer = pages.get(f"{AT}/reports/{OWN}", headers=as_user(ANALYST))
    assert answer.status_code == 404
    assert answer.json() == {
        "detail": f"no good tenant file of {OWN}; see `tenantry tenants check`"
    }


def test_a_tenant_whose_data_is_somebody_elses_has_no_page(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the answer say whose it is; the tenants beside it have theirs."""
    asked: list[str] = []

    def check(tenant: TenantConfig) -> None:
        asked.append(tenant.id)
        if tenant.id == OWN:
            raise IsolationError("the data belongs to the file of a neighbour")

    monkeypatch.setattr("include.storage.ownership.check", check)
    refusal = {"detail": f"{OWN} has no reports; see `tenantry tenants check`"}
    reports = [address for address in _addresses(OWN) if f"/reports/{OWN}" in address]
    assert len(reports) >= 3
    for address in reports:
        answer = pages.get(address, headers=as_user(ADMIN))
        assert (answer.status_code, answer.json()) == (404, refusal), address
    assert set(asked) == {OWN}
    theirs = f"{AT}/reports/{OTHER}/file?path=reports/page.html"
    assert pages.get(theirs, headers=as_user(ADMIN)).status_code == 200


def test_the_fleet_leads_to_tenants_and_shows_what_to_look_at(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tenants that the user may read are asked for, a page at a time, in the order of ids."""
    asked: list[tuple[list[str], object]] = []

    def status(fleet: Fleet, stores: object) -> list[dict[str, str]]:
        asked.append((list(fleet.tenants), stores))
        drift = ["stable", "data_loss", ""]
        rows = zip(fleet.tenants, drift, strict=False)
        return [{"tenant": name, "drift": found, "link": "elsewhere"} for name, found in rows]

    monkeypatch.setattr("include.pipeline.report.fleet_status", status)
    monkeypatch.setattr("include.wiring.stores", lambda: "the stores")
    monkeypatch.setattr("tenantry_pages.routes.TENANTS", 2)
    first = pages.get(f"{AT}/", headers=as_user(ADMIN))
    assert f'href="reports/{tenant_id(0)}">{tenant_id(0)}</a>' in first.text
    assert f'href="reports/{tenant_id(1)}">{tenant_id(1)}</a>' in first.text
    assert first.text.count('class="bad"') == 1
    assert '<span class="bad">data_loss</span>' in first.text
    assert "<title>Tenantry: the fleet</title>" in first.text
    assert "elsewhere" not in first.text
    more = re.search(r'<a href="([^"]*)">more tenants</a>', first.text)
    assert more is not None
    last = pages.get(f"{AT}/{more[1]}", headers=as_user(ADMIN))
    assert tenant_id(1) not in last.text
    assert "more tenants" not in last.text
    pages.get(f"{AT}/", headers=as_user(ANALYST))
    everybody = [tenant_id(n) for n in range(3)]
    assert asked == [(part, "the stores") for part in (everybody[:2], everybody[2:], [OWN])]


def test_the_tab_leads_to_the_tenant(pages: TestClient) -> None:
    """Relative, so that it holds wherever Airflow is mounted."""
    for kind in ("pipeline", "retrain"):
        answer = pages.get(f"{AT}/dag/{OWN}.{kind}", headers=as_user(ANALYST))
        assert (answer.status_code, answer.headers["location"]) == (307, f"../reports/{OWN}")
        page = pages.get(f"{AT}/", headers=as_user(NOBODY))
        for header in ("content-security-policy", "cache-control"):
            assert answer.headers.get(header) == page.headers.get(header)


def test_the_tab_on_a_dag_of_no_tenant_says_so(pages: TestClient) -> None:
    """Global models belong to nobody."""
    answer = pages.get(f"{AT}/dag/global.churn", headers=as_user(ADMIN))
    assert answer.status_code == 200
    assert "belongs to no tenant" in answer.text
    assert "<title>Reports</title>" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src")
