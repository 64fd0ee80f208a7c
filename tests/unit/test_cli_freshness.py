"""What is said of a view that the online store has, or has not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.cli.freshness import judged
from include.features import library
from include.features.online.served import Served

AT = datetime(2024, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPEND = library.get("spend")
SERVED = Served("spend", SPEND.fingerprint, "g", AT - DAY, SPEND.ttl, "")


@pytest.mark.parametrize(
    ("served", "state"),
    [
        ([SERVED], "fresh"),
        ([replace(SERVED, watermark=AT - 8 * DAY)], "fresh"),
        ([replace(SERVED, watermark=AT - 9 * DAY)], "past its TTL: reads as null"),
        ([replace(SERVED, fingerprint="0" * 16)], "of declaration 0000000000000000: reads as null"),
        ([replace(SERVED, fingerprint="0" * 16, watermark=AT), SERVED], "fresh"),
        ([replace(SERVED, view="tenure")], "never materialized: reads as null"),
        ([], "never materialized: reads as null"),
        (None, "unavailable"),
    ],
)
def test_a_view_is_fresh_as_declared_now_within_its_ttl(
    served: list[Served] | None, state: str
) -> None:
    """Anything else reads as null, and says why."""
    assert judged(SPEND, served, AT)["state"] == state


def test_age_and_ttl_are_told() -> None:
    """How old the materialization is, beside how old it may be."""
    found = judged(SPEND, [SERVED], AT)
    assert (found["watermark"], found["age"], found["ttl"]) == (
        AT - DAY,
        "1 day, 0:00:00",
        "8 days",
    )
