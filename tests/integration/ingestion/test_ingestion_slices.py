"""A load that is killed between any two of its writes, and run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.ingestion import repeats, stage
from include.storage.lake import Lake
from include.stores.postgres import slices as postgres_slices
from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

pytestmark = pytest.mark.integration

ARRIVAL = {"arrival": {"column": "arrived"}}
#: Weeks 1 to 3; ids 1 and 2 are delivered again later, 3 arrives three weeks late.
DELIVERED = """id,at,user,quantity,amount,arrived
1,2024-01-09,u,1,10,2024-01-09
1,2024-01-09,u,1,11,2024-01-10
1,2024-01-09,u,1,12,2024-01-17
2,2024-01-09,u,1,20,2024-01-17
2,2024-01-09,u,1,21,2024-01-24
3,2024-01-02,u,1,30,2024-01-25
"""
LANDED = [("1", 10.0), ("2", 20.0), ("3", 30.0)]


class KilledError(BaseException):
    """Stands for SIGKILL: nothing in the code catches it."""


def landed(shop: Shop) -> list[tuple[str, float]]:
    """Ids and amounts, in order."""
    return [(row["event_id"], row["amount"]) for row in shop.events()]


def dies_after(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, and then death."""

    def call(*arguments: Any, **named: Any) -> Any:
        function(*arguments, **named)
        raise KilledError

    return call


def dies(shop: Shop, number: int) -> bool:
    """Whether the load came by the place where it dies."""
    try:
        shop.ingest(number)
    except KilledError:
        return True
    return False


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Lake, "replace_slice"),
        (stage, "drop_later_repeats"),
        (repeats, "_recount"),
        (postgres_slices, "_set_aside"),
    ],
    ids=["after the lake's commit", "after the repeats went", "amid them", "before the record"],
)
def test_killed_anywhere_and_run_again_it_ends_the_same(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """A load that died between any two writes leaves nothing behind that a rerun does not heal.

    Week 2 is loaded once more when its file has got a row that week 3 brought first.
    """
    missing = "2,2024-01-09,u,1,20,2024-01-17\n"
    before = DELIVERED.replace(missing, "")
    calm, hit = shops.text(before, **ARRIVAL), shops.text(before, **ARRIVAL)
    deaths = 0
    for number in (1, 3, 2):
        if number == 2:
            for shop in (calm, hit):
                Path(shop.config.sources[0].connector.place).write_text(DELIVERED)
        calm.ingest(number)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies_after(getattr(owner, name)))
            deaths += dies(hit, number)
        hit.ingest(number)
    assert deaths > 0
    assert landed(hit) == landed(calm) == LANDED
    assert hit.slices() == calm.slices()
