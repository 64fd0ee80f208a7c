"""Shared views through the stages: who gives, what the others see, and what a pinned pool keeps."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import use_cases
from include.features.declarations import ITEM, Aggregation, EventStream
from include.features.inputs import pool_tables
from include.features.views import FeatureService, FeatureView
from include.handoffs import FeaturesBuilt
from include.pipeline import steps
from include.pipeline.consent import Withdrawals
from include.pipeline.consents import Consents
from include.pipeline.intervals import last_interval
from include.pipeline.runs import Run
from include.pipeline.stages import TENANT_STAGES, USE_CASE_STAGES
from include.registry.in_memory import InMemoryRegistry
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant
from include.tenants.namespace import TenantRef, global_owner, lake_prefix
from include.use_cases import recommendation
from include.wiring import Platform

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
OPENED = datetime(2024, 1, 1, tzinfo=UTC)
FIRST = datetime(2024, 7, 1, tzinfo=UTC)
REGION = "pond"
MEMBERS, SHY = ("alder", "birch", "cedar"), "shy"
CROWD = FeatureView(
    "crowd",
    ITEM,
    EventStream(("Order Completed",)),
    (Aggregation("count", windows=(28 * DAY,)), Aggregation("sum", "amount", (28 * DAY,))),
    scope="shared",
    ttl=7 * DAY,
)
COUNT, SUM = "crowd__count_28d", "crowd__sum_amount_28d"
USE_CASE = replace(
    recommendation.USE_CASE,
    features=FeatureService("recommendation", (*recommendation.USE_CASE.features.views, CROWD)),
)
#: Item → who sells it. Without the shy tenant's, too few tenants sell `scarce`.
SELLERS = {
    "tea": (*MEMBERS, SHY),
    "ale": MEMBERS,
    "scarce": ("alder", "birch", SHY),
    "secret": (SHY,),
}
TABLES = (
    *("online_partials", "online_groups", "online_views", "online_events", "online_facts"),
    *("stage_runs", "slices", "quality_results"),
)
FILE = """\
id: {id}
name: Shop {id}
region: {region}
isolation: pool
timezone: UTC
schedule: "0 0 * * 1"
history_from: 2024-01-01
until: 2024-12-31
pooling: {{consent: {consent}}}
sources:
  - name: orders
    connector: {{type: file, path: "{path}", format: csv}}
    events:
      event: Order Completed
      event_id: [line]
      event_timestamp: at
      user_id: customer
      item_id: sku
      group_id: line
      quantity: quantity
      amount: amount
      properties: {{discount: discount}}
use_cases:
  recommendation:
"""


@dataclass
class World:
    """Four shops of one region that number their articles alike, and how far each was run."""

    home: Path
    lake: Lake
    features: dict[str, FeaturesBuilt] = field(default_factory=dict)  #: of the newest run

    def write(self, name: str, *, consent: bool, extra: int = 0) -> None:
        """The tenant's file and data: a line of every article it sells on each day.

        Args:
            extra: more lines of tea on the last day of the fifth week before the first one.
        """
        path = self.home / "data" / name / "orders.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["line", "at", "customer", "sku", "quantity", "amount", "discount"])
            out.writerows(lines(name, extra))
        text = FILE.format(
            id=name, region=REGION, consent=str(consent).lower(), path=path.as_posix()
        )
        (self.home / "tenants" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def tenant(self, name: str) -> TenantConfig:
        """As its file is now."""
        return find_tenant(self.home / "tenants", name, use_cases.names())

    def run(self, name: str, week: int, *, until: str = "materialization") -> Any:
        """The stages of one interval up to and with one of them; its handoff."""
        tenant = self.tenant(name)
        run = Run(
            Platform(self.lake, InMemoryRegistry(), in_postgres(), no_database),
            tenant,
            last_interval(tenant, end(week)),
            use_case=USE_CASE,
        )
        received: dict[str, Any] = {}
        for stage in (*TENANT_STAGES, *USE_CASE_STAGES):
            received[stage.name] = steps.execute(stage, run, received)
            if stage.name == until:
                return received[stage.name]
        raise AssertionError(until)

    def online(self, name: str, week: int, *items: str) -> dict[str, list[Any]]:
        """What the online store tells a tenant of articles, at the end of a week."""
        service = FeatureService("asked", (CROWD,))
        reader = in_postgres().online.reader(self.tenant(name).ref, service)
        return told(reader.read({"item_id": items}, end(week)).table)

    def offline(self, name: str, week: int) -> dict[str, list[Any]]:
        """What the features stage writes of every article it shows a tenant's customers."""
        built = self.run(name, week, until="features")
        self.features[name] = built
        return told(self.lake.get_table(self.tenant(name).ref, built.features))


def end(week: int) -> datetime:
    """When a week is over: the first one that is run is week 0."""
    return FIRST + 7 * DAY * week


def lines(name: str, extra: int) -> Iterator[list[object]]:
    """Lines of the tenant's file, from its opening until after the last week."""
    days = (end(2) - OPENED).days
    shops = sorted((*MEMBERS, SHY))
    for day in range(days):
        for item, sellers in SELLERS.items():
            if name in sellers:
                at, price = OPENED + day * DAY, 1 + shops.index(name)
                customer = f"{name}-{day % 6}"
                yield [f"{day}-{item}", at.isoformat(), customer, item, 1, price, 0]
    for number in range(extra):
        at = end(-5) - DAY / 2
        yield [f"extra-{number}", at.isoformat(), f"{name}-0", "tea", 1, 100, 0]


def expected(*sellers: str) -> list[Any]:
    """Count and sum of an article that these sold each day of four weeks."""
    shops = sorted((*MEMBERS, SHY))
    return [28 * len(sellers), sum(28.0 * (1 + shops.index(name)) for name in sellers)]


def told(table: pa.Table) -> dict[str, list[Any]]:
    """Article → count and sum, of which all its rows tell the same."""
    rows = {tuple(row.values()) for row in table.select(["item_id", COUNT, SUM]).to_pylist()}
    found = {item: [count, total] for item, count, total in rows}
    assert len(found) == len(rows)
    return found


def kept(owner: TenantRef) -> str:
    """All that the online store keeps of an owner."""
    with tenant_transaction(owner) as connection:
        return "".join(
            repr(row)
            for table in TABLES
            for row in connection.execute(f"SELECT * FROM {table}").fetchall()
        )


def files(lake: Lake, owner: TenantRef) -> str:
    """Paths and content of everything in an owner's part of the lake."""
    home = lake.root / lake_prefix(owner)
    return "".join(
        f"{path.relative_to(home)} {pq.ParquetFile(path).read().to_pydict()}"
        if path.suffix == ".parquet"
        else f"{path.relative_to(home)} {path.read_text()}"
        for path in home.rglob("*")
        if path.is_file()
    )


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops send files."""
    raise AssertionError(connection_id)


@pytest.fixture
def world(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Nobody has loaded anything yet."""
    (tmp_path / "tenants").mkdir()
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path / "tenants"))
    granted = {"default": {"roots": [f"{tmp_path}/data/{{tenant}}"]}}
    monkeypatch.setenv("TENANTRY_SOURCES", json.dumps(granted))
    monkeypatch.setattr(recommendation, "USE_CASE", USE_CASE)
    here = World(tmp_path, Lake(tmp_path / "lake"))
    for name in MEMBERS:
        here.write(name, consent=True)
    here.write(SHY, consent=False)
    yield here
    for owner in (*(here.tenant(name).ref for name in (*MEMBERS, SHY)), global_owner(REGION)):
        with tenant_transaction(owner) as connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")


def test_who_refuses_gives_nothing_and_sees_what_the_others_give(world: World) -> None:
    """Its events count nowhere, not even to reach the smallest number of tenants; online and
    offline tell it the same of the others, and neither side's rows name the other."""
    for name in (*MEMBERS, SHY):
        done = world.run(name, 0)
        assert "crowd" in done.views
    pooled = {"tea": expected(*MEMBERS), "ale": expected(*MEMBERS), "scarce": [None, None]}
    unsold = {"secret": [None, None]}
    for name in (SHY, "alder"):
        assert world.online(name, 0, *pooled, *unsold) == pooled | unsold
    assert world.offline("alder", 0) == pooled
    seen = {item: told for item, told in pooled.items() if SHY in SELLERS[item]}
    assert world.offline(SHY, 0) == seen | unsold
    assert SHY not in kept(global_owner(REGION))
    assert "secret" not in kept(global_owner(REGION))
    pool = world.features[SHY].pool
    assert [owner.id for owner, _ in pool_tables(pool, REGION, world.lake)] == list(MEMBERS)
    for name in (*MEMBERS, SHY):
        others = {*MEMBERS, SHY} - {name}
        stored = kept(world.tenant(name).ref) + files(world.lake, world.tenant(name).ref)
        assert stored
        assert not [other for other in others if other in stored]


def test_a_pool_of_too_few_tells_nothing(world: World) -> None:
    """Below `minimum_tenants` every feature is null, online and offline, from the run on that finds
    the consent withdrawn; with nobody left, nothing at all is kept."""
    for name in MEMBERS:
        world.run(name, 0)
    assert world.online("birch", 0, "tea") == {"tea": expected(*MEMBERS)}
    world.write("cedar", consent=False)
    world.run("birch", 0)
    assert world.online("birch", 0, "tea", "ale") == {"tea": [None, None], "ale": [None, None]}
    assert "cedar" not in kept(global_owner(REGION))
    assert world.offline("birch", 0)["tea"] == [None, None]
    for name in MEMBERS:
        world.write(name, consent=False)
    world.run("alder", 0)
    assert kept(global_owner(REGION)) == ""
    assert world.online("alder", 0, "tea") == {"tea": [None, None]}


def test_a_withdrawal_is_carried_to_what_is_kept_online_at_once(world: World) -> None:
    """Nothing that was made of the tenant's events is left, without waiting for a run; two that
    remain are told nothing, and the next run builds the views again once the same three consent."""
    for name in MEMBERS:
        world.run(name, 0)
    platform = Platform(world.lake, InMemoryRegistry(), in_postgres(), no_database)
    assert list(Withdrawals(Consents.now(), platform).reach([])) == []
    assert world.online("birch", 0, "tea") == {"tea": expected(*MEMBERS)}
    world.write("cedar", consent=False)
    (effect,) = Withdrawals(Consents.now(), platform).reach([])
    assert (effect.tenant, effect.outcome) == (f"global-{REGION}", "withdrawn")
    assert kept(global_owner(REGION)) == ""
    assert world.online("birch", 0, "tea") == {"tea": [None, None]}
    assert list(Withdrawals(Consents.now(), platform).reach([])) == []
    world.run("birch", 0)
    assert "cedar" not in kept(global_owner(REGION))
    assert world.online("birch", 0, "tea") == {"tea": [None, None]}
    world.write("cedar", consent=True)
    world.run("birch", 0)
    assert "alder" in kept(global_owner(REGION))


def test_a_week_that_is_run_again_reads_the_pool_as_of_that_week(world: World) -> None:
    """What neighbours load later changes nothing of it; what they load of that very week does, and
    the pool in the handoff tells the two apart."""
    for name in ("alder", "birch"):
        world.run(name, 0)
    early = world.offline("alder", 0)
    first = world.features["alder"]
    assert early["tea"] == [None, None]
    world.run("cedar", 0)
    complete = world.offline("alder", 0)
    second = world.features["alder"]
    assert complete["tea"] == expected(*MEMBERS)
    assert first.pool != second.pool
    world.run("birch", 1)
    world.run("cedar", 2)
    assert world.offline("alder", 0) == complete
    third = world.features["alder"]
    assert third.features == second.features
    assert third.pool != second.pool


def test_the_order_of_the_tenants_runs_makes_no_difference_in_the_end(world: World) -> None:
    """A tenant that is weeks behind completes what the online store has, and does not move it
    back."""
    for name in ("alder", "birch"):
        for week in range(3):
            world.run(name, week)
    for week in range(3):
        world.run("cedar", week)
    assert world.online("alder", 2, "tea") == {"tea": expected(*MEMBERS)}
    for name in MEMBERS:
        world.run(name, 0)
    assert world.online("alder", 2, "tea") == {"tea": expected(*MEMBERS)}
