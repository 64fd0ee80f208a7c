"""Rows set aside are exactly those that Great Expectations finds unexpected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from include.quality import rows, suites
from include.quality.great_expectations_adapter import Evaluator
from include.quality.plausible import EXACT
from include.quality.slices import FailedRows
from include.quality.suites import IN_SET, Check
from include.storage.canonical import ATTRIBUTES, EVENTS

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LONG = "x" * 20_000


def _event(**given: object) -> dict[str, object]:
    return {
        "tenant_id": "acme",
        "source": "pos",
        "event_id": "1",
        "event": "Product Purchased",
        "user_id": "u",
        "quantity": 1.0,
        "event_timestamp": NOON,
        "created_timestamp": NOON,
        "month": "2024-05",
        **given,
    }


def _fact(**given: object) -> dict[str, object]:
    return {
        "tenant_id": "acme",
        "source": "products",
        "event_id": "1",
        "entity": "item",
        "entity_id": "i",
        "name": "category",
        "value": "tea",
        "valid_from": NOON,
        "created_timestamp": NOON,
        "month": "2024-05",
        **given,
    }


ANYTHING = {"quantity": (-EXACT, EXACT), "amount": (-EXACT, EXACT)}
EVENT_CHECKS = suites.event_row_checks(ANYTHING, NOON)
EVENT_CASES = {
    "good": (_event(), ""),
    "refund": (_event(quantity=-2.0), ""),
    "no amount": (_event(amount=None), ""),
    "markup": (_event(user_id="<script>alert(1)</script>"), ""),
    "not a number": (_event(amount=float("nan")), "amount.sane"),
    "infinite": (_event(quantity=float("-inf")), "quantity.sane"),
    "huge": (_event(amount=1e300), "amount.sane"),
    "beyond what is told apart": (_event(amount=2.0**53 + 2), "amount.sane"),
    "in dong": (_event(amount=5e10), ""),
    "the zero of clocks": (_event(event_timestamp=datetime(1970, 1, 1, tzinfo=UTC)), ""),
    "before it": (_event(event_timestamp=datetime(1965, 1, 1, tzinfo=UTC)), "event_timestamp.sane"),
    "from the future": (
        _event(event_timestamp=NOON + timedelta(seconds=1)),
        "known_after_it_happened",
    ),
    "year one": (
        _event(event_timestamp=datetime(1, 1, 1, tzinfo=UTC)),
        "event_timestamp.sane",
    ),
    "about nobody": (_event(user_id=None), "subject.present"),
    "empty id": (_event(event_id=""), "event_id.length"),
    "long user": (_event(user_id=LONG), "user_id.length"),
    "long event": (_event(event=LONG), "event.length"),
    "two faults": (_event(event="", quantity=float("inf")), "event.length, quantity.sane"),
}
FACT_CASES = {
    "good": (_fact(), ""),
    "no value": (_fact(value=None), ""),
    "empty value": (_fact(value=""), ""),
    "unknown kind": (_fact(entity="planet"), "entity.known"),
    "long value": (_fact(value=LONG), "value.length"),
    "of 1900": (_fact(valid_from=datetime(1900, 1, 1, tzinfo=UTC)), ""),
    "far out": (_fact(valid_from=datetime(9999, 1, 1, tzinfo=UTC)), "valid_from.sane"),
}


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    """Great Expectations; checks of one table leave nothing to those of the next."""
    return Evaluator()


def _failed(
    table: pa.Table, checks: Sequence[Check], evaluator: Evaluator
) -> tuple[FailedRows, list[int]]:
    """Rows that fail, and how many Great Expectations counted for each check."""
    frame = rows.prepared(table, rows.Occurrences({})).to_pandas()
    outcomes = evaluator.evaluate(frame, checks)
    counts = [
        outcome.unexpected_count
        for check, outcome in zip(checks, outcomes, strict=True)
        if check.severity == "quarantine"
    ]
    return FailedRows.of(checks, outcomes, table.num_rows), counts


@pytest.mark.parametrize("case", sorted(EVENT_CASES))
def test_a_bad_event_is_set_aside_for_its_reason(case: str, evaluator: Evaluator) -> None:
    """Each kind of bad value is named; a good row has no reason."""
    row, reason = EVENT_CASES[case]
    table = pa.Table.from_pylist([row], EVENTS)
    failed, _ = _failed(table, EVENT_CHECKS, evaluator)
    assert failed.reasons() == [reason] * bool(reason)


@pytest.mark.parametrize("case", sorted(FACT_CASES))
def test_a_bad_attribute_is_set_aside_for_its_reason(case: str, evaluator: Evaluator) -> None:
    """Attributes have checks of their own."""
    row, reason = FACT_CASES[case]
    table = pa.Table.from_pylist([row], ATTRIBUTES)
    failed, _ = _failed(table, suites.attribute_row_checks(), evaluator)
    assert failed.reasons() == [reason] * bool(reason)


@pytest.mark.parametrize("kind", ["events", "attributes"])
def test_the_rows_are_those_that_were_counted(kind: str, evaluator: Evaluator) -> None:
    """Among good ones, each bad row is found at its place, and as often as it was counted."""
    cases, schema, checks = {
        "events": (EVENT_CASES, EVENTS, EVENT_CHECKS),
        "attributes": (FACT_CASES, ATTRIBUTES, suites.attribute_row_checks()),
    }[kind]
    table = pa.Table.from_pylist([row for row, _ in cases.values()], schema)
    failed, counts = _failed(table, checks, evaluator)
    expected = {place: why for place, (_, why) in enumerate(cases.values()) if why}
    assert dict(zip(failed.rows.tolist(), failed.reasons(), strict=True)) == expected
    named = [name for why in expected.values() for name in why.split(", ")]
    assert counts == [named.count(name) for name in failed.checks]


def test_a_value_outside_a_set_is_unexpected_and_a_null_is_not(evaluator: Evaluator) -> None:
    """Nulls are the business of the null check alone."""
    check = Check("kind", IN_SET, {"value_set": ["item"]}, "quarantine", "entity")
    frame = pd.DataFrame({"entity": ["item", None, "planet"]})
    (outcome,) = evaluator.evaluate(frame, [check])
    assert outcome.unexpected == (2,)


def test_the_earliest_of_repeated_ids_is_kept() -> None:
    """Of rows with one id the earliest arrival counts, of equal ones the first read."""
    later = NOON + timedelta(hours=1)
    table = pa.Table.from_pylist(
        [
            _event(event_id="a", created_timestamp=later),
            _event(event_id="a"),
            _event(event_id="a"),
            _event(event_id="b"),
        ],
        EVENTS,
    )
    assert rows.Occurrences({"a": NOON}).count(table).to_pylist() == [2, 1, 2, 1]


def test_repeats_are_told_across_batches() -> None:
    """What one batch has seen the next one knows."""
    occurrences = rows.Occurrences({"1": NOON})
    table = pa.Table.from_pylist([_event()], EVENTS)
    assert [occurrences.count(table).to_pylist() for _ in range(2)] == [[1], [2]]


def test_batches_keep_the_order_and_the_limit() -> None:
    """Every row comes back once, in order, in batches no larger than asked for."""
    table = pa.table({"n": list(range(1000))})
    found = list(rows.batches(ds.dataset(table), size=300))
    assert [batch.num_rows for batch in found] == [300, 300, 300, 100]
    assert pa.concat_tables(found).equals(table)
