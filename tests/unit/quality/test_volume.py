"""What a source is expected to deliver, and when silence is an incident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from include.handoffs import Interval
from include.quality.volume import Delivered, Incident, Volume, decide_incident, expected_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def weeks(first: int, end: int) -> Interval:
    """Weeks `[first, end)`."""
    return Interval(START + first * WEEK, START + end * WEEK)


def weekly(*rows: int) -> list[Delivered]:
    """One slice a week."""
    return [Delivered(weeks(n, n + 1), count) for n, count in enumerate(rows)]


def expected(at: int, delivered: Sequence[Delivered], rows: int = 0) -> float | None:
    """For week `at`, without incidents."""
    return expected_rows("pos", weeks(at, at + 1), rows, delivered, [])


def simulate(counts: Sequence[int]) -> tuple[list[bool], list[Incident]]:
    """Runs the weeks in order, each of them twice; whether data was lost, and the incidents."""
    incidents: dict[datetime, Incident] = {}
    lost = []
    for week, rows in enumerate(counts):
        for _ in range(2):
            interval, past = weeks(week, week + 1), weekly(*counts[:week])
            known = list(incidents.values())
            volume = Volume(rows, expected_rows("pos", interval, rows, past, known))
            collapsed = volume.judged is not None and volume.judged < 0.1
            sources = ["pos"] if collapsed else []
            incident = decide_incident(interval, {"pos": volume}, sources, known)
            if incident:
                incidents[incident.as_of] = incident
        lost.append(collapsed)
    return lost, list(incidents.values())


def test_the_median_of_the_last_eight_is_expected() -> None:
    """One week of Christmas business does not raise what is normal."""
    assert expected(10, weekly(1, 1, 10, 10, 10, 10, 10, 900, 10, 10)) == 10


def test_little_history_expects_nothing() -> None:
    """Three intervals are no past to be measured by."""
    assert expected(3, weekly(10, 10, 10)) is None


def test_the_first_load_counts_as_so_many_intervals() -> None:
    """A long slice is scaled to the length of the interval."""
    assert expected(20, [Delivered(weeks(0, 20), 2000)]) == 100


def test_the_interval_itself_is_taken_off_the_first_load() -> None:
    """A slice that contains the interval counts without the interval's own rows."""
    assert expected(20, [Delivered(weeks(0, 21), 2000)], rows=0) == 100
    assert expected(20, [Delivered(weeks(0, 21), 2050)], rows=50) == 100


def test_a_backfilled_interval_is_not_counted_twice() -> None:
    """A slice inside one that already counted adds nothing."""
    first_load = Delivered(weeks(0, 20), 2000)
    assert expected(20, [first_load, Delivered(weeks(5, 6), 9999)]) == 100


def test_the_future_is_not_the_past() -> None:
    """A backfill is measured by what came before its interval only."""
    assert expected(4, weekly(10, 10, 10, 10, 10, 500, 500, 500)) == 10


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        ([100] * 6 + [0], [6]),
        ([100] * 6 + [9], [6]),
        ([100] * 6 + [10], []),
        ([0] * 10, []),
        ([100] * 3 + [0], []),
        ([5] * 6 + [0], []),
        ([round(1000 * 0.8**n) for n in range(20)], []),
        ([100] * 6 + [0] * 20, list(range(6, 26))),
        ([100] * 6 + [0] * 12 + [90, 95], list(range(6, 18))),
    ],
    ids=[
        "stopped",
        "below a tenth",
        "a tenth",
        "never any data",
        "too little history",
        "too few rows to judge",
        "slow decline",
        "silent for longer than the window",
        "recovered",
    ],
)
def test_collapse_is_data_loss_and_nothing_else_is(counts: list[int], lost: list[int]) -> None:
    """A source that delivered and stopped is an incident, for as long as it stays silent."""
    found, _ = simulate(counts)
    assert [week for week, was_lost in enumerate(found) if was_lost] == lost


def test_one_incident_spans_the_outage_and_closes_with_it() -> None:
    """It opens with the first silent interval and closes with the first that is not."""
    _, incidents = simulate([100] * 6 + [0, 0, 0, 80, 100])
    assert [(i.as_of, i.closed_at) for i in incidents] == [
        (weeks(6, 7).end, weeks(9, 10).end),
    ]
    assert "source pos delivered 0 rows where about 100 were expected" in incidents[0].summary


def test_a_second_outage_is_a_second_incident() -> None:
    """The weeks of the first outage do not blur what is normal."""
    _, incidents = simulate([100] * 6 + [0, 0, 0, 0, 0, 0, 90] + [0])
    assert [(i.as_of, i.closed_at) for i in incidents] == [
        (weeks(6, 7).end, weeks(12, 13).end),
        (weeks(13, 14).end, None),
    ]


def test_rerunning_an_old_interval_reopens_nothing() -> None:
    """A closed incident stays closed when a week within it is checked again."""
    _, (closed,) = simulate([100] * 6 + [0, 0, 90])
    for week in (6, 7):
        volume = Volume(0, 100.0)
        again = decide_incident(weeks(week, week + 1), {"pos": volume}, ["pos"], [closed])
        assert again == closed


def test_an_interval_that_turns_out_full_closes_its_own_incident() -> None:
    """Data that arrives after all, when the interval is run again, ends the alarm."""
    _, (opened,) = simulate([100] * 6 + [0])
    again = decide_incident(weeks(6, 7), {"pos": Volume(95, 100.0)}, [], [opened])
    assert again is not None
    assert again.closed_at == weeks(6, 7).end


def test_an_incident_of_two_sources_waits_for_both() -> None:
    """One source that is back does not close what another still lacks."""
    gone = {"pos": Volume(0, 100.0), "web": Volume(0, 50.0)}
    opened = decide_incident(weeks(6, 7), gone, ["pos", "web"], [])
    assert opened is not None
    half = {"pos": Volume(90, 100.0), "web": Volume(0, 50.0)}
    waiting = decide_incident(weeks(7, 8), half, ["web"], [opened])
    assert waiting is not None
    assert waiting.closed_at is None
    back = {"pos": Volume(90, 100.0), "web": Volume(50, 50.0)}
    closed = decide_incident(weeks(8, 9), back, [], [waiting])
    assert closed is not None
    assert closed.closed_at == weeks(8, 9).end
