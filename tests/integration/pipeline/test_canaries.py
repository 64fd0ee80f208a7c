"""Unmistakable items, ids and texts of one tenant are nowhere but there, for all templates.

Per kind of business three tenants give to the global model and one does not. One of the three, and
the one that gives nothing, have canaries: an item that sells as no other one does, users, baskets,
events, categories and words of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from installation import Installation, installed
from psycopg import sql
from three_weeks import train_global

from include import cli, use_cases, wiring
from include.handoffs import Trained
from include.models.contributors import Contributors
from include.pipeline import in_process, runs, steps
from include.pipeline.stages import TENANT_STAGES
from include.registry.incidents import LEAK
from include.registry.unpacking import unpacked
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.templates import TEMPLATES
from include.simulate.world import TenantPlan, World
from include.stage_runs import newest_training
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.stage_runs import PostgresStageRuns
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant
from include.tenants.namespace import global_owner, lake_prefix
from include.training import stage as training_stage

STAGE_RUNS: Final = PostgresStageRuns()
pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

AS_OF: Final = datetime(2024, 7, 1, tzinfo=UTC)
POOLED: Final = AS_OF - timedelta(hours=1)
#: Of the global models: all simulated tenants are of one region.
OWNER: Final = global_owner("eu")
#: Users of each tenant: together they are enough for a global model, one alone for none.
USERS: Final = {"crm": 220, "payments": 800, "media": 80, "learning": 80, "jobs": 120, "shop": 80}
#: Those who give, and the one that does not; who of them has canaries.
GIVING: Final = ("alder", "birch", "cedar")
SHY: Final = "dora"
MARKED: Final = ("alder", SHY)
#: Templates whose models hold items or words.
LEAKY: Final = ("bought_together", "weekly_playlist", "matching")


def mark(name: str) -> str:
    """What all canaries of a tenant begin with, in every business."""
    return f"zq{name}x7"


@dataclass(frozen=True)
class Aviary:
    """The installation after the one that gives nothing was answered, and all that was logged."""

    here: Installation
    business: str
    logged: dict[str, str]  #: tenant, or the platform, → log of its runs

    @property
    def cases(self) -> tuple[str, ...]:
        """The templates of this kind of business."""
        return TEMPLATES[self.business]

    def tenant(self, name: str) -> TenantConfig:
        """By its name."""
        return find_tenant(self.here.tenants, name, use_cases.names())


class Lines(logging.Handler):
    """Keeps every record as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.kept.append(f"{record.getMessage()} {record.exc_text or ''}")


@pytest.fixture(scope="module", params=list(TEMPLATES))
def aviary(request: pytest.FixtureRequest) -> Iterator[Aviary]:
    """All load; the global models are trained; who gave nothing gets them, and scores with them."""
    with installed() as here:
        found = Aviary(here, request.param, {})
        for name in (*GIVING, SHY):
            world_of(found, name)
        for name in GIVING:
            with listening(found, name):
                load(found, name)
        for case in found.cases:
            with listening(found, OWNER.id):
                train_global(case, POOLED, OWNER)
        with listening(found, SHY):
            in_process.run(found.tenant(SHY), AS_OF, None, wiring.connect_from_environment)
        yield found


def world_of(aviary: Aviary, name: str) -> None:
    """Write a tenant's file and sources, with its canaries among them."""
    folder, plan = aviary.here.tenants, TenantPlan(name, USERS[aviary.business])
    world = World(7, aviary.business, (plan,), start=date(2024, 1, 1), days=190)
    write_sources(open_tenant(world, name), folder, aviary.cases, "parquet")
    if name in MARKED:
        plant(folder / "data" / name, mark(name))
    if name == SHY:
        file = folder / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
        assert "consent: true" in text
        file.write_text(text.replace("consent: true", "consent: false"), encoding="utf-8")


def plant(folder: Path, begin: str) -> None:
    """Canaries in every column that holds an id or a text."""
    for path in folder.glob("events-*.parquet"):
        table = pq.read_table(path)
        rows = table.to_pylist()
        planted = []
        for number, row in enumerate(rows[::3]):
            planted.append(row | {"event_id": f"{begin}-event-{number}"})
            if row.get("item_id") is not None:
                planted[-1]["item_id"] = f"{begin}-item"
            for column in ("user_id", "account_id", "group_id"):
                if number % 20 == 0 and row.get(column) is not None:
                    planted[-1][column] = f"{begin}-{column}-{number}"
            for column, value in row.items():
                if column.startswith("property_") and isinstance(value, str):
                    planted[-1][column] = f"{begin}-{column}"
        more = pa.Table.from_pylist(planted, table.schema)
        pq.write_table(pa.concat_tables([table, more]), path)
    for path in (path for path in folder.glob("*.parquet") if "events" not in path.name):
        table = pq.read_table(path)
        key, *names = (n for n in table.column_names if n != "known_since")
        rows = table.to_pylist()
        for row in rows[::4]:
            for name in names:
                if isinstance(row[name], str):
                    row[name] = f"{row[name]} {begin}{name}" if " " in row[name] else begin + name
        if key == "item_id":
            rows.append(rows[0] | {"item_id": f"{begin}-item"})
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def load(aviary: Aviary, name: str) -> None:
    """The first two stages of the tenant's interval."""
    tenant_id, connect = aviary.tenant(name).id, wiring.connect_from_environment
    run = runs.open_pipeline(tenant_id, "", start=None, end=AS_OF, connect=connect)
    ingestion, quality, _ = TENANT_STAGES
    steps.execute(quality, run, {"ingestion": steps.execute(ingestion, run, {})})


@contextmanager
def listening(aviary: Aviary, who: str) -> Iterator[None]:
    """Keep what is logged meanwhile."""
    lines, root = Lines(), logging.getLogger()
    before = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(lines)
        root.setLevel(before)
    aviary.logged[who] = aviary.logged.get(who, "") + "\n".join(lines.kept)


def holds(content: bytes, text: str) -> bool:
    """Whether the text is in a file, as it is or packed."""
    found = unpacked([content])
    told = text.encode()
    return any(told in part for part in found.contents) or any(text in one for one in found.texts)


def trained(case: str) -> Trained:
    found = newest_training(STAGE_RUNS, OWNER, case, POOLED)
    assert found is not None
    return found


def test_every_template_has_a_global_model_that_serves_or_was_weighed(aviary: Aviary) -> None:
    """Otherwise there would be nothing to look through; nothing honest is taken for a leak."""
    lake = wiring.platform(wiring.connect_from_environment).lake
    for case in aviary.cases:
        found = trained(case)
        told = lake.get(OWNER, found.evaluation).decode()
        assert [one for one in found.candidates if one.rung == "global"], told[-3_000:]
        decided = PROMOTIONS.history(OWNER, case)
        assert decided
        assert not [one for one in decided if "since the look" in " ".join(one.reasons)]
        mine = newest_training(STAGE_RUNS, aviary.tenant(SHY).ref, case, AS_OF)
        assert mine is not None
        if PROMOTIONS.champion_at(OWNER, case).rung == "global":  # type: ignore[union-attr]
            assert [one for one in mine.candidates if one.rung == "global"]
    with tenant_transaction(OWNER) as connection:
        query = "SELECT * FROM incidents WHERE kind = %s AND as_of = %s"
        assert connection.execute(query, [LEAK, POOLED]).fetchall() == []


@pytest.mark.parametrize("name", MARKED)
def test_canaries_are_in_their_own_tenants_files_alone(aviary: Aviary, name: str) -> None:
    """Whatever the platform and the others keep: models, references, evaluations, cards, reports,
    spines, features and tables; as bytes, and taken apart."""
    lake, text = aviary.here.state.lake, mark(name)
    home = lake_prefix(aviary.tenant(name).ref)
    found = [
        path.relative_to(lake).as_posix()
        for path in lake.rglob("*")
        if path.is_file() and holds(path.read_bytes(), text)
    ]
    assert [place for place in found if not place.startswith(f"{home}/")] == []
    assert found


@pytest.mark.parametrize("name", MARKED)
def test_canaries_are_in_their_own_tenants_rows_alone(aviary: Aviary, name: str) -> None:
    """In every table of every database: handoffs, decisions, predictions, and all of MLflow's."""
    own, others = 0, []
    for database in ("tenantry", "mlflow"):
        for table, owner, row in rows_of(aviary, database):
            if mark(name) in row or mark(name).encode().hex() in row:
                own += owner == name
                others += [] if owner == name else [f"{table}: {row[:200]}"]
    assert others == []
    assert own or name != SHY or aviary.business in ("payments", "crm")  # who are no canaries there


def rows_of(aviary: Aviary, database: str) -> Iterator[tuple[str, str | None, str]]:
    """Table, tenant and text of every row of ours."""
    with psycopg.connect(aviary.here.server.dsn(database)) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("SELECT to_jsonb(t)->>'tenant_id', t::text FROM {} t")
            for owner, row in connection.execute(query.format(sql.Identifier(schema, table))):
                yield table, owner, row


@pytest.mark.parametrize("name", MARKED)
def test_canaries_are_in_their_own_tenants_logs_alone(aviary: Aviary, name: str) -> None:
    """Neither the platform's log nor another tenant's says a word of them."""
    assert all(aviary.logged.values())
    assert {who for who, text in aviary.logged.items() if mark(name) in text} <= {name}


def test_nobody_else_is_told_of_a_canary(
    aviary: Aviary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands about another tenant: why, history and card, as people and programs read."""
    for case in aviary.cases:
        for command in ("why", "history", "card"):
            for more in ((), ("--json",)):
                monkeypatch.setattr("sys.argv", ["tenantry", command, SHY, case, *more])
                with pytest.raises(SystemExit) as ended:
                    cli.main()
                printed = capsys.readouterr()
                assert not ended.value.code, printed.err
                assert printed.out
                assert mark("alder") not in printed.out + printed.err


def test_a_model_that_was_fitted_without_the_rule_is_not_promoted(
    aviary: Aviary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look finds the canary by itself, the ledger says so without naming it, and the platform
    has an incident."""
    monkeypatch.setattr(training_stage, "Contributors", lambda: Contributors(1, 1))
    later = POOLED + timedelta(minutes=30)
    leaky = [case for case in aviary.cases if case in LEAKY]
    for case in leaky:
        train_global(case, later, OWNER)
        found = newest_training(STAGE_RUNS, OWNER, case, later)
        assert found is not None
        lake = wiring.platform(wiring.connect_from_environment).lake
        shared = [one for one in found.candidates if one.rung == "global"]
        assert [one for one in shared if holds(lake.get(OWNER, one.artifact), mark("alder"))]
        decided = PROMOTIONS.find(OWNER, case, later, found.trigger)
        assert decided is not None
        reasons = " ".join(decided.reasons)
        assert "is refused, since the look" in reasons
        assert mark("alder") not in reasons
        assert decided.digest not in {one.artifact.digest for one in shared}
    with tenant_transaction(OWNER) as connection:
        query = "SELECT use_case, details FROM incidents WHERE kind = %s AND as_of = %s"
        incidents = connection.execute(query, [LEAK, later]).fetchall()
    assert sorted(row["use_case"] for row in incidents) == sorted(leaky)
    assert mark("alder") not in str(incidents)
