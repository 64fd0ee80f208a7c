"""A neighbour's broken table is left out, and only the platform hears of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import use_cases
from include.features.inputs import unreadable
from include.handoffs import Interval, Trained
from include.pipeline import neighbours, runs, steps
from include.pipeline.report import fleet_status
from include.pipeline.runs import GlobalRun, Run
from include.registry.in_memory import InMemoryRegistry
from include.runtime.postgres import Postgres
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet
from include.tenants.namespace import GLOBAL
from include.training import stage as training_stage
from include.wiring import Platform

pytestmark = pytest.mark.integration

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
AS_OF = START + DAY
NAMES = [f"member-{n}" for n in range(7)]
BROKEN = NAMES[3]
Break = Callable[[Path], None]


def tenant(name: str, isolation: str = "pool") -> TenantConfig:
    """A tenant that consents to pooling."""
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "isolation": isolation,
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "pooling": {"consent": True},
            "use_cases": {"churn": None},
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
        }
    )


@pytest.fixture
def fleet(
    postgres: Postgres, database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, TenantConfig]]:
    """Seven tenants of a region, each with two deliveries, and nothing of an earlier test."""
    found = {name: tenant(name) for name in NAMES}
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    monkeypatch.setattr(runs, "_fleet", lambda: Fleet(found, {}))
    lake = Lake(tmp_path / "lake")
    for one in found.values():
        for day in range(2):
            deliver(lake, one, START + day * DAY)
    yield found
    with psycopg.connect(postgres.dsn("tenantry")) as connection:
        connection.execute("DELETE FROM tenantry.incidents")


def deliver(lake: Lake, one: TenantConfig, day: datetime) -> None:
    """A day's order lines."""
    rows = [
        {
            "tenant_id": one.id,
            "source": "pos",
            "event_id": f"{day:%d}-{n}",
            "event": "Order Completed",
            "user_id": f"u{n % 9}",
            "item_id": "tea",
            "quantity": 1.0,
            "amount": 2.0,
            "event_timestamp": day + timedelta(minutes=n),
            "created_timestamp": day + timedelta(minutes=n),
            "month": f"{day:%Y-%m}",
        }
        for n in range(500)
    ]
    batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
    lake.replace_slice(one.ref, "events", "pos", Interval(day, day + DAY), batches)


def run(fleet: dict[str, TenantConfig], of: str = NAMES[0]) -> Run:
    """A run of somebody else."""

    def nobody(_: str) -> Any:
        raise AssertionError

    lake = Lake.from_environment()
    platform = Platform(lake, InMemoryRegistry(), in_postgres(), nobody)
    return Run(platform, fleet[of], Interval(START, AS_OF), use_case=use_cases.get("churn"))


def _files(table: Path) -> list[Path]:
    return sorted(table.rglob("*.parquet"))


def _cut(table: Path) -> None:
    path = _files(table)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(table: Path) -> None:
    path = _files(table)[0]
    content = bytearray(path.read_bytes())
    for at in range(40, len(content) // 2):
        content[at] ^= 0xFF
    path.write_bytes(bytes(content))


def _unreadable(table: Path) -> None:
    path = _files(table)[0]
    path.unlink()
    path.mkdir()


def _other_schema(table: Path) -> None:
    path = _files(table)[0]
    rows = pq.read_table(path, partitioning=None).num_rows
    pq.write_table(pa.table({"amount": ["much"] * rows, "event_id": [1] * rows}), path)


def _log(table: Path, content: bytes) -> None:
    for path in (table / "_delta_log").glob("*.json"):
        path.write_bytes(content)


BREAKS: dict[str, Break] = {
    "the log is no JSON": lambda table: _log(table, b"{"),
    "the log is empty": lambda table: _log(table, b""),
    "the log is binary": lambda table: _log(table, bytes(range(256))),
    "the log lacks its beginning": lambda table: sorted((table / "_delta_log").glob("*.json"))[
        0
    ].unlink(),
    "a file is gone": lambda table: _files(table)[0].unlink(),
    "a file is cut off": _cut,
    "a file is empty": lambda table: _files(table)[0].write_bytes(b""),
    "a file is changed in the middle": _flip,
    "a file cannot be opened": _unreadable,
    "a file has another schema": _other_schema,
}


def incidents() -> list[dict[str, Any]]:
    """Of the platform."""
    with tenant_transaction(GLOBAL) as connection:
        return connection.execute(
            "SELECT details, closed_at FROM incidents WHERE kind = %s", [neighbours.KIND]
        ).fetchall()


def readable(fleet: dict[str, TenantConfig]) -> list[str]:
    """Ids of those whose events can be read."""
    lake, incidents = Lake.from_environment(), in_postgres().incidents
    found = neighbours.readable(list(fleet.values()), ("events",), lake, AS_OF, incidents)
    return [one.id for one in found]


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_neighbour_is_left_out(
    how: str, fleet: dict[str, TenantConfig], caplog: pytest.LogCaptureFixture
) -> None:
    """The platform has an incident that names it, and no tenant's log or incident does."""
    lake = Lake.from_environment()
    assert readable(fleet) == NAMES
    home = lake.root / "eu" / BROKEN / "events"
    BREAKS[how](home)
    assert readable(fleet) == [name for name in NAMES if name != BROKEN]
    (told,) = incidents()
    assert list(told["details"]) == [BROKEN]
    assert told["closed_at"] is None
    assert BROKEN not in caplog.text
    for name in NAMES:
        with tenant_transaction(fleet[name].ref) as connection:
            assert connection.execute("SELECT * FROM incidents").fetchall() == []
    # put right, it is asked again, and the incident is over
    shutil.rmtree(home)
    for day in range(2):
        deliver(lake, fleet[BROKEN], START + day * DAY)
    assert readable(fleet) == NAMES
    (told,) = incidents()
    assert told["closed_at"] is not None


def test_the_same_instant_has_one_incident_with_all_that_is_broken(
    fleet: dict[str, TenantConfig],
) -> None:
    """However many runs come across it; it stays open while one is broken."""
    lake = Lake.from_environment()
    for name in NAMES[2:4]:
        _cut(lake.root / "eu" / name / "events")
    for _ in range(2):
        readable(fleet)
    (told,) = incidents()
    assert sorted(told["details"]) == NAMES[2:4]
    assert told["closed_at"] is None


@pytest.mark.parametrize("table", ["events", "attributes"])
def test_a_global_training_goes_on_without_a_broken_member(
    table: str, fleet: dict[str, TenantConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is handed the others, and says how many were left out; the platform knows whom."""
    lake = Lake.from_environment()
    home = lake.root / "eu" / BROKEN / table
    (home / "_delta_log").mkdir(parents=True, exist_ok=True)
    (home / "_delta_log" / f"{0:020}.json").write_text("{")
    given: dict[str, Any] = {}

    def train(case: Any, members: Any, *_: Any, **more: Any) -> Trained:
        given.update(more, members=[one.id for one in members])
        return Trained(GLOBAL.id, "churn", AS_OF, "scheduled", (), None, 0, 0)  # type: ignore[arg-type]

    monkeypatch.setattr(training_stage, "train_global", train)
    monkeypatch.setattr(steps.consent, "before_training", lambda run: run)
    everybody = tuple(fleet.values())
    one = run(fleet)
    steps.global_training(
        GlobalRun(one.platform, use_cases.get("churn"), GLOBAL, everybody, everybody, AS_OF)
    )
    assert given["members"] == [name for name in NAMES if name != BROKEN]
    assert given["left_out"] == 1
    (told,) = incidents()
    assert list(told["details"]) == [BROKEN]
    assert json.dumps(told["details"]).count(table) >= 1


def test_what_is_whole_is_readable(fleet: dict[str, TenantConfig]) -> None:
    """Also a table that does not exist yet."""
    lake = Lake.from_environment()
    assert unreadable(list(fleet.values()), ("events", "attributes"), lake) == {}


def test_the_fleets_status_shows_a_broken_silo_in_its_own_rows_only(
    postgres: Postgres, fleet: dict[str, TenantConfig]
) -> None:
    """Its database is down, or lacks a table; everybody else's row is as ever."""
    silo = tenant("broken-silo", "silo")
    good = fleet[NAMES[0]]
    both = Fleet({good.id: good, silo.id: silo}, {})
    assert [row["champion"] for row in fleet_status(both, in_postgres())] == [
        "none yet",
        "unavailable",
    ]
    migrate(silo.ref)
    assert [row["champion"] for row in fleet_status(both, in_postgres())] == ["none yet"] * 2
    with psycopg.connect(postgres.dsn("tenantry_silo_broken_silo")) as connection:
        connection.execute("DROP TABLE tenantry.promotions")
    assert [row["champion"] for row in fleet_status(both, in_postgres())] == [
        "none yet",
        "unavailable",
    ]
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE tenantry_silo_broken_silo WITH (FORCE)")
