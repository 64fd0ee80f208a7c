"""How time is cut, and when it is time to train."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import use_cases
from include.handoffs import LostDays
from include.training.due import TrainingState, is_due
from include.training.windows import plan

AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
CHURN = use_cases.get("churn")
DAY = timedelta(days=1)


@given(st.integers(0, 900), st.integers(0, 200), st.sampled_from(sorted(use_cases.names())))
def test_no_label_reaches_into_what_comes_after_it(history: int, silence: int, name: str) -> None:
    """Training labels end before the holdout begins, holdout labels before the data does."""
    case = use_cases.get(name)
    last = AS_OF - silence * DAY
    windows = plan(case, last - history * DAY, last, AS_OF)
    for at in windows.holdout:
        assert at + case.label.horizon <= windows.known_until
    for at in windows.training:
        assert at + case.label.horizon <= windows.holdout[0]
        assert at >= last - history * DAY + case.snapshots.minimum_history
    earlier, inner = windows.inner(case.label.horizon)
    for at in earlier if inner else ():
        assert at + case.label.horizon <= inner
    assert windows.known_until <= AS_OF


def test_a_source_that_stopped_moves_the_windows_back() -> None:
    """Days of which nothing is known are not days on which everybody stayed away."""
    alive = plan(CHURN, AS_OF - 300 * DAY, AS_OF - 0.5 * DAY, AS_OF)
    stopped = plan(CHURN, AS_OF - 300 * DAY, AS_OF - 20 * DAY, AS_OF)
    assert alive.known_until == AS_OF
    assert stopped.known_until == AS_OF - 20 * DAY
    assert stopped.holdout[-1] == alive.holdout[-1] - 20 * DAY


def test_a_short_history_gives_up_holdout_snapshots_before_training() -> None:
    """With room for one of each, there is one of each."""
    minimum = CHURN.snapshots.minimum_history + 2 * CHURN.label.horizon
    windows = plan(CHURN, AS_OF - minimum - DAY, AS_OF, AS_OF)
    assert (len(windows.training), len(windows.holdout)) == (1, 1)


@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=4),
    st.sampled_from(sorted(use_cases.names())),
)
def test_no_label_reaches_into_lost_days(
    history: int, gone: list[tuple[int, int]], name: str
) -> None:
    """Snapshots whose labels are not known are left out, told, and made up for by older ones."""
    case = use_cases.get(name)
    lost = [
        LostDays("pos", AS_OF - back * DAY, AS_OF - (back - length) * DAY) for back, length in gone
    ]
    windows = plan(case, AS_OF - history * DAY, AS_OF, AS_OF, lost)
    for at in (*windows.training, *windows.holdout):
        assert not any(one.overlaps(at, at + case.reach) for one in lost)
    for at in windows.left_out:
        assert any(one.overlaps(at, at + case.reach) for one in lost)
    assert set(windows.left_out).isdisjoint((*windows.training, *windows.holdout))
    if windows.training and windows.holdout:
        assert windows.training[-1] + case.reach <= windows.holdout[0]


def test_lost_weeks_push_the_windows_back() -> None:
    """The newest holdout lies before a loss that its label would reach into."""
    usual = plan(CHURN, AS_OF - 300 * DAY, AS_OF, AS_OF)
    lost = LostDays("pos", AS_OF - 10 * DAY, AS_OF - 5 * DAY)
    pushed = plan(CHURN, AS_OF - 300 * DAY, AS_OF, AS_OF, [lost])
    assert pushed.left_out[-1] == usual.holdout[-1]
    assert pushed.holdout[-1] + CHURN.reach <= lost.start
    assert len(pushed.holdout) == len(usual.holdout)


def test_without_events_there_is_no_window() -> None:
    """Nothing to train on and nothing to judge by."""
    assert plan(CHURN, None, None, AS_OF).holdout == ()


STATE = TrainingState(
    last_decided_at=AS_OF - 10 * DAY,
    retrain_every=28 * DAY,
    champion=True,
    global_version="3",
    considered_global="3",
    rows=10_000,
    minimum_rows=300,
    trainings_today=0,
    trainings_per_day=4,
)


@pytest.mark.parametrize(
    ("changes", "due", "reason"),
    [
        ({}, False, "next due on 2024-07-19"),
        ({"last_decided_at": AS_OF - 28 * DAY}, True, "28 days ago"),
        ({"last_decided_at": None}, True, "never been trained"),
        ({"champion": False}, True, "no champion"),
        ({"champion": False, "rows": 12}, True, "no champion"),
        ({"champion": False, "rows": 0}, False, "no accepted events"),
        ({"global_version": "4"}, True, "global version 4 is new"),
        ({"global_version": "4", "considered_global": ""}, True, "last considered: none"),
        ({"global_version": "4", "trainings_today": 4}, False, "quota of 4"),
        ({"champion": False, "trainings_per_day": 0}, False, "quota of 0"),
        ({"last_decided_at": AS_OF - 40 * DAY, "rows": 299}, False, "fewer than the 300"),
        ({"last_decided_at": AS_OF + DAY, "global_version": "4"}, False, "later training"),
        ({"last_decided_at": None, "data_loss": True}, False, "never arrived"),
        ({"champion": False, "data_loss": True}, False, "never arrived"),
    ],
)
def test_training_is_due_when_something_new_can_come_of_it(
    changes: dict[str, object], due: bool, reason: str
) -> None:
    """Quota, champion, new global version, cadence and rows are looked at, in this order."""
    found = is_due(replace(STATE, **changes), AS_OF)
    assert found.due is due
    assert reason in found.reason
