from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality.drift_shared import GATE, START, WEEK, drifted, reference, snapshot
from include.monitoring.profiles import WindowProfile


def test_independent_instants_have_no_dispersion_worth_the_name() -> None:
    """What chance makes of the same distribution is nothing: no change has to be larger for it."""
    found = [reference(seed, 0.0).columns["own"].dispersion for seed in range(20)]
    assert sum(one != 1.0 for one in found) <= 1


def test_what_all_entities_share_is_no_drift() -> None:
    """A column that swings for all items together swings on; taken as independent, many drift."""
    told = list(drifted(0.5, 40, 0))
    assert sum(one["shared"] for one in told) <= 4
    assert not any(one["own"] for one in told)
    assert sum(one["shared"] for one in drifted(0.5, 40, 0, dispersion=False)) >= 10


def test_real_drift_is_found_beside_it() -> None:
    """Whatever the other column does, one that moves by a deviation is found every time."""
    assert all(one["own"] for one in drifted(0.5, 40, 0, shift=1.0))


def test_one_instant_tells_nothing() -> None:
    """Nothing is known of how far apart instants are: entities count as they are."""
    assert reference(1, 0.5, weeks=1).columns["shared"].dispersion == 1.0


def test_it_is_kept_with_the_profile() -> None:
    """What a later run reads is what this one wrote."""
    found = reference(3, 0.5)
    again = WindowProfile.from_json(found.to_json())
    assert again.columns["shared"].dispersion == pytest.approx(
        found.columns["shared"].dispersion, abs=1e-3
    )
    assert again.columns["shared"].dispersion > 5


def test_events_at_instants_of_their_own_are_compared_by_week() -> None:
    """Of payments, no two of which are at one instant, a week is what all of them share."""
    draw = np.random.default_rng(5)
    tables = []
    for week in range(4):
        one = snapshot(draw, week, 1.0)
        seconds = draw.uniform(0, 6 * 86_400, one.num_rows)
        at = [START + week * WEEK + timedelta(seconds=value) for value in seconds]
        stamps = pa.array(at, pa.timestamp("us", tz="UTC"))
        tables.append(one.set_column(1, "as_of", stamps))
    assert GATE.reference_profile(pa.concat_tables(tables)).columns["shared"].dispersion > 5
