"""The audit chain: whatever is done to it afterwards does not fit any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.storage.chain import (
    ERASED,
    AuditEntry,
    Head,
    broken_links,
    broken_promises,
    canonical,
    changed_rows,
    columns,
    digest_of,
    following,
    head_of,
)

BEGUN = datetime(2017, 1, 1, tzinfo=UTC)
TEXT = st.text(max_size=12)
TOLD = st.dictionaries(TEXT, st.one_of(st.none(), TEXT, st.integers(), st.booleans()), max_size=3)
CONTENTS = st.lists(st.tuples(TEXT, TEXT, TOLD), min_size=1, max_size=12)


def chain(
    contents: Sequence[tuple[str, str, dict[str, Any]]], owner: str = "acme"
) -> list[AuditEntry]:
    """A chain of these actors, actions and details."""
    entries: list[AuditEntry] = []
    for at, (actor, action, told) in enumerate(contents):
        entries.append(
            following(
                head_of(entries),
                owner,
                recorded_at=BEGUN + timedelta(minutes=at),
                actor=actor,
                action=action,
                details=canonical(told),
            )
        )
    return entries


def findings(entries: Sequence[AuditEntry], head: Head) -> list[str]:
    """What is found in a chain beside a checkpoint of it."""
    found = [*broken_links("acme", entries)]
    return [str(one) for one in (*found, *broken_promises("acme", entries, [("then", head)]))]


@given(CONTENTS)
def test_a_chain_that_nobody_touched_holds(contents: Any) -> None:
    """Nothing is found, beside no checkpoint, an old one and the newest."""
    entries = chain(contents)
    for length in range(len(entries) + 1):
        assert findings(entries, head_of(entries[:length])) == []


@given(CONTENTS, st.data())
def test_an_entry_that_was_edited_is_found(contents: Any, data: Any) -> None:
    """Whichever column of whichever entry, without any checkpoint."""
    entries = chain(contents)
    at = data.draw(st.integers(0, len(entries) - 1))
    other = {
        "owner": st.just("globex"),
        "number": st.integers(-3, 20),
        "recorded_at": st.datetimes(timezones=st.just(UTC)),
        "actor": TEXT,
        "action": TEXT,
        "details": TEXT,
        "previous": TEXT,
        "digest": TEXT,
    }
    column = data.draw(st.sampled_from(sorted(other)))
    edited = replace(entries[at], **{column: data.draw(other[column])})
    if edited == entries[at]:
        return
    changed = [*entries[:at], edited, *entries[at + 1 :]]
    assert [*broken_links("acme", sorted(changed, key=lambda one: one.number))]


@given(CONTENTS, st.data())
def test_an_entry_that_is_missing_is_found(contents: Any, data: Any) -> None:
    """In the middle by the gap; at the end beside a checkpoint."""
    entries = chain(contents)
    start = data.draw(st.integers(0, len(entries) - 1))
    end = data.draw(st.integers(start + 1, len(entries)))
    left = [*entries[:start], *entries[end:]]
    assert findings(left, head_of(entries))
    if end < len(entries):
        assert [*broken_links("acme", left)]


@given(CONTENTS, st.data())
def test_entries_that_were_moved_are_found(contents: Any, data: Any) -> None:
    """By whatever order, with the numbers they had or with new ones."""
    entries = chain(contents)
    moved = data.draw(st.permutations(entries))
    if moved == entries:
        return
    renumbered = [replace(one, number=at) for at, one in enumerate(moved, 1)]
    assert [*broken_links("acme", moved)]
    assert [*broken_links("acme", renumbered)]


@given(CONTENTS, st.data())
def test_an_entry_put_between_is_found(contents: Any, data: Any) -> None:
    """Even with a digest of its own that is right, and the numbers after it raised."""
    entries = chain(contents)
    at = data.draw(st.integers(0, len(entries) - 1))
    new = following(
        head_of(entries[:at]),
        "acme",
        recorded_at=BEGUN,
        actor=data.draw(TEXT),
        action=data.draw(TEXT),
        details=canonical(data.draw(TOLD)),
    )
    raised = [replace(one, number=one.number + 1) for one in entries[at:]]
    if digest_of(new) == entries[at].digest:
        return
    assert [*broken_links("acme", [*entries[:at], new, *raised])]


@given(CONTENTS, CONTENTS, st.data())
def test_a_chain_written_anew_is_found_beside_a_checkpoint(
    contents: Any, others: Any, data: Any
) -> None:
    """Who computes every digest again, from some entry on, still meets what was kept elsewhere."""
    entries = chain(contents)
    at = data.draw(st.integers(0, len(entries) - 1))
    anew = chain([*contents[:at], *others])
    if anew[: len(entries)] == entries:
        return
    assert [*broken_links("acme", anew)] == []
    assert findings(anew, head_of(entries))


def test_a_finding_says_which_entry_what_was_expected_and_what_is_there() -> None:
    """One line that an auditor can go and look with."""
    entries = chain([("ada", "a", {}), ("ada", "b", {}), ("ada", "c", {})])
    del entries[1]
    (found,) = broken_links("acme", entries)
    assert str(found) == (
        "acme: entry 3: entries are missing before it; expected number 2, found number 3"
    )
    (cut,) = broken_promises("acme", entries[:1], [("checkpoint 7", Head(3, "d"))])
    assert str(cut) == (
        "acme: the chain was cut since checkpoint 7; expected at least 3 entries, found 1"
    )


# rows of ledgers

LONG = "because " * 20


def promotion(**changes: str | None) -> dict[str, str | None]:
    """A row of `promotions` as texts."""
    row = {"tenant_id": "acme", "use_case": "churn", "as_of": "2017-01-01", "trigger": "scheduled"}
    return {**row, "version": "1", "reasons": LONG, **changes}


def retrain(**changes: str | None) -> dict[str, str | None]:
    """A row of `retrain_ledger` as texts."""
    row = {"tenant_id": "acme", "use_case": "churn", "as_of": "2017-01-01", "decision": "retrain"}
    return {**row, "state": "requested", "finished_at": None, **changes}


def entered(*rows: tuple[str, dict[str, str | None]]) -> list[AuditEntry]:
    """A chain of these rows."""
    return chain([("system", action, columns(row)) for action, row in rows])


def changed(entries: list[AuditEntry], **tables: list[dict[str, str | None]]) -> list[str]:
    """What is found of these tables."""
    return [str(one) for one in changed_rows("acme", entries, tables)]


def test_rows_as_they_were_entered_are_no_finding() -> None:
    """Also along a life: the newest entry is what counts, and a new column was never entered."""
    entries = entered(
        ("promotion", promotion()),
        ("retrain", retrain()),
        ("retrain", retrain(state="finished", finished_at="2017-01-02")),
    )
    there = retrain(state="finished", finished_at="2017-01-02", added_later="x")
    assert changed(entries, promotions=[promotion()], retrain_ledger=[there]) == []


@pytest.mark.parametrize("column", ["version", "reasons"])
def test_a_changed_column_is_named_with_both_values(column: str) -> None:
    """Whether it is short, and stands in the entry, or long, and its digest does."""
    entries = entered(("promotion", promotion()))
    (found,) = changed(entries, promotions=[promotion(**{column: "7"})])
    assert found.startswith(f"acme: entry 1: {column} of the promotion churn/2017-01-01/scheduled")
    assert found.endswith("found '7'")


def test_a_long_value_cannot_pass_for_its_own_digest() -> None:
    """A row that holds the text which the entry holds is another row."""
    told = columns(promotion())["reasons"]
    entries = entered(("promotion", promotion()))
    assert len(changed(entries, promotions=[promotion(reasons=told)])) == 1


def test_rows_without_an_entry_and_entries_without_a_row_are_found() -> None:
    """A promotion slipped in, and one that is gone."""
    entries = entered(("promotion", promotion()))
    (one, other) = changed(entries, promotions=[promotion(trigger="drift")])
    assert "the promotion churn/2017-01-01/drift was never entered" in one
    assert "the promotion churn/2017-01-01/scheduled is gone" in other


def test_a_promotion_is_entered_once() -> None:
    """Editing the row and entering it again, as if it had been written so, is found."""
    entries = entered(("promotion", promotion()), ("promotion", promotion(version="2")))
    (found,) = changed(entries, promotions=[promotion(version="2")])
    assert "was entered again" in found


def test_a_retrains_decision_never_changes() -> None:
    """Its state does, entry by entry; what was decided does not."""
    entries = entered(("retrain", retrain()), ("retrain", retrain(decision="suppress")))
    (found,) = changed(entries, retrain_ledger=[retrain(decision="suppress")])
    assert "decision of the retrain churn/2017-01-01 was entered differently" in found


def test_erased_rows_are_not_expected() -> None:
    """An erasure that the chain tells of takes its tables' rows, and no others."""
    before = entered(("promotion", promotion()), ("retrain", retrain()))
    told = canonical({"tables": ["promotions"]})
    last = following(
        head_of(before), "acme", recorded_at=BEGUN, actor="ada", action=ERASED, details=told
    )
    assert changed([*before, last], retrain_ledger=[retrain()]) == []
    (found,) = changed([*before, last])
    assert "the retrain churn/2017-01-01 is gone" in found


def test_details_that_are_no_object_are_no_crash() -> None:
    """What an intruder put into a row of the chain is a finding, whatever it is."""
    good = entered(("promotion", promotion()))
    for details in ("", "[]", "{", '"x"', "null", "1"):
        bad = following(
            head_of(good), "acme", recorded_at=BEGUN, actor="x", action="promotion", details=details
        )
        assert changed([*good, bad], promotions=[promotion()])
