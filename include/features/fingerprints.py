"""What a declaration means, as data that is equal exactly when the meaning is, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from include.features.declarations import Aggregation

#: Raised when an engine's reading of the same declaration changes.
_LANGUAGE: Final = 1


def digest(meaning: list[object]) -> str:
    """Sixteen hex digits."""
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def versioned(parts: Iterable[object]) -> list[object]:
    """A meaning that also changes with the language it is told in."""
    return [_LANGUAGE, *parts]


def aggregation_meaning(aggregation: Aggregation, window: timedelta) -> list[object]:
    """Everything that decides the values of an aggregation over one of its windows."""
    parts: list[object] = [
        aggregation.feature(window),
        aggregation.function,
        aggregation.value,
        window // timedelta(seconds=1),
        unordered(part for condition in aggregation.where for part in condition.meaning()),
    ]
    if aggregation.read_as is not None:
        parts.append(["read as", aggregation.read_as])
    return parts


def unordered(items: Iterable[list[object]]) -> list[str]:
    """Meanings whose order says nothing."""
    return sorted({json.dumps(item) for item in items})
