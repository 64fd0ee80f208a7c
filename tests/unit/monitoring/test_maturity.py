from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.features.declarations import ALL_HISTORY
from include.features.reach import NOTHING, Reach
from include.monitoring.gate import WindowComparison, compare_equally, compare_windows
from include.monitoring.maturity import Lengths, Maturity, as_old, newest_instant
from include.monitoring.profiles import WindowProfile, profile_window
from include.use_cases.drift_policy import DriftPolicy

AS_OF = datetime(2024, 5, 6, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = DriftPolicy()
REACHES = {
    "week": Reach(7 * DAY),
    "quarter": Reach(90 * DAY),
    "ever": Reach(ALL_HISTORY),
    "total": Reach(ALL_HISTORY, degree=1),
    "part": Reach(ALL_HISTORY, degree=-1),
    "fact": Reach(NOTHING),
    "prediction": Reach(ALL_HISTORY),
}
MATURITY = Maturity(REACHES)


def lengths(before: float, now: float, *, later: bool = False) -> Lengths:
    return Lengths(before * DAY, now * DAY, later)


def window(seed: int, rows: int = 400, **shifts: float) -> WindowProfile:
    draw = np.random.default_rng(seed)
    names = ("week", "quarter", "ever", "fact", "prediction")
    table = pa.table(
        {
            "user_id": [f"u{seed}-{i}" for i in range(rows)],
            **{name: draw.normal(shifts.get(name, 0.0), 1, rows) for name in names},
        }
    )
    return profile_window(table, ("user_id",))


def judge(
    known: Mapping[str, Lengths] | Lengths,
    equal: tuple[WindowProfile, WindowProfile] | None,
    **shifts: float,
) -> WindowComparison:
    reference, current = window(1), window(2, **shifts)
    found = compare_windows(reference, current, POLICY)
    every = dict.fromkeys(REACHES, known) if isinstance(known, Lengths) else known
    return compare_equally(found, reference, current, equal, every, MATURITY, POLICY)


def drifted(found: WindowComparison) -> set[str]:
    return {one.column for one in found.judged if one.drifted}


def test_growing_columns_are_never_judged() -> None:
    """What grows or shrinks with history says so; what does not may be judged."""
    assert "grows with the length of history" in MATURITY.reason_to_skip("total")
    assert "shrinks with the length of history" in MATURITY.reason_to_skip("part")
    assert not any(map(MATURITY.reason_to_skip, ("week", "ever", "unheard_of")))


def test_a_mature_column_is_judged_as_it_is() -> None:
    """Both histories are longer than the window: nothing is compared twice."""
    found = judge(lengths(100, 400), None, quarter=2.0)
    assert drifted(found) == {"quarter"}
    assert not found.skipped


def test_a_filling_window_is_compared_at_equal_length() -> None:
    """What moved only because history grew is explained, with how far it grew."""
    found = judge(lengths(17, 45), (window(3), window(4)), quarter=2.0, ever=2.0, prediction=2.0)
    assert drifted(found) == set()
    told = {one.column: one.explained for one in found.judged if one.explained}
    assert told == dict.fromkeys(
        ("quarter", "ever", "prediction"), "as history grew from 17 days to 45 days"
    )


def test_what_moves_at_equal_length_too_has_drifted() -> None:
    """Young tenants are not excused from real drift."""
    found = judge(lengths(17, 45), (window(3), window(4, quarter=2.0)), quarter=2.0, ever=2.0)
    assert drifted(found) == {"quarter"}


def test_mature_columns_of_a_young_tenant_stay_judged() -> None:
    """A week's window is full after a week, whatever the others do."""
    found = judge(lengths(17, 45), (window(3), window(4)), week=2.0, quarter=2.0)
    assert drifted(found) == {"week"}


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (lengths(3, 10), "reference made at 3 days of history, shorter than its 90d window; 10"),
        (
            lengths(200, 40),
            "history of 40 days, shorter than its 90d window; reference made at 200",
        ),
        (lengths(1, 40), "reference made at 1 day of history"),
        (lengths(200, 300, later=True), "attributes that it looks up began to arrive later"),
    ],
)
def test_without_equal_maturity_a_column_is_not_judged(known: Lengths, reason: str) -> None:
    """No week of history, more of it before than now, or younger attributes: it says which."""
    found = judge(known, (window(3), window(4)), quarter=2.0)
    assert drifted(found) == set()
    assert reason in found.skipped["quarter"]
    assert "quarter" not in {one.column for one in found.judged}


def test_all_of_history_is_named() -> None:
    """A column over all history that cannot be compared equally says how long both were."""
    found = judge(lengths(200, 40), None, ever=2.0)
    assert found.skipped["ever"] == (
        "looks at all of history, 40 days now and 200 days when the reference was made"
    )


def test_too_few_entities_at_equal_length_are_no_evidence() -> None:
    """A dozen customers in the shortened window: the column is not judged."""
    found = judge(lengths(17, 45), (window(3), window(4, rows=12)), quarter=2.0)
    assert drifted(found) == set()
    assert found.skipped["quarter"] == (
        "45 days of history now and 17 days when the reference was made; with 17 days each, there "
        "are 12 entities, and 30 are needed"
    )


def test_what_is_neither_drift_nor_alike_is_not_explained() -> None:
    """Beyond the limit of the fewer entities that equal histories leave: chance, and called so."""
    few = window(3, rows=40), window(4, rows=40, quarter=0.8)
    found = judge(lengths(17, 45), few, quarter=0.8)
    (one,) = (column for column in found.judged if column.column == "quarter")
    assert (one.drifted, one.explained) == (False, "")
    assert one.psi > 0.2


def test_nothing_is_asked_where_mature_columns_drift_alone() -> None:
    """A calm column of another maturity is left as it is."""
    found = judge(lengths(17, 45), None, week=2.0)
    assert drifted(found) == {"week"}
    assert not found.skipped


def at(*days: float) -> pa.Table:
    stamps = [AS_OF + day * DAY for day in days]
    return pa.table({"as_of": pa.array(stamps, pa.timestamp("us", tz="UTC"))})


def test_the_newest_instants_span_what_the_window_spans() -> None:
    """Snapshots: the last one. Events at instants of their own: as many days as were scored."""
    assert newest_instant(at(-14, -14, 0, 0), at(30, 30)) == AS_OF
    assert newest_instant(at(-9, -6.9, -3, 0), at(23, 27, 30)) == AS_OF - 7 * DAY
    assert newest_instant(pa.table({"x": [1]}), at(1)) is None
    assert newest_instant(at(0), at()) is None


def test_older_instants_count_where_their_history_is_hardly_shorter() -> None:
    """Two weeks are nothing to a tenant of a year, and much to one of two months."""
    rows = at(-14, -14, 0, 0)
    assert as_old(rows, AS_OF, 365 * DAY).num_rows == 4
    assert as_old(rows, AS_OF, 60 * DAY).num_rows == 2
    assert as_old(at(-3, -1, 0), AS_OF - DAY, NOTHING).num_rows == 2
