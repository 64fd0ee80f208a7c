"""How a value of a tenant file is quoted in a message: short, on one line, without secrets."""

from __future__ import annotations

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
