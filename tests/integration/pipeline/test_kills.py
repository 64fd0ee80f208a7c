"""SIGKILL at each stage of a silo tenant's training run; `make soak` kills at every write."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from end_state import differences
from generated import Shop
from installation import child_environment, installed
from killable import END as ITS_END
from killable import START, Stages, pipeline, stages

pytestmark = pytest.mark.integration

END = datetime(2024, 7, 1, tzinfo=UTC)
SHOP = Shop("silo-shop", region="us", isolation="silo")
STEPS = pipeline(SHOP.id, END - timedelta(days=7), END, ["churn"], trains=True)


def test_killed_stages_end_as_undisturbed_ones() -> None:
    """Killed at its start, after a write, at its end and at a random moment, then run again: after
    each stage tables, lake, registry and ledger are as in a run without kills."""
    draw = random.Random(20_170_101)
    with installed() as here:
        here.open(SHOP)
        here.save("empty")
        with stages(child_environment(here)) as running:
            undisturbed, expected = {}, {}
            for step in STEPS:
                undisturbed[step] = running.finish(step)
                expected[step] = here.end_state()
            assert undisturbed[STEPS[-1]].handoff != undisturbed[STEPS[0]].handoff
            here.restore("empty")
            again = Stages(running.process)
            for step in STEPS:
                writes = len(undisturbed[step].writes)
                assert writes >= 2, step
                for kill in (START, draw.randint(1, writes), ITS_END):
                    assert again.run(step, kill_after=kill).killed, (step, kill)
                moment = draw.uniform(0.1, 0.8) * undisturbed[step].seconds
                again.run(step, kill_at_seconds=moment)
                assert again.finish(step).handoff == undisturbed[step].handoff
                assert differences(expected[step], here.end_state()) == []
