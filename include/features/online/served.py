"""Which views an online store serves, and when one of them answers null instead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from include.errors import ConfigError
from include.features.views import FeatureView
from include.wall_clock import PLATFORM, local


@dataclass(frozen=True)
class Served:
    """A view as the store serves it."""

    view: str
    fingerprint: str
    group: str  #: key of the layout of its records; empty where all features are attributes
    watermark: datetime  #: what was known by then is in a batch
    ttl: timedelta | None
    source: str  #: what it was materialized from, as the stage recorded it

    def stale(self, at: datetime) -> str | None:
        """Why the view answers null at an instant, or None."""
        return _past_ttl(self.watermark, self.ttl, at)


def unanswered(view: FeatureView, watermark: datetime | None, at: datetime) -> str | None:
    """Why a view answers null at an instant, or None.

    Args:
        watermark: up to when the view is materialized as it is declared; None where it is not.

    Raises:
        ConfigError: `at` is before the watermark.
    """
    if watermark is None:
        return "was not materialized as it is declared now; materialize it"
    if at < watermark:
        raise ConfigError(
            f"view {view.name!r} is materialized up to {local(watermark, PLATFORM)} and cannot be "
            f"read online at {local(at, PLATFORM)}; the offline store answers for the past"
        )
    return _past_ttl(watermark, view.ttl, at)


def _past_ttl(watermark: datetime, ttl: timedelta | None, at: datetime) -> str | None:
    age = at - watermark
    if ttl is None or age <= ttl:
        return None
    return (
        f"materialized up to {local(watermark, PLATFORM)}, {age} ago, which is longer than "
        f"its ttl of {ttl}"
    )
