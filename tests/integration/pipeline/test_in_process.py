"""Whole runs over the real Postgres and MLflow: what they leave, and that they leave it once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import end_state
import pyarrow.parquet as pq
import pytest
from generated import Shop
from three_weeks import (
    NEIGHBOURS,
    POOL,
    POOLED,
    REFUSING,
    SHOPS,
    SILO,
    SPOILED,
    WEEKS,
    Fleet,
    train_global,
)

from include import cli, use_cases, wiring
from include.errors import ConfigError, QualityError
from include.monitoring.drift_page import page_of
from include.monitoring.drift_records import DriftVerdict
from include.pipeline import runs
from include.pipeline.report import fleet_status
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.retrains import PostgresRetrains
from include.tenants.loader import load_fleet
from include.tenants.namespace import GLOBAL, TenantRef, database, lake_prefix
from tests.integration.pipeline.conftest import Command
from tests.unit.plugins.visitors import ANALYST, as_user, open_pages

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
RETRAINS: Final = PostgresRetrains()


def _rows(fleet: Fleet, shop: Shop, query: str) -> list[dict[str, Any]]:
    with tenant_transaction(fleet.tenant(shop).ref) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload]


def _state(fleet: Fleet) -> dict[str, Any]:
    """Tables, registry, and the lake byte by byte."""
    lake = end_state.files(fleet.here.state.lake)
    return {**fleet.here.end_state(), **{f"bytes: {path}": one for path, one in lake.items()}}


def _without_runs(state: dict[str, Any]) -> dict[str, Any]:
    """Without the registry of runs: it says which table version the newest run of a stage read."""
    return {key: value for key, value in state.items() if "stage_runs" not in key}


def test_every_interval_left_its_rows(fleet: Fleet) -> None:
    """Each week has a slice, checks, predictions of one version, a verdict and a decision."""
    for shop in (POOL, SILO):
        for table, instant in (
            ("slices", "interval_end"),
            ("quality_results", "interval_end"),
            ("predictions", "as_of"),
            ("drift_verdicts", "as_of"),
            ("retrain_ledger", "as_of"),
        ):
            query = f"SELECT DISTINCT {instant} AS at FROM {table}"
            assert {row["at"] for row in _rows(fleet, shop, query)} >= set(WEEKS), table
        scored = _rows(
            fleet,
            shop,
            "SELECT use_case, as_of, count(*) AS rows, count(DISTINCT model_version) AS versions, "
            "count(DISTINCT entity_id) AS entities, min(feature_fingerprint) <> '' AS known "
            "FROM predictions GROUP BY use_case, as_of",
        )
        assert all(row["versions"] == 1 and row["known"] for row in scored)
        churn = [row for row in scored if row["use_case"] == "churn"]
        assert all(row["rows"] == row["entities"] > 100 for row in churn)
    ranking = "SELECT DISTINCT rank FROM predictions WHERE use_case = 'recommendation'"
    assert {row["rank"] for row in _rows(fleet, POOL, ranking)} == set(range(1, 11))


def test_history_and_weeks_are_all_there(fleet: Fleet) -> None:
    """What the lake holds as accepted is every line the shop's file has up to the last week."""
    lake = Lake(fleet.here.state.lake)
    lines = (fleet.here.state.home / "data" / POOL.id / "orders.csv").read_text().splitlines()[1:]
    sent = {(o, n) for o, n, at, *_ in (line.split(",") for line in lines) if at < "2024-07-15"}
    assert lake.version(fleet.tenant(POOL).ref, "events").rows == len(sent)


def test_the_same_interval_again_changes_nothing(fleet: Fleet) -> None:
    """Every file of the lake and every row is the same after a rerun; no version is added."""
    fleet.run(POOL, WEEKS[2])
    before = _state(fleet)
    for shop in (POOL, SILO):
        fleet.run(shop, WEEKS[2])
    train_global("churn", POOLED)
    assert end_state.differences(before, _state(fleet)) == []


def test_an_earlier_interval_again_changes_nothing_of_it(fleet: Fleet) -> None:
    """With later weeks loaded and later versions promoted, the first week's rerun ends as it did:
    scored by the version that served then, trained no second time."""
    before = _state(fleet)
    for shop in (POOL, SILO):
        for week in (WEEKS[1], WEEKS[0]):
            fleet.run(shop, week)
    assert end_state.differences(_without_runs(before), _without_runs(_state(fleet))) == []


def test_a_tenants_rows_stand_in_its_own_database_only(fleet: Fleet) -> None:
    """No row of one tenant names another tenant or one of its customers, items or orders."""
    for name in end_state.databases(fleet.here.server):
        for table, rows in end_state.tables(fleet.here.server.dsn(name)).items():
            for row in rows:
                named = [shop for shop in (*SHOPS, *NEIGHBOURS) if shop.id in row]
                if row.startswith("('global',"):  # of its members, see below
                    continue
                assert len(named) == 1, (table, row[:300])
                assert database(fleet.tenant(named[0]).ref) == name


def test_a_tenants_files_name_nobody_else(fleet: Fleet) -> None:
    """Neither path nor content of a file in a tenant's folder holds another one's id."""
    for shop in SHOPS:
        home = fleet.here.state.lake / lake_prefix(fleet.tenant(shop).ref)
        paths = [path for path in home.rglob("*") if path.is_file()]
        assert len(paths) > 10
        for path in paths:
            content = f"{path.relative_to(home)} {_text(path)}"
            for other in (*SHOPS, *NEIGHBOURS):
                assert other == shop or other.id not in content, path


def test_a_tenants_workspace_names_nobody_else(fleet: Fleet) -> None:
    """Versions, aliases and runs in a workspace are of its own tenant."""
    seen = set()
    for rows in end_state.registry(fleet.here.server).values():
        for row in rows:
            workspace = row.split("'")[1]
            seen.add(workspace)
            others = [s.id for s in SHOPS if s.id in row and s.id != workspace]
            assert others == [] or workspace == GLOBAL.id, row[:300]
            assert REFUSING.id not in row or workspace == REFUSING.id
    assert seen >= {*(shop.id for shop in SHOPS), GLOBAL.id}


def test_who_refuses_pooling_is_not_in_the_global_model(fleet: Fleet) -> None:
    """The global version lists the tables it was trained on: of consenting tenants alone."""
    folder = fleet.here.state.lake / lake_prefix(GLOBAL)
    cards = [json.loads(path.read_text()) for path in folder.rglob("card.json")]
    assert cards
    for card in cards:
        tables = card["lineage"]["tables"]
        assert {table["tenant"] for table in tables} == {
            shop.id for shop in (POOL, SILO, *NEIGHBOURS)
        }
        assert all(table["rows"] > 0 for table in tables)
    for path in folder.rglob("*"):
        if path.is_file():
            text = _text(path)
            assert REFUSING.id not in text, path
            assert SPOILED.id not in text, path


def test_the_global_model_is_considered_once(fleet: Fleet) -> None:
    """A new global version makes training due in the next run, and only in that one."""
    decided = PROMOTIONS.history(fleet.tenant(POOL).ref, "churn")
    assert [(one.as_of, one.trigger) for one in decided] == [
        (WEEKS[0], "scheduled"),
        (WEEKS[1], "scheduled"),
        (WEEKS[2], "drift"),
    ]


def test_drift_is_answered_by_one_retrain_with_its_outcome(fleet: Fleet) -> None:
    """The request is finished, by the run that took it up, with the metric before and after."""
    entries = RETRAINS.history(fleet.tenant(POOL).ref, "churn")
    (asked,) = [entry for entry in entries if entry.decision == "retrain"]
    assert (asked.as_of, asked.state) == (WEEKS[2], "finished")
    assert asked.dag_run_id == f"drift__churn__{WEEKS[2].isoformat()}"
    assert asked.outcome in ("promoted", "kept")
    figures = asked.outcome_details
    assert 0 <= figures["before"] <= 1
    assert 0 <= figures["after"] <= 1
    assert figures["helped"] == (figures["after"] > figures["before"])
    assert "spend__" in asked.reason
    assert RETRAINS.open_requests(fleet.tenant(POOL).ref) == []


def test_a_silent_tenant_is_an_incident_and_not_retrained(fleet: Fleet) -> None:
    """The week without data opens one incident; monitoring suppresses, nothing is trained."""
    (incident,) = _rows(fleet, SILO, "SELECT kind, as_of, closed_at FROM incidents")
    assert (incident["kind"], incident["as_of"]) == ("data_loss", WEEKS[2])
    assert incident["closed_at"] is None
    last = RETRAINS.history(fleet.tenant(SILO).ref, "churn")[-1]
    assert (last.as_of, last.decision, last.state) == (WEEKS[2], "suppress", "closed")
    decided = PROMOTIONS.history(fleet.tenant(SILO).ref, "churn")
    assert all(one.as_of < WEEKS[2] and one.trigger == "scheduled" for one in decided)
    assert _rows(fleet, POOL, "SELECT 1 FROM incidents") == []


def test_every_scored_vector_is_what_its_declaration_gives(fleet: Fleet) -> None:
    """Each scored instant was replayed, of earlier ones some again, and nothing differs: neither
    after a retrain nor after reruns, and the online store answers the same."""
    for shop in (POOL, SILO):
        replayed = _rows(
            fleet,
            shop,
            "SELECT interval_end AS at, handoff FROM stage_runs "
            "WHERE stage = 'skew' AND use_case = 'churn' ORDER BY interval_end",
        )
        assert {row["at"] for row in replayed} == set(WEEKS)
        assert all(row["handoff"]["rows"] > 0 for row in replayed)
        assert len(replayed[-1]["handoff"]["instants"]) == 3
        assert replayed[-1]["handoff"]["online_rows"] > 0
        assert _rows(fleet, shop, "SELECT 1 FROM feature_skew") == []


def test_the_online_store_follows_every_interval(fleet: Fleet) -> None:
    """It stands at the last week, also where that brought no data; reruns of earlier weeks did not
    move it back."""
    told = {
        (row["tenant"], row["use_case"]): row["online"]
        for row in fleet_status(load_fleet(fleet.here.tenants, use_cases.names()), in_postgres())
    }
    for shop, week in ((POOL, WEEKS[2]), (SILO, WEEKS[2]), (REFUSING, WEEKS[0])):
        there, _, views, _, _, until = told[shop.id, "churn"].split()
        assert there == views != "0"
        assert until == f"{week:%Y-%m-%d}"


def test_the_command_tells_what_replays_found(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every replay with its size, and every feature that differs with its cause."""
    ref = fleet.tenant(POOL).ref
    monkeypatch.setattr("sys.argv", ["tenantry", "features", "skew", POOL.id, "churn", "--json"])
    with tenant_transaction(ref) as connection:
        connection.execute(
            "INSERT INTO feature_skew VALUES (%s, 'churn', %s, 'offline', 'spend__x', 'past', "
            "'1', 100, 3, 7, 0.5)",
            [POOL.id, WEEKS[0]],
        )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    with tenant_transaction(ref) as connection:
        connection.execute("DELETE FROM feature_skew")
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert [one["mismatched"] for one in found["replays"]] == [0, 0, 0]
    assert all(one["rows"] > 0 and one["features"] > 30 for one in found["replays"])
    (one,) = found["mismatches"]
    assert (one["feature"], one["cause"], one["mismatched"]) == ("spend__x", "past", 3)


def test_a_page_is_drawn_when_somebody_asks_for_it(fleet: Fleet, tenantry: Command) -> None:
    """Of a window that neither drifted nor promoted anything there are figures; the command draws
    the page and keeps it, the verdict on top."""
    tenant = fleet.tenant(SILO)
    quiet = _undrawn(fleet, SILO)
    day = f"{quiet.as_of:%Y-%m-%d}"
    code, printed = tenantry("report", SILO.id, quiet.use_case, "--on", day, "--json")
    assert code == 0, printed
    page = Path(json.loads(printed)["page"])
    text = page.read_text(encoding="utf-8")
    assert text.index(quiet.reasons[0]) < text.index("<script>var global")
    assert page.is_relative_to(Lake(fleet.here.state.lake).file_path(tenant.ref, "reports/drift"))
    page.write_text("kept", encoding="utf-8")
    assert tenantry("report", SILO.id, quiet.use_case, "--on", day)[0] == 0
    assert page.read_text(encoding="utf-8") == "kept"
    page.unlink()
    code, printed = tenantry("report", SILO.id, quiet.use_case, "--on", "2023-01-01")
    assert (code, "no drift verdict about" in printed) == (1, True)


def test_a_page_is_drawn_when_somebody_opens_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has it drawn beside it, and does so of the tenant's own verdicts alone."""
    quiet = _undrawn(fleet, SILO)
    pages = open_pages(monkeypatch, {ANALYST: {f"{SILO.id}.pipeline"}})
    path, headers = page_of(quiet.report_path), as_user(ANALYST)
    frame = pages.get(f"/tenantry/reports/{SILO.id}/report?path={path}", headers=headers)
    assert "it is being drawn" in frame.text
    with import_module("tenantry_pages.routes")._drawing:
        busy = pages.get(f"/tenantry/reports/{SILO.id}/file?path={path}", headers=headers)
    assert ("Another page is being drawn" in busy.text, busy.headers["Refresh"]) == (True, "5")
    answer = pages.get(f"/tenantry/reports/{SILO.id}/file?path={path}", headers=headers)
    assert (answer.status_code, quiet.reasons[0] in answer.text) == (200, True)
    for other in (path.replace("-v", "-v9"), path.replace(quiet.use_case, "nothing")):
        refused = pages.get(f"/tenantry/reports/{SILO.id}/file?path={other}", headers=headers)
        assert refused.status_code == 404
    Lake(fleet.here.state.lake).file_path(fleet.tenant(SILO).ref, path).unlink()


def _undrawn(fleet: Fleet, shop: Shop) -> DriftVerdict:
    """A verdict with figures, and no page."""
    tenant, lake = fleet.tenant(shop), Lake(fleet.here.state.lake)
    return next(
        verdict
        for use_case in tenant.use_cases
        for verdict in in_postgres().drift.verdicts(tenant.ref, use_case)
        if verdict.report_path
        and not lake.file_path(tenant.ref, page_of(verdict.report_path)).exists()
    )


def test_refused_data_leaves_everything_as_it_was(fleet: Fleet) -> None:
    """A week of impossible amounts stops the run: no event, feature or prediction of it."""
    ref: TenantRef = fleet.tenant(SPOILED).ref
    lake = Lake(fleet.here.state.lake)
    assert "mostly_good" in fleet.refusal
    assert SPOILED.id in fleet.refusal
    accepted = lake.version(ref, "events")
    (first,) = _rows(
        fleet, SPOILED, "SELECT handoff FROM stage_runs WHERE stage = 'quality' AND use_case = ''"
    )
    assert first["handoff"]["events"]["version"] == accepted.version
    assert lake.version(ref, "landing_events").rows > accepted.rows
    instants = _rows(fleet, SPOILED, "SELECT DISTINCT as_of FROM predictions")
    assert [row["as_of"] for row in instants] == [WEEKS[0]]
    with pytest.raises(QualityError):
        fleet.run(SPOILED, WEEKS[1])
    assert lake.version(ref, "events") == accepted


def _text(path: Path) -> str:
    if path.suffix == ".parquet":
        return str(pq.ParquetFile(path).read().to_pydict())
    return path.read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    ("as_of", "use_case", "told"),
    [
        (datetime(2023, 6, 1, tzinfo=UTC), "churn", "no event was known by then, the first was"),
        (WEEKS[-1] + timedelta(days=1), "churn", "data is loaded up to 2024-07-15 00:00 UTC"),
        (datetime(2199, 1, 1, tzinfo=UTC), "churn", "leave `as_of` empty for the last load"),
        (WEEKS[0], "demand", "known: churn, recommendation"),
    ],
)
def test_an_impossible_retrain_is_refused_before_it_starts(
    fleet: Fleet, as_of: datetime, use_case: str, told: str
) -> None:
    """Before any data, after the last load or of a use case that is not there: the reason, and
    nothing is left behind."""
    before = _state(fleet)
    with pytest.raises(ConfigError, match=re.escape(told)):
        runs.open_retrain(
            POOL.id,
            use_case,
            as_of=as_of,
            trigger="manual",
            run_id="manual__1",
            by="ada",
            connect=wiring.connect_from_environment,
        )
    assert end_state.differences(before, _state(fleet)) == []


def test_an_impossible_global_training_is_refused_likewise(fleet: Fleet) -> None:
    """Where somebody names the instant; a scheduled run of a fleet without data goes on."""

    def opened(as_of: datetime, *, asked: bool) -> runs.GlobalRun:
        return runs.open_global(
            "churn",
            as_of=as_of,
            connect=wiring.connect_from_environment,
            asked=asked,
        )

    with pytest.raises(ConfigError, match="of no tenant that consents an event was known by then"):
        opened(datetime(2023, 6, 1, tzinfo=UTC), asked=True)
    with pytest.raises(ConfigError, match="that is to come"):
        opened(datetime(2199, 1, 1, tzinfo=UTC), asked=True)
    assert opened(datetime(2023, 6, 1, tzinfo=UTC), asked=False).members
    assert opened(WEEKS[0], asked=True).members
