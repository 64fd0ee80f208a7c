"""Rows of a database that are changed after they were read, and move to a later interval."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from include.ingestion import repeats
from include.storage.lake import Lake
from include.stores.postgres import slices as postgres_slices
from tests.integration.ingestion.conftest import Shops
from tests.interruptions import Ended, end_after_write
from tests.shops import Shop

pytestmark = pytest.mark.integration

TABLE = """
    DROP TABLE IF EXISTS corrected;
    CREATE TABLE corrected (id text, line int, at timestamptz, "user" text, quantity int,
                            amount numeric, note text, moved_at timestamptz);
    INSERT INTO corrected VALUES
        ('o1', 1, '2024-01-09 10:00+00', 'u1', 1, 10, 'a|b', '2024-01-09 10:00+00'),
        ('o2', 1, '2024-01-10 10:00+00', 'u2', 1, 20, NULL, '2024-01-10 10:00+00');
"""
CONNECTOR = {
    "type": "postgres",
    "connection": "postgres",
    "table": "corrected",
    "cursor": "moved_at",
}
WRITES = (
    (Lake, "replace_slice"),
    (repeats, "_recount"),
    (postgres_slices, "_set_aside"),
    (postgres_slices.PostgresSlices, "record"),
)


@dataclass
class Till:
    """A shop and its table."""

    shop: Shop
    connection: psycopg.Connection[Any]

    def change(self, order: str, day: str, **values: Any) -> None:
        """Change a row, and with it the cursor."""
        changed = ", ".join(f"{name} = %s" for name in values)
        parameters = [*values.values(), f"{day}+00", order]
        self.connection.execute(
            f"UPDATE corrected SET {changed}, moved_at = %s WHERE id = %s",  # type: ignore[arg-type]
            parameters,
        )

    def landed(self) -> list[tuple[str, float, str]]:
        """Id, amount and day of arrival, in order."""
        return [
            (row["event_id"], row["amount"], f"{row['created_timestamp']:%m-%d}")
            for row in self.shop.events()
        ]


@pytest.fixture
def connection(shops: Shops) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the database that the shops read."""
    with psycopg.connect(shops.postgres.dsn("postgres"), autocommit=True) as made:
        made.execute(TABLE)
        yield made


def till(shops: Shops, connection: psycopg.Connection[Any], **source: Any) -> Till:
    """A shop that reads the table; `source` changes its part of the file."""
    mapping = source.pop("mapping", {})
    pii = source.pop("pii_columns", ())
    shop = shops.source(CONNECTOR, pii_columns=pii, **mapping)
    changed = shop.config.sources[0].model_copy(update=source)
    shop.config = shop.config.model_copy(update={"sources": (changed,)})
    return Till(shop, connection)


def test_a_changed_row_is_set_aside_and_the_first_arrival_stays(
    shops: Shops, connection: psycopg.Connection[Any]
) -> None:
    """The reason names the event id's columns and the key to set, and no value of the row."""
    read = till(shops, connection)
    read.shop.ingest(1)
    read.change("o1", "2024-01-16", amount=12)
    done = read.shop.ingest(2)
    assert (done.rows, done.duplicates, done.quarantined) == (0, 0, 1)
    assert read.landed() == [("o1", 10.0, "01-09"), ("o2", 20.0, "01-10")]
    ((row, reason),) = read.shop.quarantined()
    assert row == {
        "id": "o1",
        "at": "2024-01-09T10:00:00+00:00",
        "user": "u1",
        "quantity": "1.0",
        "amount": "12.0",
        "moved_at": "2024-01-16T00:00:00+00:00",
    }
    assert reason == (
        "id: this event id was read before, with other values; the first row stays. "
        "`corrections: apply` takes such rows as corrections, known from moved_at on"
    )


def test_a_touched_row_is_a_duplicate(shops: Shops, connection: psycopg.Connection[Any]) -> None:
    """A cursor that moves alone changes nothing."""
    read = till(shops, connection)
    read.shop.ingest(1)
    read.change("o1", "2024-01-16", note="which is not mapped")
    done = read.shop.ingest(2)
    assert (done.rows, done.duplicates, done.quarantined) == (0, 1, 0)


@pytest.mark.parametrize("corrections", ["refuse", "apply"])
def test_a_rerun_loses_no_row_that_has_moved(
    shops: Shops, connection: psycopg.Connection[Any], corrections: str
) -> None:
    """The first week, read again after a row has left it, is what it was, and so is the table."""
    read = till(shops, connection, corrections=corrections)
    first = read.shop.ingest(1)
    read.change("o1", "2024-01-16", amount=12)
    again = read.shop.ingest(1)
    assert again.events == first.events
    assert (again.rows, again.duplicates, again.quarantined) == (2, 0, 0)
    read.shop.ingest(2)
    landed = read.landed()
    read.change("o1", "2024-01-23", amount=13)
    for number in (1, 2, 1):
        read.shop.ingest(number)
    assert read.landed() == landed
    connection.execute("DELETE FROM corrected")
    for number in (1, 2):
        read.shop.ingest(number)
    assert read.landed() == landed


def test_a_rerun_still_takes_what_is_new_or_mapped_anew(
    shops: Shops, connection: psycopg.Connection[Any]
) -> None:
    """A row of the same id and cursor is the same delivery: what it says now counts."""
    read = till(shops, connection)
    read.shop.ingest(1)
    read.change("o1", "2024-01-16", amount=12)
    connection.execute("UPDATE corrected SET amount = 21 WHERE id = 'o2'")
    connection.execute(
        "INSERT INTO corrected VALUES "
        "('o3', 1, '2024-01-11+00', 'u3', 1, 30, NULL, '2024-01-11+00')"
    )
    read.shop.ingest(1)
    assert read.landed() == [
        ("o1", 10.0, "01-09"),
        ("o2", 21.0, "01-10"),
        ("o3", 30.0, "01-11"),
    ]


def test_ids_of_other_columns_replace_what_had_the_former(
    shops: Shops, connection: psycopg.Connection[Any]
) -> None:
    """A sale never counts by two ids, whether it has moved meanwhile or not."""
    read = till(shops, connection)
    read.shop.ingest(1)
    read.change("o1", "2024-01-16", amount=12)
    (source,) = read.shop.config.sources
    assert source.events is not None
    mapping = source.events.model_copy(update={"event_id": ("id", "line")})
    changed = source.model_copy(update={"events": mapping})
    read.shop.config = read.shop.config.model_copy(update={"sources": (changed,)})
    for number in (1, 2):
        read.shop.ingest(number)
    assert read.landed() == [("o2|1", 20.0, "01-10"), ("o1|1", 12.0, "01-16")]


def test_facts_that_have_moved_stay_as_well(
    shops: Shops, connection: psycopg.Connection[Any]
) -> None:
    """A rerun keeps the former value of an attribute, known since its own arrival."""
    facts = {"entity": "user", "entity_id": "user", "names": {"note": "note"}, "valid_from": "at"}
    shop = shops.source(CONNECTOR, attributes=facts)
    read = Till(shop, connection)
    shop.ingest(1)
    read.change("o1", "2024-01-16", note="c")
    for number in (2, 1):
        shop.ingest(number)
    rows = shop.lake.dataset(shop.config.ref, "landing_attributes").to_table().to_pylist()
    known = sorted((row["value"] or "", f"{row['created_timestamp']:%m-%d}") for row in rows)
    assert known == [("", "01-10"), ("a|b", "01-09"), ("c", "01-16")]


def test_what_is_set_aside_is_masked_and_has_the_columns_of_the_source(
    shops: Shops, connection: psycopg.Connection[Any]
) -> None:
    """Of an id of several columns each has its part; personal data is masked as ever."""
    mapping = {"event_id": ["note", "line"], "properties": {"remark": "note", "piece": "line"}}
    read = till(shops, connection, mapping=mapping, pii_columns={"user": "hash"})
    read.shop.ingest(1, pii_secret="a secret of thirty-two characters")
    read.change("o1", "2024-01-16", amount=12)
    read.shop.ingest(2, pii_secret="a secret of thirty-two characters")
    row, reason = read.shop.quarantined()[-1]
    assert (row["note"], row["line"], row["user"]) == ("a|b", "1", "(masked)")
    assert reason.startswith("note, line: this event id was read before")


@pytest.mark.parametrize("corrections", ["refuse", "apply"])
@pytest.mark.parametrize("write", range(1, 5))
def test_a_load_that_ends_after_any_write_and_is_run_again_ends_the_same(
    shops: Shops,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    write: int,
    corrections: str,
) -> None:
    """Weeks loaded in any order, with rows that move in between: a rerun heals what a kill left."""
    ends = []
    for killed in (False, True):
        connection.execute(TABLE)
        read = till(shops, connection, corrections=corrections)
        days = ((1, "2024-01-16"), (3, "2024-01-23"), (2, "2024-01-30"), (1, ""), (3, ""), (4, ""))
        for number, day in days:
            if killed:
                with monkeypatch.context() as patch, suppress(Ended):
                    end_after_write(patch, write, *WRITES)
                    read.shop.ingest(number)
            read.shop.ingest(number)
            if day:
                read.change("o1", day, amount=number)
        ends.append((read.landed(), read.shop.slices(), read.shop.quarantined()))
    assert ends[0] == ends[1]
