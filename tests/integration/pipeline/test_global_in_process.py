"""Global models that are trained by the command, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import end_state
import pytest
from generated import Shop
from installation import Installation, installed
from three_weeks import WEEKS, load

from include.handoffs import unpack
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef, global_owner

pytestmark = pytest.mark.integration

EU = tuple(Shop(f"eu-{n}", across=False, customers=160, seed=n) for n in (1, 2, 3))
US = Shop("us-late", region="us", across=False, customers=40, seed=4)  #: nothing of it is loaded
AS_OF = "2024-07-02"
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Installation]:
    """A week of three shops of one region, and another region's shop without any."""
    with installed() as found:
        found.open(*EU, US)
        for shop in EU:
            load(found, shop, WEEKS[0])
        found.save("loaded")
        yield found


@pytest.fixture
def here(loaded: Installation) -> Installation:
    """As it was before any training."""
    loaded.restore("loaded")
    loaded.open(*EU, US)
    return loaded


def champions(owner: TenantRef) -> list[str]:
    """Versions that came to serve, of an owner of global models."""
    return [one.version for one in PostgresPromotions().history(owner, "churn") if one.promoted]


def test_every_region_is_trained_and_one_that_fails_stops_no_other(
    here: Installation, tenantry: Command
) -> None:
    """A line per step; the region without data is named at the end, with exit code 1, and the
    other's model serves."""
    code, said = tenantry("run", "global.churn", "--as-of", AS_OF)
    assert code == 1
    steps = [line.split()[:2] for line in said.splitlines() if " s  " in line]
    assert steps == [
        ["consent", "churn"],
        ["training", "global-eu"],
        ["registry", "global-eu"],
        ["training", "global-us"],
    ]
    told = " ".join(said.split())
    assert "error: global.churn is not done: global-us: no training of the global model" in told
    assert "of no tenant that consents an event was known by then" in told
    assert champions(global_owner("eu")) == ["1"]
    assert champions(GLOBAL) == champions(global_owner("us")) == []


def test_once_more_changes_nothing_and_json_holds_the_handoffs(
    here: Installation, tenantry: Command
) -> None:
    """The same instant gives the same decision, as from Airflow; every handoff can be read."""
    (here.tenants / f"{US.id}.yaml").unlink()
    assert tenantry("run", "global.churn", "--as-of", AS_OF)[0] == 0
    before = here.end_state()
    code, said = tenantry("run", "global.churn", "--as-of", AS_OF, "--json")
    assert code == 0
    rows = json.loads(said)
    assert [(row["stage"], row["owner"]) for row in rows] == [
        ("consent", ""),
        ("training", "global-eu"),
        ("registry", "global-eu"),
    ]
    assert unpack(rows[1]["handoff"]).as_of.isoformat() == f"{AS_OF}T00:00:00+00:00"
    assert str(unpack(rows[2]["handoff"])) == rows[2]["result"]
    assert end_state.differences(before, here.end_state()) == []


def test_an_instant_to_come_is_refused(here: Installation, tenantry: Command) -> None:
    """The same words as in Airflow, for every owner, and nothing is trained."""
    code, said = tenantry("run", "global.churn", "--as-of", "2199-01-01")
    assert code == 1
    assert " ".join(said.split()).count("that is to come") == 4  # a line each, and the error
    assert champions(global_owner("eu")) == []
