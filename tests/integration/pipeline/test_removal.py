"""A tenant that leaves: what there is of it, sealed or erased, and who may have its id then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import end_state
import psycopg
import pytest
from deltalake import DeltaTable
from generated import Shop
from installation import Installation, child_environment, installed
from interruptions import ended_after
from three_weeks import NEIGHBOURS, load, train_global

from include import cli, use_cases, wiring
from include.errors import ConfigError, IsolationError, UnavailableError, UnknownNameError
from include.pipeline import in_process, removal
from include.pipeline.retention import expire_all, seal_removed
from include.registry.blast_radius import ChampionChange
from include.storage import claims, ownership
from include.storage.lake import Lake
from include.storage.places import TABLES, lake_place
from include.storage.retention import expire_of
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants import yaml_text
from include.tenants.config import Retention
from include.tenants.loader import find_tenant, load_fleet
from include.tenants.namespace import TenantRef, global_owner

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
LEAVES, STAYS = Shop("leaves", customers=120), Shop("stays", customers=120, seed=9)
SILO = Shop("alone-shop", region="us", isolation="silo", customers=120, seed=8)
#: What the invented ids of a shop begin with; nobody else's do.
MARKS = {shop.id: (f"{shop.id}-c", f"{shop.id}-o", f"{shop.id}-sku") for shop in (LEAVES, SILO)}


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """Three shops that ran once, and the rows of their neighbours; saved."""
    with installed() as found:
        os.environ["AIRFLOW__LOGGING__BASE_LOG_FOLDER"] = str(found.state.logs / "tasks")
        found.open(LEAVES, STAYS, SILO, *NEIGHBOURS)
        for shop in (LEAVES, STAYS, SILO):
            _run(found, shop)
            log = found.state.logs / "tasks" / f"dag_id={shop.id}.pipeline" / "run_id=x" / "a.log"
            log.parent.mkdir(parents=True)
            log.write_text(f"{shop.id}-c1 was seen")
        for shop in NEIGHBOURS:
            load(found, shop, AS_OF)
        found.save("ran")
        yield found


def _run(here: Installation, shop: Shop) -> None:
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    in_process.run(tenant, AS_OF, "churn", wiring.connect_from_environment)


@pytest.fixture
def fresh(here: Installation) -> Installation:
    """As they were after the run, whatever the test before did."""
    here.restore("ran")
    here.open(LEAVES, STAYS, SILO, *NEIGHBOURS)
    for path in here.tenants.glob("*.sealed"):
        path.unlink()
    return here


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["tenantry", "tenants", *arguments])
    monkeypatch.setattr("include.runtime.control.activate", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def traces(here: Installation, *marks: str) -> list[str]:
    """Every place in which one of the texts is found: files, decoded tables, databases, logs."""
    import pyarrow.parquet as pq

    found = []
    for root in (here.state.lake, here.state.logs / "tasks"):
        for path in root.rglob("*"):
            if path.is_file():
                text = path.read_bytes().decode("utf-8", "replace")
                if path.suffix == ".parquet":
                    text += str(pq.ParquetFile(path).read().to_pydict())
                found += [f"{path}: {mark}" for mark in marks if mark in f"{path} {text}"]
    for name in [*end_state.databases(here.server), "mlflow"]:
        with psycopg.connect(here.server.dsn(name)) as connection:
            tables = connection.execute(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for (table,) in tables:
                rows = connection.execute(f"SELECT t::text FROM {table} t").fetchall()
                text = "\n".join(row[0] for row in rows)
                found += [f"{name} {table}: {mark}" for mark in marks if mark in text]
    return found


def test_everything_a_run_leaves_lies_in_a_declared_place(fresh: Installation) -> None:
    """Each file of the lake and each table with rows stands on the list that retention goes by."""
    for shop in (LEAVES, SILO):
        home = fresh.state.lake / shop.region / shop.id
        files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
        assert len(files) > 20
        assert [path for path in files if lake_place(path) is None] == []
    declared = {place.table for place in TABLES}
    for name in end_state.databases(fresh.server):
        assert end_state.tables(fresh.server.dsn(name)).keys() == declared


def test_what_is_kept_says_why() -> None:
    """A place without a clock has a reason; one with a clock names what dates its rows."""
    from include.storage.places import LAKE

    for place in (*LAKE, *TABLES):
        assert (place.clock == "kept") == bool(place.why), place
    assert all(place.column for place in TABLES if place.clock != "kept")


@pytest.mark.parametrize("shop", [LEAVES, SILO], ids=lambda shop: shop.isolation)
def test_an_erased_tenant_is_nowhere(
    fresh: Installation,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The dry run counts and changes nothing. After --erase no file, row, log or model of it is
    left, its neighbour is as it was, and the record says by whom."""
    assert traces(fresh, *MARKS[shop.id])
    before = fresh.end_state()
    assert command(monkeypatch, "remove", shop.id, "--erase", "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    places = {one["place"].split(":")[0] for one in told["amounts"]}
    own = "tenantry" if shop.isolation == "pool" else "tenantry_silo_alone_shop"
    assert places >= {f"lake {shop.region}", own, "MLflow", "task logs"}
    assert end_state.differences(before, fresh.end_state()) == []
    assert command(monkeypatch, "remove", shop.id, "--erase", "--json") == 1  # nobody was asked
    capsys.readouterr()
    assert command(monkeypatch, "remove", shop.id, "--erase", "--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "erased"
    assert traces(fresh, *MARKS[shop.id]) == []
    left = [line for line in traces(fresh, shop.id) if "tenantry.tenant_owners" not in line]
    assert [line for line in left if "audit" not in line] == []
    after = fresh.end_state()
    others = {k: v for k, v in before.items() if STAYS.id in k}
    assert others
    assert all(after[key] == value for key, value in others.items())
    owner = ownership.owner_of(shop.id)
    assert owner is not None
    assert owner.state == "erased"
    assert owner.actor
    with pytest.raises(UnknownNameError):
        removal.inventory(shop.id)


def test_a_new_company_with_the_id_of_an_erased_one_starts_fresh(fresh: Installation) -> None:
    """Its history is read from the beginning, its first version is 1, nothing is in quarantine."""
    removal.remove(LEAVES.id, erase=True, by="an-operator")
    newcomer = Shop(LEAVES.id, customers=100, seed=77)
    fresh.open(newcomer)
    _run(fresh, newcomer)
    lines = (fresh.state.home / "data" / LEAVES.id / "orders.csv").read_text().splitlines()[1:]
    sent = [line for line in lines if line.split(",")[2] < "2024-07-01"]
    tenant = find_tenant(fresh.tenants, LEAVES.id, use_cases.names())
    assert Lake(fresh.state.lake).version(tenant.ref, "events").rows == len(sent)
    registry = wiring.platform(wiring.connect_from_environment).registry
    assert registry.versions(tenant.ref, "churn")[0].version == "1"
    owner = ownership.owner_of(LEAVES.id)
    assert owner is not None
    assert (owner.number, owner.state) == (2, "active")


def test_sealed_data_is_read_by_nobody_and_goes_on_ageing(fresh: Installation) -> None:
    """Runs of the id are refused, whatever file comes; retention goes on; unseal takes it back."""
    removal.remove(LEAVES.id, erase=False, by="an-operator")
    assert LEAVES.id not in load_fleet(fresh.tenants, use_cases.names()).tenants
    fresh.open(LEAVES)
    with pytest.raises(IsolationError, match="sealed"):
        _run(fresh, LEAVES)
    (fresh.tenants / f"{LEAVES.id}.yaml").unlink()
    removal.unseal(LEAVES.id, by="an-operator")
    _run(fresh, LEAVES)
    with pytest.raises(ConfigError, match="not sealed"):
        removal.unseal(LEAVES.id, by="an-operator")
    removal.remove(LEAVES.id, erase=False, by="an-operator")
    expire_all(datetime(2124, 1, 1, tzinfo=UTC))
    marks = (f"{LEAVES.id}-c", f"{LEAVES.id}-o")
    assert [one for one in traces(fresh, *marks) if "/tasks/" not in one] == []


@pytest.mark.parametrize("erase", [False, True])
def test_what_a_removed_tenants_data_went_into_serves_no_more(
    fresh: Installation, erase: bool
) -> None:
    """The global version that was trained with it is withdrawn for good, also once it is erased."""
    owner = global_owner(LEAVES.region)
    train_global("churn", AS_OF + timedelta(days=1), owner)
    made = PROMOTIONS.champion_at(owner, "churn")
    assert made is not None
    assert PROMOTIONS.gone(owner, "churn") == frozenset()
    removal.remove(LEAVES.id, erase=erase, by="an-operator")
    assert made.version in PROMOTIONS.gone(owner, "churn")
    now = PROMOTIONS.champion_at(owner, "churn")
    assert now is None or now.version != made.version


def test_add_and_check_refuse_what_a_run_refuses(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever comes for the id of a removed tenant hears of it before anything is read."""
    file = fresh.state.home / "newcomer.yaml"
    file.write_text((fresh.tenants / f"{LEAVES.id}.yaml").read_text())
    assert command(monkeypatch, "check", str(file)) == 0
    removal.remove(LEAVES.id, erase=False, by="an-operator")
    capsys.readouterr()
    assert command(monkeypatch, "check", str(file)) == 1
    assert "sealed" in capsys.readouterr().out
    assert command(monkeypatch, "add", str(file)) == 1
    assert "belongs to a tenant file that has no key" in capsys.readouterr().err
    assert not (fresh.tenants / f"{LEAVES.id}.yaml").exists()
    assert not list(fresh.tenants.glob("*.part"))
    removal.remove(LEAVES.id, erase=True, by="an-operator")
    assert command(monkeypatch, "add", str(file)) == 0
    added = find_tenant(fresh.tenants, LEAVES.id, use_cases.names())
    assert added.key is not None
    owner = ownership.owner_of(LEAVES.id)
    assert owner is not None
    assert (owner.number, owner.key_digest) == (2, claims.key_digest(added.key))
    _run(fresh, LEAVES)


def test_who_has_not_come_for_long_is_in_no_byte_after_retention(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of customers whose last order is older than retention and the longest window nothing is left
    in any file, decoded table, log of Delta's or row; of those who came lately all is. The online
    store follows with the next run, or once none has come for a month."""
    vacuum = DeltaTable.vacuum

    def at_once(table: DeltaTable, **given: bool) -> list[str]:  # as a week later
        return vacuum(table, retention_hours=0, enforce_retention_duration=False, **given)

    monkeypatch.setattr(DeltaTable, "vacuum", at_once)
    lines = (fresh.state.home / "data" / STAYS.id / "orders.csv").read_text().splitlines()[1:]
    last: dict[str, str] = {}
    for _, _, at, customer, *_ in (line.split(",") for line in lines):
        if at < "2024-07-01":
            last[customer] = max(last.get(customer, ""), at)
    gone = [f"{one}" for one, at in last.items() if at < "2024-03-01"]
    here = [one for one, at in last.items() if at > "2024-06-20"]
    assert len(gone) > 3
    assert len(here) > 3
    tenant = find_tenant(fresh.tenants, STAYS.id, use_cases.names())
    kept = Retention(events=timedelta(days=30), predictions=timedelta(days=5))
    lake = Lake(fresh.state.lake)
    expire_of(tenant.ref, kept, AS_OF + timedelta(days=10), lake, running=True)
    quoted = [f"{mark}{one}{mark}" for one in gone for mark in ("'", '"')]
    left = lake.read(tenant.ref, "events", columns=["user_id"])["user_id"].to_pylist()
    assert set(here) <= set(left)
    found = [one for one in traces(fresh, *quoted) if "/tasks/" not in one]
    assert [one for one in found if "online_partials" not in one] == []
    assert found
    expire_of(tenant.ref, kept, datetime.now(UTC) + timedelta(days=32), lake, running=True)
    assert [one for one in traces(fresh, *quoted) if "/tasks/" not in one] == []
    in_log = (fresh.state.lake / STAYS.region / STAYS.id / "events" / "_delta_log").glob("*")
    assert not [path for path in in_log if b"stays-c" in path.read_bytes()]


def test_a_file_deleted_by_hand_seals_the_data(fresh: Installation) -> None:
    """At the next run of retention. A folder that is empty, or a file that is broken, does not."""
    (fresh.tenants / f"{LEAVES.id}.yaml").rename(fresh.tenants / "kept-aside")
    broken = fresh.tenants / "renamed.yaml"
    broken.write_text(f"id: {LEAVES.id}\nregion: [")
    assert seal_removed(load_fleet(fresh.tenants, use_cases.names())) == []
    broken.unlink()
    empty = load_fleet(fresh.tenants, frozenset())
    assert not empty.tenants
    assert seal_removed(empty) == []
    expire_all(AS_OF)
    owner = ownership.owner_of(LEAVES.id)
    assert owner is not None
    assert (owner.state, owner.actor) == ("sealed", "system")
    (fresh.tenants / "kept-aside").rename(fresh.tenants / f"{LEAVES.id}.yaml")
    with pytest.raises(IsolationError, match="sealed"):
        _run(fresh, LEAVES)
    stays = ownership.owner_of(STAYS.id)
    assert stays is not None
    assert stays.state == "active"


def test_retention_does_each_alone(fresh: Installation) -> None:
    """A broken log and a lost database are named at the end, after everybody else was done."""
    for entry in (fresh.state.lake / "eu" / LEAVES.id / "events" / "_delta_log").glob("*.json"):
        entry.write_text("{broken")
    with psycopg.connect(fresh.server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE tenantry_silo_alone_shop WITH (FORCE)")
    from include.errors import TenantryError

    with pytest.raises(TenantryError) as told:
        expire_all(datetime(2124, 1, 1, tzinfo=UTC))
    assert LEAVES.id in str(told.value)
    assert SILO.id in str(told.value)
    assert STAYS.id not in str(told.value)
    stays = TenantRef(STAYS.id, STAYS.region, "pool")
    assert Lake(fresh.state.lake).version(stays, "events").rows == 0
    silo = fresh.state.lake / SILO.region / SILO.id
    assert not list((silo / "features").rglob("*.parquet"))
    fresh.open(SILO)


def test_an_erasure_that_is_interrupted_again_and_again_ends(fresh: Installation) -> None:
    """Ended after ever more steps, it goes on: no run begins meanwhile, and nothing is left."""
    tenant = find_tenant(fresh.tenants, LEAVES.id, use_cases.names())
    steps = {"change", "rmtree", "_rmtree_safe_fd", "erase", "_delete", "erase_rows", "erase_logs"}
    interrupted = 0
    for limit in range(200):
        with ended_after(limit * (limit + 1) // 2, {*steps, "drop_silo", "unlink"}) as ended:
            removal.remove(LEAVES.id, erase=True, by="an-operator")
        if not ended:
            break
        interrupted += 1
        if interrupted > 2:
            with pytest.raises(UnavailableError, match="--erase"):
                ownership.claim(tenant)
    assert interrupted > 5
    assert traces(fresh, *MARKS[LEAVES.id]) == []
    owner = ownership.owner_of(LEAVES.id)
    assert owner is not None
    assert (owner.number, owner.state) == (1, "erased")


def test_an_id_is_not_free_before_what_its_data_went_into_is_withdrawn(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer that consents would stand for the one that was erased; the data goes all the
    same, and the next attempt ends it."""
    failed = ChampionChange("global-eu", "churn", "failed", "", "", "its registry does not answer")
    with monkeypatch.context() as patch:
        patch.setattr(removal.consent, "withdraw", lambda *_, **__: [failed])
        with pytest.raises(UnavailableError, match="global-eu/churn: its registry does not"):
            removal.remove(LEAVES.id, erase=True, by="an-operator")
    assert traces(fresh, *MARKS[LEAVES.id]) == []
    fresh.open(LEAVES)
    with pytest.raises(UnavailableError, match="is being erased"):
        _run(fresh, LEAVES)
    (fresh.tenants / f"{LEAVES.id}.yaml").unlink()
    assert removal.remove(LEAVES.id, erase=True, by="an-operator").state == "erased"


@pytest.mark.parametrize(
    "text",
    [
        "{{id: {id}, name: x}}",
        '"id" : {id}',
        "id: 'leaves' # the shop",
        'id: "lea\\x76es"',
        "? id\n: {id}",
        "id:\n  {id}",
        "id: >-\n  {id}",
    ],
)
def test_a_tenants_file_is_known_however_its_id_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Whatever name it has: a file that is left behind would claim the id anew once it is
    erased."""
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path))
    file = tmp_path / "any.yaml"
    file.write_text(text.format(id=LEAVES.id))
    (tmp_path / "other.yaml").write_text("id: leaves-not\nname: leaves\n")
    read = yaml_text.read(file.read_text())
    assert isinstance(read, dict)
    assert read["id"] == LEAVES.id
    assert removal.files_of(LEAVES.id) == [file]


def test_an_erasure_that_was_killed_goes_on(fresh: Installation) -> None:
    """SIGKILL after the lake's folder went: running it again ends the same."""
    script = (
        "import os, signal\n"
        "from include.pipeline import removal\n"
        "removal.mlflow_workspace.erase = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"removal.remove({LEAVES.id!r}, erase=True, by='an-operator')\n"
    )
    environment = child_environment(fresh)
    ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    removal.remove(LEAVES.id, erase=True, by="an-operator")
    assert traces(fresh, *MARKS[LEAVES.id]) == []
