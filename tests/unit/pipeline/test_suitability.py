"""What the sources give is held against what the use cases read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include import use_cases
from include.ingestion import trial as trials
from include.ingestion.trial import look_into
from include.pipeline.suitability import Misfits, compare
from include.tenants.config import TenantConfig
from tests.shops import grant

NOW = datetime(2025, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("id", "at", "name", "user", "item", "quantity")
EVENTS = {
    "event_column": "name",
    "event_id": ["id"],
    "event_timestamp": "at",
    "user_id": "user",
    "item_id": "item",
    "quantity": "quantity",
}


@pytest.fixture(autouse=True)
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources may be read from the test's folder."""
    grant(monkeypatch, roots=[str(tmp_path)])


def rows_of(
    count: int = 400, days: int = 360, users: int = 40, **fixed: str
) -> list[dict[str, str]]:
    """Orders, evenly over the days and the users."""
    made = []
    for number in range(count):
        at = START + timedelta(days=days * number / count)
        row = {"id": str(number), "at": at.isoformat(), "name": "Order Completed"}
        row |= {"user": f"u{number % users}", "item": f"i{number % 30}", "quantity": "1"}
        made.append(row | fixed)
    return made


def compared(
    folder: Path,
    rows: Sequence[dict[str, str]],
    name: str = "churn",
    *,
    readable: bool = True,
    corrections: str = "refuse",
    **mapping: Any,
) -> Misfits:
    """A tenant with one use case and one source of these rows; attributes are left out of it."""
    file = folder / "a.csv"
    lines = [",".join(COLUMNS), *(",".join(row[column] for column in COLUMNS) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    source = {"name": "pos", "connector": {"type": "file", "path": str(file), "format": "csv"}}
    content = {"id": "shop", "name": "Shop", "region": "eu", "schedule": "0 0 * * 1"}
    content |= {"history_from": "2024-01-01", "use_cases": {name: {}}}
    source |= {"events": {**EVENTS, **mapping}, "corrections": corrections}
    tenant = TenantConfig.model_validate(content | {"sources": [source]})
    seen = {}
    if readable:
        seen["pos"] = look_into(
            tenant, tenant.sources[0], forbidden=folder / "lake", connect=no_database
        )
    findings = compare(tenant, [use_cases.get(name)], seen, NOW)
    findings.warnings = [line for line in findings.warnings if "looks up attribute" not in line]
    return findings


def no_database(connection_id: str) -> Any:
    """Files need none."""
    raise AssertionError(connection_id)


@pytest.mark.parametrize("name", ["churn", "demand", "recommendation"])
def test_what_fits_is_told_nothing_of(name: str, tmp_path: Path) -> None:
    """A year of orders of forty customers is what the use case reads."""
    assert compared(tmp_path, rows_of(), name) == Misfits()


def test_events_that_never_arrive_are_a_problem(tmp_path: Path) -> None:
    """It names tenant, source, use case, what arrives by name, what is read, and what to do."""
    rows = [*rows_of(300, name="0"), *rows_of(100, name="Cart Opened")]
    (problem,) = compared(tmp_path, rows).problems
    assert problem.startswith("tenant shop, source pos: use case churn reads events 'Order Comp")
    assert "none of them would ever arrive" in problem
    assert "arriving are: 'Cart Opened', 1 not shown" in problem
    assert "map one of these names with `event` or `event_column`" in problem


@pytest.mark.parametrize("value", ["ann@example.org", "4111111111111111", "2024-02-29"])
def test_a_value_is_never_told_as_an_events_name(value: str, tmp_path: Path) -> None:
    """What stands in a column that was mistaken for names may be a customer's data."""
    findings = compared(tmp_path, rows_of(name=value))
    assert findings.problems
    assert value not in "".join(findings.problems + findings.warnings)


def test_of_a_part_nothing_is_said_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more was not looked at, the events may still come: a warning."""
    monkeypatch.setattr(trials, "ROWS", 100)
    monkeypatch.setattr(trials, "_ENOUGH", 10)
    findings = compared(tmp_path, [*rows_of(200, name="Page Viewed"), *rows_of(5)])
    assert not findings.problems
    (warning,) = findings.warnings
    assert "none is among the rows looked at" in warning
    assert "ever" not in warning


def test_of_a_source_that_cannot_be_read_nothing_is_said(tmp_path: Path) -> None:
    """That it cannot be read is a problem of its own."""
    assert compared(tmp_path, rows_of(), readable=False) == Misfits()


@pytest.mark.parametrize("name", ["churn", "recommendation"])
@pytest.mark.parametrize("mapping", [{}, {"user_id": None}])
def test_events_without_the_entity_are_a_problem(
    mapping: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """Whether the column is not mapped, or empty in every row."""
    (problem,) = compared(tmp_path, rows_of(user=""), name, **mapping).problems
    assert "reads user_id of events 'Order Completed'" in problem
    assert ("no source of these events maps" in problem) == bool(mapping)


def test_recommendations_without_items_are_a_problem(tmp_path: Path) -> None:
    """Nothing can be ranked."""
    (problem,) = compared(tmp_path, rows_of(item=""), "recommendation").problems
    assert "reads item_id of events" in problem


def test_users_and_items_in_different_rows_are_a_problem(tmp_path: Path) -> None:
    """Each is there, and no row has both."""
    rows = [row | {"item" if n % 2 else "user": ""} for n, row in enumerate(rows_of())]
    findings = compared(tmp_path, rows, "recommendation")
    assert any("no row has all of them" in problem for problem in findings.problems)


def test_demand_without_quantities_is_a_problem(tmp_path: Path) -> None:
    """The total that is predicted is of nothing."""
    (problem,) = compared(tmp_path, rows_of(), "demand", quantity=None).problems
    assert "reads quantity of events" in problem


def test_an_entity_that_few_rows_have_is_a_warning(tmp_path: Path) -> None:
    """Some rows fit."""
    rows = [row | ({"user": ""} if n % 4 else {}) for n, row in enumerate(rows_of(4_000))]
    findings = compared(tmp_path, rows)
    assert not findings.problems
    assert any("only 1,000 of 4,000 rows have it" in line for line in findings.warnings)


def test_ids_that_repeat_are_told_by_what_is_lost(tmp_path: Path) -> None:
    """Equal rows are dropped; different ones are set aside, and most of them being that is a
    problem."""
    rows = rows_of()
    (warning,) = compared(tmp_path, [*rows, *rows[:10]]).warnings
    assert "(id) repeats in 10 of 410 rows: 10 say the same as an earlier row" in warning
    changed = [row | {"quantity": "2"} for row in rows[:10]]
    (warning,) = compared(tmp_path, [*rows, *changed]).warnings
    assert "10 say something else, and would be set aside" in warning
    (problem,) = compared(tmp_path, rows, event_id=["name"]).problems
    assert "(name) repeats in 399 of 400 rows" in problem


def test_corrections_that_are_applied_are_no_problem(tmp_path: Path) -> None:
    """However many rows say something else than another one of their id."""
    arrival = {"column": "at"}
    findings = compared(
        tmp_path, rows_of(), event_id=["name"], arrival=arrival, corrections="apply"
    )
    assert not findings.problems
    (warning,) = (line for line in findings.warnings if "(name) repeats" in line)
    assert "399 say something else, and are versions of its event" in warning


def test_minimums_that_cannot_be_met_are_warnings(tmp_path: Path) -> None:
    """Too few days, entities and rows for an own model."""
    findings = compared(tmp_path, rows_of(30, days=20, users=5))
    assert not findings.problems
    told = " ".join(findings.warnings)
    assert "needs 120 days of events" in told
    assert "needs 20 different user_id" in told
    assert "and all sources together have 5" in told
    (rows,) = compared(tmp_path, rows_of(users=20)).warnings
    assert "needs 300 rows to train an own model" in rows
