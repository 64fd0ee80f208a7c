"""The plugin's pages over a real Postgres and a real lake."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import psycopg
import pytest
from starlette.testclient import TestClient

from include.registry.promotions import Promotion
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef
from tests.fleet import tenant_id, write_fleet
from tests.unit.plugins.visitors import ADMIN, ANALYST, as_user, open_pages

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

OWN, OTHER = (TenantRef(tenant_id(1), "us", "pool"), TenantRef(tenant_id(2), "eu", "pool"))
AS_OF = datetime(2024, 3, 4, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>"
#: Each tenant's rows carry its id, so that a page can be searched for a stranger's.
ROWS = """
    INSERT INTO drift_verdicts (tenant_id, use_case, as_of, model_version, verdict, score, details,
        report_path) VALUES (%(id)s, 'churn', %(as_of)s, '7', 'drift', 0.4,
        jsonb_build_object('reasons', jsonb_build_array('4 features of ' || %(id)s, %(bad)s::text)),
        'reports/drift/churn/2024-03-04-v7.json');
    INSERT INTO quality_results (tenant_id, suite, interval_start, interval_end, check_name,
        severity, success, unexpected_count, element_count, observed, report_path)
        VALUES (%(id)s, 'events.orders', %(as_of)s, %(as_of)s, 'amount of ' || %(id)s, 'warn',
        false, 3, 10, '{}', 'reports/quality/2024-03-04/day one.html');
    INSERT INTO retrain_ledger (tenant_id, use_case, as_of, decision, reason, details, state,
        outcome) VALUES (%(id)s, 'churn', %(as_of)s, 'retrain', 'drift of ' || %(id)s, '{}',
        'finished', 'helped ' || %(id)s);
    INSERT INTO incidents (tenant_id, kind, as_of, summary, details)
        VALUES (%(id)s, 'data_loss', %(as_of)s, %(bad)s || %(id)s, '{}');
"""


@pytest.fixture
def pages(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """Two tenants with the same history, and an analyst of the first."""
    monkeypatch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("tenantry"))
    monkeypatch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("TENANTRY_TENANTS", str(write_fleet(tmp_path / "tenants", 3)))
    migrate()
    for tenant in (OWN, OTHER):
        for path in ("drift/churn/2024-03-04-v7.html", "quality/2024-03-04/day one.html"):
            Lake.from_environment().put(tenant, f"reports/{path}", f"{path} {tenant.id}".encode())
        reasons = (f"better for {tenant.id}", HOSTILE)
        evidence = {"metric": "auc", "candidates": [], "incumbent": None}
        PROMOTIONS.record(
            tenant,
            Promotion(
                *(tenant.id, "churn", AS_OF, "scheduled", True, "7", "own", "d", "", reasons),
                evidence,
            ),
        )
        with tenant_transaction(tenant) as connection:
            for statement in ROWS.split(";")[:-1]:
                connection.execute(statement, {"id": tenant.id, "as_of": AS_OF, "bad": HOSTILE})
    every = {f"{tenant.id}.pipeline" for tenant in (OWN, OTHER)}
    yield open_pages(monkeypatch, {ADMIN: every, ANALYST: {f"{OWN.id}.pipeline"}})
    for tenant in (OWN, OTHER):
        with tenant_transaction(tenant) as connection:
            for table in ("drift_verdicts", "quality_results", "retrain_ledger", "incidents"):
                connection.execute(f"DELETE FROM {table}")
    with psycopg.connect(postgres.dsn("tenantry")) as owner:  # a tenant cannot
        owner.execute("TRUNCATE tenantry.promotions")


def _links(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'href="([^"]*)"', page)]


def test_a_tenants_page_tells_its_history_and_no_other(pages: TestClient) -> None:
    """Reports, promotions with reasons, retrains and incidents, of this tenant alone."""
    answer = pages.get(f"/tenantry/reports/{OWN.id}", headers=as_user(ANALYST))
    assert answer.status_code == 200
    for told in (
        *("4 features of", "amount of", "drift of", "helped", "better for"),
        html.escape(HOSTILE),
    ):
        assert told in answer.text
    assert "promoted 7" in answer.text
    assert OWN.id in answer.text
    assert OTHER.id not in answer.text


def test_hostile_values_stay_text(pages: TestClient) -> None:
    """Whatever a ledger holds, the page has no element that the template did not write."""
    for address in (f"/tenantry/reports/{OWN.id}", "/tenantry/"):
        answer = pages.get(address, headers=as_user(ADMIN))
        assert answer.status_code == 200
        assert not re.search(r"<(script|img|iframe|object|form|link|base)\b", answer.text)
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_every_report_on_the_page_opens(pages: TestClient) -> None:
    """A link is relative to the page, whatever is in a report's name; the report stands in a frame
    below a link back."""
    at, headers = f"/tenantry/reports/{OWN.id}", as_user(ANALYST)
    answer = pages.get(at, headers=headers)
    links = [link for link in _links(answer.text) if "/report?" in link]
    assert len(links) == 2
    texts = []
    for link in links:
        around = pages.get(f"/tenantry/reports/{link}", headers=headers)
        assert around.status_code == 200
        assert "frame-src 'self'" in around.headers["content-security-policy"]
        (back,) = _links(around.text)
        assert urljoin(f"/tenantry/reports/{link}", back) == at
        (inside,) = re.findall(r'<iframe [^>]*src="([^"]*)"', around.text)
        framed = urljoin(f"/tenantry/reports/{link}", html.unescape(inside))
        texts.append(pages.get(framed, headers=headers).text)
    assert sorted(texts) == [
        f"drift/churn/2024-03-04-v7.html {OWN.id}",
        f"quality/2024-03-04/day one.html {OWN.id}",
    ]


def test_the_fleet_is_limited_to_what_the_user_may_read(pages: TestClient) -> None:
    """The analyst finds one tenant, the admin both; each leads to its page."""
    rows = {user: pages.get("/tenantry/", headers=as_user(user)).text for user in (ANALYST, ADMIN)}
    assert set(_links(rows[ANALYST])) == {f"reports/{OWN.id}"}
    assert OTHER.id not in rows[ANALYST]
    assert set(_links(rows[ADMIN])) == {f"reports/{OWN.id}", f"reports/{OTHER.id}"}
    assert f"03-04 helped {OWN.id}" in rows[ANALYST]
    assert "drift, data_loss" in rows[ANALYST]


def test_a_large_fleet_comes_in_pages(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link at the end leads on, and the last page has none."""
    monkeypatch.setattr("tenantry_pages.routes.TENANTS", 1)
    first = pages.get("/tenantry/", headers=as_user(ADMIN)).text
    *_, more = _links(first)
    assert OTHER.id not in first
    second = pages.get(f"/tenantry/{more}", headers=as_user(ADMIN)).text
    assert set(_links(second)) == {f"reports/{OTHER.id}"}


def test_a_database_that_does_not_answer_is_said_so(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and what to do, on the fleet's page and on the tenant's."""
    with monkeypatch.context() as away:
        away.setenv("TENANTRY_DATABASE_URL", "postgresql://tenantry_app@127.0.0.1:1/tenantry")
        for address in ("/tenantry/", f"/tenantry/reports/{OWN.id}"):
            answer = pages.get(address, headers=as_user(ADMIN))
            assert answer.status_code == 503
            assert "does not answer" in answer.text
            assert "make up" in answer.text
