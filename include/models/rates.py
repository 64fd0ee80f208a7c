"""What outcomes came to in all, beside what scores said they would."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """How often it happened, how often the scores said it would, and the difference's error."""

    outcome: float
    expected: float
    error: float
