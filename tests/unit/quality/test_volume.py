"""When lost days are an incident, what becomes of it, and what closes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.handoffs import Interval
from include.quality.losses import Loss
from include.quality.volume import DataLoss, Volume, decide_incidents, lost

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY


def week(number: int) -> Interval:
    """The week that starts `number` weeks after the history does."""
    return Interval(START + number * WEEK, START + (number + 1) * WEEK)


def loss(first: float, last: float, rows: int = 0, expected: float = 100.0) -> Loss:
    """Days `[first, last)` since the start."""
    return Loss(START + first * DAY, START + last * DAY, rows, expected)


def volume(until: float, *losses: Loss, since: float = 0) -> Volume:
    """What a check that knows the days until then says."""
    return Volume(100, 100.0, losses, START + since * DAY, START + until * DAY)


def play(
    runs: Sequence[tuple[int, Mapping[str, Volume]]], known: Sequence[DataLoss] = ()
) -> list[DataLoss]:
    """Checks of weeks in this order, each of them twice; the incidents on record at last."""
    recorded = {one.as_of: one for one in known}
    for number, volumes in runs:
        for again in (False, True):
            changed = decide_incidents(week(number), volumes, list(recorded.values()))
            assert not (again and changed)
            recorded |= {one.as_of: one for one in changed}
    return sorted(recorded.values(), key=lambda one: one.as_of)


def test_one_incident_spans_an_outage_and_closes_with_it() -> None:
    """It opens with the first week that lost days, and closes with the first that did not."""
    (found,) = play(
        [
            (6, {"pos": volume(49, loss(45, 49))}),
            (7, {"pos": volume(56, loss(45, 56))}),
            (8, {"pos": volume(63, loss(45, 58))}),
        ]
    )
    assert (found.as_of, found.closed_at) == (week(6).end, week(8).end)
    (outage,) = found.outages
    assert (outage.start, outage.until) == (START + 45 * DAY, START + 58 * DAY)
    assert "between 2024-02-15 00:00 UTC and 2024-02-28 00:00 UTC: source pos" in found.summary


def test_days_stay_lost_when_the_source_is_back() -> None:
    """A closed incident holds its days until they are sent again."""
    closed = play([(6, {"pos": volume(49, loss(43, 45))}), (7, {"pos": volume(56, loss(43, 45))})])
    assert closed[0].closed_at == week(6).end
    assert [one.source for one in lost(closed)] == ["pos"]
    (back,) = play([(8, {"pos": volume(63)})], closed)
    assert lost([back]) == []
    assert back.outages[0].recovered_at == week(8).end
    assert "complete since 2024-03-04" in back.summary


def test_part_of_the_days_that_are_sent_again_are_no_longer_lost() -> None:
    """What is left of an outage is what is still missing."""
    first = play([(6, {"pos": volume(49, loss(42, 49))})])
    (found,) = play([(7, {"pos": volume(56, loss(42, 44), loss(47, 49))})], first)
    assert [(one.start - START) / DAY for one in lost([found])] == [42, 47]
    assert found.closed_at == week(7).end


def test_a_second_outage_is_a_second_incident() -> None:
    """One right after another has days of its own."""
    found = play(
        [
            (6, {"pos": volume(49, loss(43, 46))}),
            (7, {"pos": volume(56, loss(43, 46), loss(50, 56))}),
        ]
    )
    assert [(one.as_of, one.closed_at) for one in found] == [
        (week(6).end, week(6).end),
        (week(7).end, None),
    ]


def test_two_sources_at_a_time_are_one_incident_that_waits_for_both() -> None:
    """One source that is back does not close what another still lacks."""
    runs = [
        (6, {"pos": volume(49, loss(42, 49)), "web": volume(49)}),
        (7, {"pos": volume(56, loss(42, 56)), "web": volume(56, loss(52, 56))}),
        (8, {"pos": volume(63, loss(42, 58)), "web": volume(63, loss(52, 63))}),
    ]
    (waiting,) = play(runs)
    assert {one.source: one.until is None for one in waiting.outages} == {"pos": False, "web": True}
    assert waiting.closed_at is None
    (closed,) = play(
        [(9, {"pos": volume(70, loss(42, 58)), "web": volume(70, loss(52, 64))})], [waiting]
    )
    assert closed.closed_at == week(9).end


def test_a_source_that_is_no_longer_declared_closes_its_outage() -> None:
    """Nobody waits for what is not asked for."""
    first = play([(6, {"pos": volume(49), "web": volume(49, loss(44, 49))})])
    (found,) = play([(7, {"pos": volume(56)})], first)
    assert found.closed_at == week(7).end


def test_losses_of_the_first_load_are_closed_incidents_of_their_own_time() -> None:
    """An outage long before the platform came is known, and nobody is alarmed."""
    (old,) = play([(20, {"pos": volume(147, loss(60, 65))})])
    assert (old.as_of, old.closed_at) == (START + 65 * DAY, week(20).end)


def test_what_is_too_old_to_be_judged_again_stays_as_it_was() -> None:
    """Days before the series begins are not found to be back."""
    first = play([(6, {"pos": volume(49, loss(43, 46))})])
    found = play([(90, {"pos": volume(637, since=100)})], first)
    assert lost(found) == lost(first)


def test_an_outage_that_outlasts_the_past_ends_with_new_rows() -> None:
    """A source that was silent for longer than anything is read of is not taken to be complete."""
    first = play([(6, {"pos": volume(49, loss(43, 49))})])
    silent = Volume(0, None, (), START + 100 * DAY, START + 637 * DAY)
    assert play([(90, {"pos": silent})], first) == first
    (back,) = play([(91, {"pos": replace(silent, rows=20)})], first)
    assert (back.closed_at, back.outages[0].recovered_at) == (week(91).end, None)


def test_a_rerun_of_an_old_interval_knows_what_came_since() -> None:
    """It finds the same days lost as the newest run did, and reopens nothing."""
    known = {"pos": volume(63, loss(43, 52))}
    recorded = play([(6, {"pos": volume(49, loss(43, 49))}), (8, known)])
    assert play([(6, known)], recorded) == recorded


@pytest.mark.parametrize(
    ("rows", "kind"), [(0, "total"), (5, "total"), (6, "partial"), (50, "partial")]
)
def test_what_little_came_tells_the_kind(rows: int, kind: str) -> None:
    """An outage that leaves next to nothing is total."""
    (found,) = play([(6, {"pos": volume(49, loss(42, 49, rows))})])
    assert found.outages[0].kind == kind
    assert f"({kind})" in found.summary


def test_days_lost_are_counted_within_the_interval() -> None:
    """An outage across a border counts on both sides; without a past there is nothing to tell."""
    found = volume(63, loss(47, 51.5))
    assert (found.lost_days(week(6)), found.lost_days(week(7))) == (2.0, 2.5)
    assert found.lost_days(week(8)) == 0
    assert Volume(0, None, (), START, START).lost_days(week(0)) is None
