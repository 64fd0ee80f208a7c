"""A look into a source counts every row: taken in, set aside, or outside of every interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from include.ingestion import trial as trials
from include.ingestion.trial import AFTER, BEFORE, LATER, Trial, look_into
from include.tenants.config import TenantConfig
from tests.shops import grant

#: Of each kind one: in, later, before, before, set aside.
ROWS = [
    ("1", "2024-01-09T10:00:00"),
    ("2", "2042-01-09T10:00:00"),
    ("3", "2023-12-30T10:00:00"),
    ("4", "1999-01-09T10:00:00"),
    ("5", "soon"),
]


@pytest.fixture(autouse=True)
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources may be read from the test's folder."""
    grant(monkeypatch, roots=[str(tmp_path)])


def tenant_of(path: Path, form: str, changes: Mapping[str, Any]) -> TenantConfig:
    """A tenant whose only source is a file."""
    events = {
        "event": "Order Completed",
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "id",
    }
    source = {
        "name": "pos",
        "connector": {"type": "file", "path": str(path), "format": form},
        "events": events,
    }
    content = {
        "id": "shop",
        "name": "Shop",
        "region": "eu",
        "schedule": "0 0 * * 1",
        "history_from": "2024-01-01",
        "sources": [source],
        "use_cases": {"churn": {}},
    }
    return TenantConfig.model_validate(content | dict(changes))


def look(folder: Path, rows: list[tuple[str, str]], form: str = "csv", **changes: Any) -> Trial:
    """A look into a file with these ids and instants."""
    file = folder / f"a.{form}"
    lines = folder / "a.csv"
    lines.write_text("\n".join(["id,at", *(",".join(row) for row in rows)]) + "\n")
    if form == "parquet":
        cast = '* REPLACE (CAST("at" AS TIMESTAMP) AS "at")'
        duckdb.sql(f"COPY (SELECT {cast} FROM read_csv('{lines}', all_varchar=true)) TO '{file}'")
    tenant = tenant_of(file, form, changes)
    seen = look_into(tenant, tenant.sources[0], forbidden=folder / "lake", connect=no_database)
    assert seen.rows == seen.good + sum(seen.set_aside.values()) + sum(seen.outside.values())
    return seen


def no_database(connection_id: str) -> Any:
    """Files need none."""
    raise AssertionError(connection_id)


def test_rows_of_no_interval_are_counted_as_outside(tmp_path: Path) -> None:
    """Rows before the history and of the future are not called good."""
    seen = look(tmp_path, ROWS)
    assert (seen.complete, seen.rows, seen.good) == (True, 5, 1)
    assert seen.outside == {BEFORE: 2, LATER: 1}
    assert sum(seen.set_aside.values()) == 1
    assert seen.first == seen.last


def test_parquet_leaves_no_row_out_of_the_count(tmp_path: Path) -> None:
    """What a run would not even decode is counted by a look all the same."""
    seen = look(tmp_path, ROWS[:4], "parquet")
    assert (seen.complete, seen.rows, seen.good) == (True, 4, 1)
    assert seen.outside == {BEFORE: 2, LATER: 1}


def test_rows_after_the_contract_are_outside(tmp_path: Path) -> None:
    """The last interval that begins within the contract still takes rows in."""
    rows = [("1", "2024-01-10"), ("2", "2024-01-14"), ("3", "2024-01-15"), ("4", "2042-01-01")]
    seen = look(tmp_path, rows, until="2024-01-10")
    assert (seen.good, seen.outside) == (2, {AFTER: 2})


def test_a_history_that_begins_in_the_future_takes_nothing_in(tmp_path: Path) -> None:
    """Every row is before its beginning."""
    seen = look(tmp_path, ROWS[2:4], history_from="2090-01-01")
    assert (seen.good, seen.outside) == (0, {BEFORE: 2})


@pytest.mark.parametrize(
    ("old", "new", "rows", "complete"),
    [(25, 30, 40, False), (25, 5, 30, True), (200, 5, 100, False), (0, 10, 10, True)],
)
def test_a_look_goes_on_while_the_rows_are_outside(
    old: int,
    new: int,
    rows: int,
    complete: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten rows are a block here, and a hundred the most that is looked at."""
    monkeypatch.setattr(trials, "ROWS", 10)
    monkeypatch.setattr(trials, "MOST_ROWS", 100)
    monkeypatch.setattr(trials, "_ENOUGH", 6)
    made = [(str(n), "1999-01-01" if n < old else "2024-01-09") for n in range(old + new)]
    seen = look(tmp_path, made)
    assert (seen.rows, seen.complete) == (rows, complete)
    assert seen.good == max(0, rows - old)


def test_a_row_of_attributes_is_one_row_however_many_facts_it_has(tmp_path: Path) -> None:
    """Rows are counted, not the facts that they come to."""
    facts = {"entity": "user", "entity_id": "id", "names": {"a": "id", "b": "at"}}
    mapping = {"events": None, "attributes": facts | {"valid_from": "at"}}
    base = tenant_of(tmp_path / "a.csv", "csv", {}).model_dump(mode="json", by_alias=True)
    source = {**base["sources"][0], "name": "facts", **mapping}
    seen = look(tmp_path, ROWS, sources=[source, base["sources"][0]])
    assert (seen.source, seen.rows, seen.good) == ("facts", 5, 1)
    assert (seen.outside, seen.kinds) == ({BEFORE: 2, LATER: 1}, {"a": 1, "b": 1})


def test_lines_that_are_no_rows_are_set_aside(tmp_path: Path) -> None:
    """They have no instant of arrival, so they are never outside."""
    seen = look(tmp_path, [*ROWS[:2], ("9", "2024-01-09,too much")])
    assert (seen.rows, seen.good, seen.outside) == (3, 1, {LATER: 1})
