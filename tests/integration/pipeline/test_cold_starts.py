"""Who has bought nothing yet, at a shop that sells and at one that has not sold anything."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pyarrow.compute as pc
import pytest
from generated import Shop
from installation import Installation, installed
from three_weeks import WEEKS, run, train_global

from include import use_cases, wiring
from include.stage_runs import newest_training
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.stage_runs import PostgresStageRuns
from include.tenants.config import UseCaseOverrides
from include.tenants.loader import find_tenant
from include.tenants.namespace import GLOBAL
from include.training.reproduction import reproduce
from include.training.shared_catalogue import shown_to

STAGE_RUNS: Final = PostgresStageRuns()
pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

#: Both give to the global model, and sell the same articles.
SELLING = Shop("chain-one", chain="chain"), Shop("chain-two", chain="chain", seed=8)
#: Shows nobody what it has had.
STRICT = SELLING[1]
NEW = Shop("chain-new", consent=False, chain="chain")
CASE = "recommendation"
VISITORS = tuple(f"visitor{number}" for number in range(12))
VIEWS = """\
  - name: visits
    connector: {{type: file, path: "{path}", format: csv}}
    events:
      event: Product Viewed
      event_id: [visit]
      event_timestamp: at
      user_id: visitor
      item_id: sku
use_cases:
  {case}: {override}
"""
#: What the new shop has on its shelves, three of which nobody else sells.
SHELF = [*(f"chain-sku{number}" for number in range(15)), "own-a", "own-b", "own-c"]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """Two shops that sell, one week; their global model; the new shop in the week after."""
    with installed() as found:
        found.open(*SELLING, NEW)
        for shop in (*SELLING, NEW):
            _visited(found, shop)
        folder = found.tenants.parent
        for name, rows in (
            ("orders", []),
            ("products", [[sku, "tea"] for sku in SHELF]),
        ):
            file = next(folder.rglob(f"{NEW.id}/{name}.csv"))
            header = file.read_text(encoding="utf-8").splitlines()[0].split(",")
            _rewrite(file, [header, *rows])
        for shop in SELLING:
            run(found, shop, WEEKS[0], CASE)
        train_global(CASE, WEEKS[0])
        for shop in (*SELLING, NEW):
            run(found, shop, WEEKS[1], CASE)
        yield found


def _visited(here: Installation, shop: Shop) -> None:
    """Have the shop send visits of people who never buy, and switch on the one use case."""
    path = here.data / shop.id / "visits.csv"
    rows = [
        [f"{who}-{week}", f"{at:%Y-%m-%dT10:00:00}", who, shop.sku(29)]
        for week, at in enumerate(WEEKS)
        for who in VISITORS
    ]
    _rewrite(path, [["visit", "at", "visitor", "sku"], *rows])
    file = here.tenants / f"{shop.id}.yaml"
    kept = file.read_text(encoding="utf-8").split("use_cases:")[0]
    override = "{seen_items: drop}" if shop == STRICT else "{}"
    added = VIEWS.format(path=path.as_posix(), case=CASE, override=override)
    file.write_text(kept + added, encoding="utf-8")


def _rewrite(path: Any, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def lists(here: Installation, shop: Shop) -> dict[str, list[str]]:
    """Per entity, its items in order."""
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    found: dict[str, list[str]] = {}
    with tenant_transaction(tenant.ref) as connection:
        for row in connection.execute(
            "SELECT entity_id, item_id FROM predictions WHERE use_case = %s AND as_of = %s "
            "ORDER BY entity_id, rank",
            [CASE, WEEKS[1]],
        ).fetchall():
            found.setdefault(row["entity_id"], []).append(row["item_id"])
    return found


def shared(tenant: str) -> list[str]:
    """What the catalogue of the global training shows a tenant."""
    trained = newest_training(STAGE_RUNS, GLOBAL, CASE, WEEKS[1])
    assert trained is not None
    evaluation = json.loads(Lake.from_environment().get(GLOBAL, trained.evaluation))
    return shown_to(tenant, evaluation["catalogue"], 50)


def test_who_has_bought_nothing_is_shown_what_sells(here: Installation) -> None:
    """Ten items of the shop, by the version that serves everybody."""
    shop = SELLING[0]
    found = lists(here, shop)
    assert set(VISITORS) < set(found)
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    with tenant_transaction(tenant.ref) as connection:
        sold = connection.execute(
            "SELECT count(DISTINCT model_version) AS n FROM predictions WHERE as_of = %s",
            [WEEKS[1]],
        ).fetchone()
    assert sold is not None
    assert sold["n"] == 1
    for visitor in VISITORS:
        assert len(set(found[visitor])) == 10
        assert found[visitor] == found[VISITORS[0]]


def test_a_shop_that_wants_no_repeats_shows_nothing_that_was_had(here: Installation) -> None:
    """And what it trained that way is trained that way again."""
    tenant = find_tenant(here.tenants, STRICT.id, use_cases.names())
    lake = Lake.from_environment()
    events = lake.read(tenant.ref, "events", known_at=WEEKS[1])
    bought = events.filter(pc.equal(events["event"], "Order Completed"))
    had = set(zip(bought["user_id"].to_pylist(), bought["item_id"].to_pylist(), strict=True))
    found = lists(here, STRICT)
    listed = {(who, item) for who, items in found.items() for item in items}
    assert len(found) > 100
    assert not listed & had
    platform = wiring.platform(wiring.connect_from_environment)
    own = [one for one in platform.registry.versions(tenant.ref, CASE) if one.rung == "own"]
    assert own
    plain = tenant.model_copy(update={"use_cases": {CASE: UseCaseOverrides()}})
    made = reproduce(
        tenant.ref,
        own[0],
        use_cases.get(CASE),
        fleet={tenant.id: plain},
        registry=platform.registry,
        promotions=PROMOTIONS,
        lake=lake,
        code_revision=wiring.code_revision(),
    )
    assert made.identical, made.checks


def test_a_shop_that_has_sold_nothing_shows_what_the_others_sell(here: Installation) -> None:
    """In the order of the catalogue, and of it only what the shop has on its shelves."""
    assert shared(SELLING[0].id) == []  # one other is too few for those two themselves
    catalogue = shared(NEW.id)
    wanted = [sku for sku in catalogue if sku in SHELF][:10]
    assert len(wanted) == 10
    assert lists(here, NEW) == dict.fromkeys(VISITORS, wanted)


def test_before_any_global_training_there_is_no_catalogue(here: Installation) -> None:
    """Nor does a training of a later instant tell an earlier one."""
    assert newest_training(STAGE_RUNS, GLOBAL, CASE, WEEKS[0] - timedelta(days=1)) is None
    assert newest_training(STAGE_RUNS, GLOBAL, CASE) == newest_training(
        STAGE_RUNS, GLOBAL, CASE, WEEKS[2]
    )
