"""What ingestion recorded reaches the quality stage with what became of every row."""

from __future__ import annotations

from datetime import UTC, datetime

from include.handoffs import Interval
from include.ingestion.slices import Slice
from include.pipeline.translate import delivered

WEEK = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC))


def test_the_rows_read_are_those_in_set_aside_and_outside() -> None:
    """Rows of the source, not the facts that they come to, nor what was left of repeats."""
    recorded = Slice("pos", WEEK, 970, 0, 20, 1, quarantined=3, read=1000, outside=7)
    (one,) = delivered([recorded])["pos"]
    assert (one.read, one.taken, one.set_aside, one.outside) == (1000, 990, 3, 7)
    assert one.read == one.taken + one.set_aside + one.outside
