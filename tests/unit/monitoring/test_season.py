from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.monitoring.gate import WindowComparison, compare_windows, explain
from include.monitoring.profiles import WindowProfile, profile_window
from include.monitoring.season import YEAR, StoredWindow, wanted
from include.use_cases.drift_policy import DriftPolicy

DAY = timedelta(days=1)
TRAINED = datetime(2024, 11, 4, tzinfo=UTC)  # a Monday
CHRISTMAS = datetime(2024, 12, 23, tzinfo=UTC)  # a Monday
SATURDAY = datetime(2024, 11, 30, tzinfo=UTC)
POLICY = DriftPolicy()


def window(
    as_of: datetime, shift: float = 0.0, rows: int = 400, level: float = 0.0
) -> WindowProfile:
    """Spend that `shift` moves, visits that never change, and a prediction that follows spend."""
    draw = np.random.default_rng([int(as_of.timestamp()), rows])
    spend = draw.normal(10 + shift, 2, rows)
    table = pa.table(
        {
            "user_id": [f"u{i}" for i in range(rows)],
            "as_of": pa.array([as_of] * rows, pa.timestamp("us", tz="UTC")),
            "spend": spend,
            "visits": draw.poisson(3, rows),
            "prediction": 1 / (1 + np.exp(-(spend - 10) / 2)) + level,
        }
    )
    return profile_window(table, ("user_id",))


REFERENCE = window(TRAINED - 28 * DAY, rows=1_000)


def judged(
    as_of: datetime, current: WindowProfile, *windows: StoredWindow, version: str = "3"
) -> WindowComparison:
    found = compare_windows(REFERENCE, current, POLICY)
    return explain(
        found,
        REFERENCE,
        current,
        windows,
        version=version,
        trained_as_of=TRAINED,
        as_of=as_of,
        policy=POLICY,
    )


def last_year(shift: float, near: timedelta = timedelta(0), rows: int = 400) -> StoredWindow:
    at = CHRISTMAS - YEAR + near
    return StoredWindow(at, "1", window(at, shift, rows))


def test_christmas_is_no_drift_once_a_christmas_is_known() -> None:
    """What moves as it did a year before is explained, and the prediction that follows it too."""
    current = window(CHRISTMAS, shift=3)
    assert judged(CHRISTMAS, current).differs
    found = judged(CHRISTMAS, current, last_year(3, 7 * DAY))
    assert not found.differs
    spend, visits = found.columns
    assert (spend.explained, visits.explained) == ("as in the same weeks of 2024", "") or (
        spend.explained,
        visits.explained,
    ) == ("as in the same weeks of 2023", "")
    assert spend.psi > 0.2
    assert found.prediction is not None
    assert found.prediction.explained


@pytest.mark.parametrize(
    ("shift", "before"),
    [(3.0, last_year(0)), (3.0, last_year(1)), (6.0, last_year(3)), (3.0, last_year(-3))],
    ids=["no season", "a smaller season", "more than the season", "the other way"],
)
def test_drift_at_christmas_is_drift(shift: float, before: StoredWindow) -> None:
    """A change that last year does not account for is none of the season's."""
    assert judged(CHRISTMAS, window(CHRISTMAS, shift), before).differs


@pytest.mark.parametrize(
    "before",
    [last_year(3, 30 * DAY), last_year(3, -30 * DAY), last_year(3, rows=20)],
    ids=["a month later", "a month before", "hardly anybody"],
)
def test_another_time_or_too_few_rows_excuse_nothing(before: StoredWindow) -> None:
    """Only the same weeks count, and only with enough entities to say something."""
    assert judged(CHRISTMAS, window(CHRISTMAS, shift=3), before).differs


def test_another_feature_that_drifts_is_not_excused_with_the_season() -> None:
    """A seasonal feature does not hide a drifted one, nor the prediction that may follow either."""
    table = window(CHRISTMAS, shift=3, level=1.0)
    moved = replace(table.columns["visits"], cuts=table.columns["visits"].cuts + 5)
    current = replace(table, columns={**table.columns, "visits": moved})
    found = judged(CHRISTMAS, current, last_year(3))
    assert [c.column for c in found.columns if c.drifted] == ["visits"]
    assert found.prediction is not None
    assert found.prediction.drifted


def saturday(weeks: int, shift: float = 3.0, version: str = "3") -> StoredWindow:
    at = SATURDAY - weeks * 7 * DAY
    return StoredWindow(at, version, window(at, shift))


def test_a_weekend_is_compared_with_weekends() -> None:
    """The reference is of Mondays; Saturdays from about the training explain a Saturday."""
    current = window(SATURDAY, shift=3)
    assert judged(SATURDAY, current).differs
    found = judged(SATURDAY, current, saturday(5), saturday(6))
    assert not found.differs
    assert found.columns[0].explained == "as on other Saturdays"


@pytest.mark.parametrize(
    "other",
    [
        replace(saturday(2), drifted=True),
        replace(saturday(2), as_of=SATURDAY - DAY),
        saturday(20),
        replace(saturday(2), as_of=SATURDAY),
    ],
    ids=["drifted itself", "a Friday", "long before the training", "this very window"],
)
def test_a_window_that_says_nothing_about_saturdays_explains_none(other: StoredWindow) -> None:
    """Drifted windows, other days, windows of long ago and the window itself do not count."""
    assert judged(SATURDAY, window(SATURDAY, shift=3), other).differs


def test_a_slow_drift_does_not_excuse_itself() -> None:
    """Saturdays from after the model's first weeks are no yardstick, however alike they are."""
    later = SATURDAY + 70 * DAY
    week_before = StoredWindow(later - 7 * DAY, "3", window(later - 7 * DAY, 3))
    assert judged(later, window(later, shift=3), week_before).differs


def test_a_monday_is_held_against_the_reference_itself() -> None:
    """Where the reference has the weekday, other windows of it excuse nothing."""
    monday = StoredWindow(TRAINED + 7 * DAY, "3", window(TRAINED + 7 * DAY, 3))
    at = TRAINED + 14 * DAY
    assert judged(at, window(at, shift=3), monday).differs


def test_the_instants_that_would_tell_are_few_and_past() -> None:
    """A Saturday asks for Saturdays before the training and last year, a Monday for last year."""
    asked = wanted(REFERENCE, SATURDAY, TRAINED)
    assert [f"{one:%a %Y-%m-%d}" for one in asked] == [
        "Sat 2024-11-02",
        "Sat 2024-10-26",
        "Sat 2023-12-09",
        "Sat 2023-12-02",
        "Sat 2023-11-25",
    ]
    assert wanted(REFERENCE, CHRISTMAS, TRAINED)[1] == CHRISTMAS - YEAR
    assert len(wanted(REFERENCE, CHRISTMAS, TRAINED)) == 3
