"""The stage without a server: what is due, what is late, what repeats, and what is set aside."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.ingestion import quarantine
from include.stores.memory import in_memory
from tests.shops import Shop, Shops, grant

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


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops have files only."""
    raise AssertionError(connection_id)


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shops:
    """The maker of tenants."""
    grant(monkeypatch, roots=[str(tmp_path)])
    return Shops(tmp_path, in_memory().slices, no_database)


def landed(shop: Shop) -> list[tuple[str, float]]:
    """Ids and amounts, in order."""
    return [(row["event_id"], row["amount"]) for row in shop.events()]


def test_rows_belong_to_the_interval_they_arrived_in(shops: Shops) -> None:
    """A row on the border belongs to the interval that starts there."""
    rows = ["a,2024-01-07T23:59:59,u,1,1", "b,2024-01-08,u,1,1", "c,2024-01-15,u,1,1"]
    shop = shops.csv(rows)
    found = shop.ingest(1)
    assert shop.ids() == ["a", "b"]
    assert shop.slices() == [(0, 1, 0, 0, 0), (1, 1, 0, 0, 0)]
    assert (found.rows, found.events.rows) == (2, 2)


def test_the_history_comes_along_once(shops: Shops) -> None:
    """Only the first interval of a source loads what arrived before it."""
    rows = [f"{week},2024-01-{1 + 7 * week:02},u,1,1" for week in range(4)]
    shop = shops.csv(rows)
    assert shop.ingest(2).rows == 3
    assert shop.ingest(3).rows == 1
    assert shop.ids() == ["0", "1", "2", "3"]


def test_late_rows_are_accepted_as_of_their_arrival(shops: Shops) -> None:
    """A row that happened before its interval keeps both instants and is counted as late."""
    shop = shops.text(DELIVERED, **ARRIVAL)
    found = [shop.ingest(number) for number in (1, 2, 3)]
    assert [one.late for one in found] == [0, 1, 1]
    last = shop.events()[-1]
    assert f"{last['event_timestamp']:%m-%d} {last['created_timestamp']:%m-%d}" == "01-02 01-25"


def test_a_declared_delay_is_when_a_row_became_known(shops: Shops) -> None:
    """With a delay of two days, a row of Sunday arrives in the next week."""
    shop = shops.csv(["a,2024-01-07,u,1,1"], arrival={"delay": "P2D"})
    shop.ingest(1)
    assert f"{shop.events()[0]['created_timestamp']:%m-%d}" == "01-09"
    assert shop.slices() == [(0, 0, 0, 0, 0), (1, 1, 1, 0, 0)]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_the_order_of_loading_does_not_matter(shops: Shops, order: tuple[int, ...]) -> None:
    """First arrivals stay and later ones with other values are set aside, also when the later week
    was loaded first."""
    shop = shops.text(DELIVERED, **ARRIVAL)
    for number in order:
        shop.ingest(number)
    assert landed(shop) == LANDED
    weeks = {number: counts for number, *counts in shop.slices()}
    assert weeks[1] == [1, 0, 0, 1]
    assert weeks[2] == [1, 1, 0, 1]
    assert weeks[3] == [1, 1, 0, 1]
    rows = {(row["id"], row["amount"], row["arrived"][:10]) for row, _ in shop.quarantined()}
    assert sorted(rows) == [
        ("1", "11.0", "2024-01-10"),
        ("1", "12.0", "2024-01-17"),
        ("2", "21.0", "2024-01-24"),
    ]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_repeats_are_counted_in_any_order(shops: Shops, order: tuple[int, ...]) -> None:
    """What says the same again is a duplicate of its own slice, whichever was loaded first."""
    lines = DELIVERED.splitlines()
    same = [",".join([*line.split(",")[:4], "7", line.split(",")[5]]) for line in lines[1:]]
    shop = shops.text("\n".join([lines[0], *same, ""]), **ARRIVAL)
    for number in order:
        shop.ingest(number)
    assert landed(shop) == [("1", 7.0), ("2", 7.0), ("3", 7.0)]
    weeks = {number: counts for number, *counts in shop.slices()}
    assert weeks[1] == [1, 0, 1, 0]
    assert weeks[2] == [1, 1, 1, 0]
    assert weeks[3] == [1, 1, 1, 0]
    assert shop.quarantined() == []


def test_a_rerun_leaves_the_table_version_alone(shops: Shops) -> None:
    """The same rows again make no commit and no second record."""
    shop = shops.text(DELIVERED, **ARRIVAL)
    first = [shop.ingest(number) for number in (1, 2, 3)]
    again = [shop.ingest(number) for number in (1, 2, 3)]
    assert {one.events for one in again} == {first[-1].events}
    assert [one.rows for one in again] == [1, 1, 1]
    assert landed(shop) == LANDED


def test_a_changed_source_replaces_its_slice(shops: Shops) -> None:
    """A rerun takes what the source says now, and only of its own interval."""
    shop = shops.csv(["a,2024-01-09,u,1,1", "b,2024-01-16,u,1,1"])
    shop.ingest(1)
    shop.ingest(2)
    connector = shop.config.sources[0].connector
    assert connector.type == "file"
    with open(connector.path, "w") as file:
        file.write("id,at,user,quantity,amount\nc,2024-01-09,u,1,1\n")
    shop.ingest(1)
    assert shop.ids() == ["c", "b"]


def test_facts_come_with_the_history(shops: Shops) -> None:
    """Attributes valid from before the history are known from its first instant on."""
    facts = {
        "entity": "item",
        "entity_id": "id",
        "valid_from": date(2020, 1, 1),
        "names": {"owner": "user", "size": "quantity"},
    }
    shop = shops.csv(["a,2024-01-09,u,1,1"], attributes=facts)
    found = shop.ingest(1)
    rows = shop.lake.dataset(shop.config.ref, "landing_attributes").to_table().to_pylist()
    assert sorted((r["entity_id"], r["name"], r["value"]) for r in rows) == [
        ("a", "owner", "u"),
        ("a", "size", "1"),
    ]
    assert {f"{r['valid_from']:%F} {r['created_timestamp']:%F}" for r in rows} == {
        "2020-01-01 2024-01-01"
    }
    assert shop.ingest(2).attributes == found.attributes


@pytest.mark.parametrize("kept", [2, 10_000])
@pytest.mark.parametrize("first", [1, 2])
def test_rows_without_an_instant_are_counted_by_one_slice(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, kept: int, first: int
) -> None:
    """Whichever slice met them first counts them, kept or not, and reruns change nothing."""
    monkeypatch.setattr(quarantine, "KEPT", kept)
    shop = shops.csv([f"{n},never,ann,1,1" for n in range(5)])
    for number in (first, 3 - first, first, 3 - first):
        shop.ingest(number)
    recorded = shop.store.recorded(shop.config.ref)
    counts = sorted((one.quarantined, one.undated) for one in recorded)
    assert counts == [*[(0, 0)] * (len(recorded) - 1), (5, 5)]
    stored = [row for row, _ in shop.quarantined()]
    assert sum("id" in row for row in stored) == min(kept, 5)
    assert [row["not_kept"] for row in stored if "not_kept" in row] == [5 - kept] * (kept < 5)


def test_a_new_row_without_an_instant_is_counted_by_the_slice_that_meets_it(
    shops: Shops, tmp_path: Path
) -> None:
    """Only what is new is set aside in a later interval."""
    path = tmp_path / "growing.csv"
    path.write_text("id,at,user,quantity,amount\n1,never,ann,1,1\n")
    shop = shops.file(path, "csv")
    shop.ingest(1)
    with path.open("a") as file:
        file.write("2,never,bob,1,1\n")
    shop.ingest(2)
    assert [row["id"] for row, _ in shop.quarantined()] == ["1", "2"]
    assert [done[4] for done in shop.slices()] == [1, 0, 1]  # the history comes first


def test_a_week_of_the_history_does_not_load_the_history_again(shops: Shops) -> None:
    """Where the history was read from its beginning, backfilling a part of it reads that part."""
    shop = shops.csv(
        [f"{n},2024-01-{1 + 7 * n:02}T12:00:00,ann,1,1" for n in range(4)],
    )
    shop.ingest(3)
    before = shop.events()
    done = shop.ingest(1)
    assert done.rows == 1
    assert shop.events() == before
    assert len(shop.store.recorded(shop.config.ref)) == 3


def test_the_quarantine_is_bounded_and_its_count_exact(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a limit rows are only counted, and a line says how many and why."""
    monkeypatch.setattr(quarantine, "KEPT", 10)
    bad = [f"{number},2024-01-09,u,x,1" for number in range(25)]
    shop = shops.csv(["good,2024-01-09,u,1,1", *bad, "last,2024-01-09,u,1,1"])
    shop.ingest()
    assert shop.slices()[-1] == (1, 2, 0, 0, 25)
    found = shop.quarantined()
    assert len(found) == 11
    assert found[0][0] == {"not_kept": 15, "reasons": {"quantity: no finite number": 25}}
