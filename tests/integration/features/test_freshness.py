"""`tenantry features freshness`, from what the online store recorded."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include import cli
from include.features.services import CHURN_FEATURES
from include.runtime.postgres import Postgres
from include.storage import ownership
from include.storage.migrate import migrate
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants import loader
from tests.generated import Shop, write

pytestmark = pytest.mark.integration

UNTIL = datetime(2024, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def tenants(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tenants, of which one is materialized, and the migrated database."""
    monkeypatch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("postgres"))
    monkeypatch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path / "tenants"))
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    migrate()
    for name in ("fresh-one", "fresh-two"):
        shop = Shop(name, customers=1, first=date(2024, 1, 1), last=date(2024, 1, 2))
        write(shop, tmp_path, tmp_path / "tenants")
    tenant = loader.load_tenant(
        tmp_path / "tenants" / "fresh-one.yaml", frozenset({"churn", "recommendation"})
    )
    ownership.claim(tenant, actor="a-run")
    PostgresOnlineStore().materialize(tenant.ref, CHURN_FEATURES.views, "UTC", UNTIL)
    return tmp_path / "tenants"


def states(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[tuple[str, str], str]:
    """What the command says of each tenant's views."""
    monkeypatch.setattr("sys.argv", ["tenantry", "features", "freshness", "--json", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    rows = json.loads(capsys.readouterr().out)
    return {(row["tenant"], row["view"]): row["state"] for row in rows}


def test_freshness_is_that_of_the_instant(
    tenants: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fresh within the TTL, null after it; what nobody materialized is told for every tenant."""
    found = states(monkeypatch, capsys, "--at", (UNTIL + DAY).isoformat())
    assert found["fresh-one", "spend"] == "fresh"
    assert found["fresh-one", "item_price"] == "never materialized: reads as null"
    assert found["fresh-two", "spend"] == "never materialized: reads as null"
    assert ("fresh-one", "user_item") not in found
    later = states(monkeypatch, capsys, "fresh-one", "--at", (UNTIL + 9 * DAY).isoformat())
    assert later["fresh-one", "spend"] == "past its TTL: reads as null"
    assert {tenant for tenant, _ in later} == {"fresh-one"}
