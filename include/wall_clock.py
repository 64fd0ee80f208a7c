"""Instants and days as the people of a tenant read and write them: in its time zone.

Within the code an instant is UTC. What a person reads says the zone, `2024-03-31 03:00 CEST`; what
several tenants have together, and the platform's own, is told in UTC. JSON is for programs: there
instants stay ISO 8601 in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

#: The zone of whatever is of no tenant, or of several.
PLATFORM: Final = "UTC"
#: How the zones' data base names an offset that has no name of its own, such as `+14`.
_OFFSET: Final = re.compile(r"[+-]\d+")
_DAY: Final = len("2024-03-31")


def local(at: datetime, timezone: str) -> str:
    """An instant to the minute, on the zone's clocks, with the zone's name at that time.

    >>> local(datetime(2024, 3, 31, 1, tzinfo=UTC), "Europe/Vienna")
    '2024-03-31 03:00 CEST'
    >>> local(datetime(2024, 3, 31, 1, tzinfo=UTC), "Pacific/Kiritimati")
    '2024-03-31 15:00 UTC+14'
    """
    shown = _on_the_clocks(at, timezone)
    name = shown.tzname() or ""
    return f"{shown:%Y-%m-%d %H:%M} {'UTC' if _OFFSET.fullmatch(name) else ''}{name}"


def local_day(at: datetime, timezone: str) -> str:
    """The day that an instant belongs to in the zone.

    >>> local_day(datetime(2024, 3, 31, 20, tzinfo=UTC), "Asia/Kolkata")
    '2024-04-01'
    """
    return f"{_on_the_clocks(at, timezone):%Y-%m-%d}"


def reread(told: str, timezone: str) -> str:
    """An instant that a document has in ISO 8601, as `local` tells it; other text as it is."""
    try:
        return local(datetime.fromisoformat(told), timezone)
    except ValueError:
        return told


def reread_day(told: str, timezone: str) -> str:
    """The day of such an instant, as `local_day` tells it; of other text, the beginning."""
    try:
        return local_day(datetime.fromisoformat(told), timezone)
    except ValueError:
        return told[:_DAY]


def localised(value: Any, timezone: str) -> Any:
    """A value, or all values of mappings and lists, with instants as `local` tells them."""
    if isinstance(value, datetime):
        return local(value, timezone)
    if isinstance(value, Mapping):
        return {key: localised(part, timezone) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [localised(part, timezone) for part in value]
    return value


def instant_in(text: str, timezone: str) -> datetime:
    """The instant, in UTC, that people write as ISO 8601; without an offset by the zone's clocks.

    A day begins at its midnight. A time that the clocks show twice is the first of the two.

    >>> instant_in("2024-06-03", "America/New_York").isoformat()
    '2024-06-03T04:00:00+00:00'

    Raises:
        ValueError: the text is no instant.
        OverflowError: the instant is out of all bounds.
    """
    told = datetime.fromisoformat(text)
    aware = told if told.tzinfo else told.replace(tzinfo=ZoneInfo(timezone))
    return aware.astimezone(UTC)


def midnight(day: date, timezone: str) -> datetime:
    """When a day begins in the zone."""
    return datetime.combine(day, time(), ZoneInfo(timezone))


def _on_the_clocks(at: datetime, timezone: str) -> datetime:
    if at.utcoffset() is None:
        raise ValueError(f"{at} has no time zone, so nobody knows when that was")
    return at.astimezone(ZoneInfo(timezone))
