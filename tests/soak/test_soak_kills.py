"""SIGKILL after every single write of every stage: first load, drift, retrain and global model."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from end_state import differences
from generated import Shop
from installation import Installation, child_environment, installed
from killable import END as ITS_END
from killable import Stages, Step, pipeline, retrain, stages

pytestmark = pytest.mark.soak

WEEK = timedelta(days=7)
FIRST = datetime(2024, 7, 1, tzinfo=UTC)
DRIFTED = datetime(2024, 7, 15, tzinfo=UTC)
POOL = Shop("pool-shop", dearer_from=date(2024, 7, 8))
#: Moments of each stage's undisturbed duration at which it is killed from outside, drawn anew.
MOMENTS = 4

STEPS = [
    *pipeline(POOL.id, FIRST - WEEK, FIRST, ["churn", "recommendation"], trains=True),
    Step("global", "training", "churn", FIRST, DRIFTED),
    Step("global", "registry", "churn", FIRST, DRIFTED),
    *pipeline(POOL.id, DRIFTED - WEEK, DRIFTED, ["churn"], trains=True),
    *retrain(POOL.id, DRIFTED - WEEK, DRIFTED, "churn"),
]


def _kill_everywhere(here: Installation, running: Stages, step: Step, draw: random.Random) -> int:
    """Kill the stage at each of its writes, and run it again; how often it was killed."""
    here.save("before")
    undisturbed = running.finish(step)
    expected = here.end_state()
    kills: list[tuple[int | None, float | None]] = [
        *((write, None) for write in range(1, len(undisturbed.writes) + 1)),
        *((None, draw.uniform(0.05, 0.95) * undisturbed.seconds) for _ in range(MOMENTS)),
        (ITS_END, None),
    ]
    for write, moment in kills:
        where = undisturbed.writes[write - 1] if write and write > 0 else moment
        here.restore("before")
        killed = running.run(step, kill_after=write, kill_at_seconds=moment)
        assert killed.killed or write is None, (step.name, where)
        again = running.finish(step)
        assert again.handoff == undisturbed.handoff, (step.name, where)
        assert differences(expected, here.end_state()) == [], (step.name, where)
    print(f"{step.name}: {len(undisturbed.writes)} writes, {len(kills)} kills", flush=True)
    return len(kills)


def test_every_write_of_every_stage_can_be_the_last() -> None:
    """Killed right after any write, at random moments and at its end, then run again once: each
    stage leaves the tables, lake, registry and ledger of a run without kills."""
    draw = random.Random(20_170_101)
    with installed() as here:
        here.open(POOL)
        with stages(child_environment(here)) as running:
            kills = sum(_kill_everywhere(here, running, step, draw) for step in STEPS)
    assert kills > 5 * len(STEPS)
