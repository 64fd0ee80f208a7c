"""Drift where entities share their swings: items that one delivery or one holiday moves together.

A column of a tenant's items swings from week to week for all of them at once; another does not. A
reference has four weekly instants, as a forecast's holdout has, and one later window is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from include.monitoring.gate import Gate, compare_windows
from include.monitoring.profiles import WindowProfile
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef
from include.use_cases.drift_policy import DriftPolicy

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
WEEK: Final = timedelta(days=7)
ITEMS: Final = 600
POLICY: Final = DriftPolicy()
GATE: Final = Gate(
    TenantRef("simulated", "benchmark", "pool"),
    "demand",
    "1",
    START,
    ("item_id",),
    POLICY,
    in_memory().drift,
)


def snapshot(draw: np.random.Generator, week: int, swing: float, shift: float = 0.0) -> pa.Table:
    """Items at an instant: `shared` is moved for all of them at once, `own` for each by itself.

    Args:
        swing: standard deviation of what they share, in deviations of a single item.
        shift: by which both columns have moved for good.
    """
    return pa.table(
        {
            "item_id": [f"i{week}-{number}" for number in range(ITEMS)],
            "as_of": pa.array([START + week * WEEK] * ITEMS, pa.timestamp("us", tz="UTC")),
            "shared": draw.normal(shift + swing * draw.normal(), 1, ITEMS),
            "own": draw.normal(shift, 1, ITEMS),
        }
    )


def reference(seed: int, swing: float, weeks: int = 4) -> WindowProfile:
    """What the gate keeps of the weeks that a champion was judged on."""
    draw = np.random.default_rng(seed)
    return GATE.reference_profile(
        pa.concat_tables([snapshot(draw, week, swing) for week in range(weeks)])
    )


def drifted(
    swing: float, tenants: int, seed: int, shift: float = 0.0, *, dispersion: bool = True
) -> Iterator[dict[str, bool]]:
    """Per tenant, which columns of a later window count as drifted.

    Args:
        dispersion: False: as if nothing were known of how far apart the instants are.
    """
    for number in range(seed, seed + tenants):
        before = reference(number, swing)
        if not dispersion:
            flat = {name: replace(one, dispersion=1.0) for name, one in before.columns.items()}
            before = replace(before, columns=flat)
        now = snapshot(np.random.default_rng([number, 1]), 5, swing, shift)
        found = compare_windows(before, GATE.profile(now, before), POLICY)
        yield {column.column: column.drifted for column in found.columns}
