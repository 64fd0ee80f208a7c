"""What a run has to read of a source: by small tables, and whatever may have happened before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.handoffs import Interval
from include.ingestion.coverage import MOST, due, uncovered
from include.ingestion.slices import Slice

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

#: Days since the start; the schedule ticks at midnight. `0-3@3-4` came along with `3-4`.
TABLES = {
    "the first load brings the history as one slice": """
        history | recorded               | run     | reads
        0       |                        | 3-4     | 0-3 3-4
        3       |                        | 3-4     | 3-4
        5       |                        | 3-4     | 3-4
    """,
    "a rerun, killed before or not, is the whole run": """
        history | recorded               | run     | reads
        0       | 0-3@3-4                | 3-4     | 0-3 3-4
        0       | 0-3@3-4 3-4            | 3-4     | 0-3 3-4
        0       | 0-3 3-4 4-5@6-7        | 6-7     | 4-5 5-6 6-7
        0       | 0-3 3-4 4-5@6-7 5-6@6-7 6-7 | 6-7 | 4-5 5-6 6-7
    """,
    "what follows on what is there is the interval alone": """
        history | recorded               | run     | reads
        0       | 0-3@3-4 3-4            | 4-5     | 4-5
        0       | 0-3@3-4 3-4 4-5 5-6    | 4-5     | 4-5
        0       | 0-3@3-4 3-4            | 1-2     | 1-2
    """,
    "a pause is loaded tick by tick": """
        history | recorded               | run     | reads
        0       | 0-3@3-4 3-4            | 6-7     | 4-5 5-6 6-7
        0       | 0-3@3-4 3-4 5-6        | 7-8     | 4-5 6-7 7-8
    """,
    "a slice that was run again by itself comes along no more": """
        history | recorded               | run     | reads
        0       | 0-3 3-4 4-5 5-6@6-7 6-7 | 6-7    | 5-6 6-7
        0       | 0-3 3-4 4-5@6-7 5-6@6-7 6-7 | 4-5 | 4-5
    """,
    "a history that begins earlier is loaded tick by tick": """
        history | recorded               | run     | reads
        0       | 2-3@3-4 3-4            | 4-5     | 0-1 1-2 4-5
        0       | 2-3@3-4 3-4            | 3-4     | 0-2 2-3 3-4
        2       | 0-3@3-4 3-4            | 4-5     | 4-5
    """,
    "ticks that moved cut a hole where it ends": """
        history | recorded               | run     | reads
        0       | 0-3 3-4.5              | 6-7     | 4.5-5 5-6 6-7
        0       | 0-3 3-4 5.5-7          | 7-8     | 4-5 5-5.5 7-8
        0       | 0-3 3-4                | 5-7     | 4-5 5-7
    """,
    "what was read in longer or in overlapping intervals is covered": """
        history | recorded               | run     | reads
        0       | 0-3 3-10               | 7-8     | 7-8
        0       | 0-4 2-5                | 6-7     | 5-6 6-7
    """,
    "a very long hole is one slice": """
        history | recorded               | run     | reads
        0       | 0-3 3-4                | 105-106 | 4-105 105-106
        0       | 0-3 3-4 4-105@105-106  | 105-106 | 4-105 105-106
    """,
}


def interval(text: str) -> Interval:
    """`4-5.5`, in days since the start."""
    first, end = (START + float(part) * DAY for part in text.split("-"))
    return Interval(first, end)


def shown(one: Interval) -> str:
    """The other way round."""
    return "-".join(f"{(at - START) / DAY:g}" for at in (one.start, one.end))


def slice_of(text: str) -> Slice:
    """`4-5`, or `4-5@6-7` of one that came along."""
    own, _, run = text.partition("@")
    along = interval(run) if run else None
    return Slice("pos", interval(own), 1, 0, 0, 1, along_with=along)


def midnight(after: datetime) -> datetime:
    """The next tick."""
    return START + ((after - START) // DAY + 1) * DAY


@pytest.mark.parametrize("table", TABLES.values(), ids=[*TABLES])
def test_what_is_due(table: str) -> None:
    """Holes come first, in order, and the interval of the run comes last."""
    for line in table.strip().splitlines()[1:]:
        history, recorded, run, reads = (cell.strip() for cell in line.split("|"))
        found = due(
            START + float(history) * DAY,
            interval(run),
            midnight,
            [slice_of(one) for one in recorded.split()],
        )
        assert " ".join(map(shown, found)) == reads, line


def test_a_hole_of_as_many_intervals_as_are_read_one_by_one() -> None:
    """One more, and it is a single slice."""
    recorded = [slice_of("0-3")]
    for ticks, parts in ((MOST, MOST), (MOST + 1, 1)):
        run = interval(f"{3 + ticks}-{4 + ticks}")
        assert len(due(START, run, midnight, recorded)) == parts + 1


#: Half days at which a history begins, and what one run after the other is about.
HISTORIES = st.integers(0, 10)
RUNS = st.lists(
    st.tuples(HISTORIES, st.integers(0, 30), st.sampled_from((1, 2, 2, 5)), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(RUNS)
def test_nothing_is_missing_after_a_run_and_nothing_is_read_twice(
    runs: list[tuple[int, int, int, int]],
) -> None:
    """Whatever ran before, in whatever order and killed wherever, under whatever history: after a
    run there is no hole up to its end, and only what came along with it before is read again."""
    recorded: dict[Interval, Slice] = {}
    half = DAY / 2
    for begins, first, length, killed_before_the_end in runs:
        history, run = (
            START + begins * half,
            Interval(START + first * half, START + (first + length) * half),
        )
        for read in (killed_before_the_end, 0):
            before = list(recorded.values())
            parts = due(history, run, midnight, before)
            assert parts[-1] == run
            came_along = {one.interval for one in before if one.along_with == run}
            covered = [one.interval for one in before]
            assert came_along <= set(parts)
            for part in parts[:-1]:
                assert part in came_along or uncovered(part.start, part.end, covered) == [part]
            for one, following in pairwise(parts):
                assert one.end <= following.start
            for part in parts[: len(parts) - read]:
                along = None if part == run else run
                recorded[part] = Slice("pos", part, 1, 0, 0, 1, along_with=along)
        if history < run.end:
            assert uncovered(history, run.end, list(recorded)) == []
        again = due(history, run, midnight, list(recorded.values()))
        assert again == parts
