"""How values are told in messages: those of a tenant file short, on one line, without secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from include.redaction import without_secrets

ABSENT: Final = "(nothing)"
_LONGEST: Final = 80
#: Text beyond is not quoted at all: its first part could be a secret that its end would tell.
_LONGEST_READ: Final = 300


def shown(value: Any) -> str:
    """The offending value, short and on one line; of a list or mapping, only what it is."""
    if value is None:
        return ABSENT
    if isinstance(value, dict) and value:
        return f"(a mapping of {len(value)})"
    if isinstance(value, (list, tuple)) and value:
        return f"(a list of {len(value)})"
    if isinstance(value, str):
        if len(value) > _LONGEST_READ:
            return f"(a text of {len(value):,} characters)"
        value = without_secrets(value)
    text = ascii(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def spelled(duration: timedelta) -> str:
    """A duration in the units a person would use: `2 days 3 hours`."""
    minutes, seconds = divmod(duration.seconds, 60)
    parts = {"day": duration.days, "hour": minutes // 60, "minute": minutes % 60}
    parts["second"] = seconds
    words = [f"{n:,} {unit}{'s' if n != 1 else ''}" for unit, n in parts.items() if n]
    return " ".join(words) or f"{duration.microseconds} microseconds"
