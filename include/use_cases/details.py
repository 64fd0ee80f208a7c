"""What is kept beside a score for whoever acts on it, made of features and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError

Scores = npt.NDArray[np.float64]
HOURS: Final = 24


class Detail(Protocol):
    """One entry of a prediction's details."""

    @property
    def name(self) -> str:
        """The entry's key."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The features it is made of."""

    @property
    def alone(self) -> tuple[str, ...]:
        """Of these, the features that no model reads and no drift is looked for in."""

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """One per row, in JSON's types; None where there is nothing to say."""


class _Plain:
    """Made of scores where it does not say otherwise, and of nothing that models may not read."""

    @property
    def reads(self) -> tuple[str, ...]:
        """No feature."""
        return ()

    @property
    def alone(self) -> tuple[str, ...]:
        """None of those."""
        return ()


@dataclass(frozen=True)
class KeptFeature(_Plain):
    """A feature as it is, rounded."""

    name: str
    feature: str
    digits: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The feature."""
        return (self.feature,)

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """The rounded value."""
        return [
            None if value is None else round(float(value), self.digits)
            for value in features[self.feature].to_pylist()
        ]


@dataclass(frozen=True)
class BestHour:
    """The local hour, 0 to 23, in which the entity most likely responds.

    An hour's weight is the entity's own responses in it, plus `prior` responses spread over the
    day as those of the whole tenant are (each hour counting one more, so that none is ruled out):
    the mean of a Dirichlet posterior. Of equal hours the earliest. Without a response by anybody
    there is no best hour.
    """

    own: tuple[str, ...]  #: counts per hour, midnight first
    everybody: tuple[str, ...]
    prior: float
    name: str = "best_hour"

    def __post_init__(self) -> None:
        if len(self.own) != HOURS or len(self.everybody) != HOURS or not self.prior > 0:
            raise ConfigError(f"BestHour {self.name!r} needs {HOURS} hours of each and a prior")

    @property
    def reads(self) -> tuple[str, ...]:
        """Both sets of counts."""
        return (*self.own, *self.everybody)

    @property
    def alone(self) -> tuple[str, ...]:
        """All of them."""
        return self.reads

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """The hours."""
        own, everybody = (_matrix(features, names) for names in (self.own, self.everybody))
        usual = (everybody + 1) / (everybody + 1).sum(axis=1, keepdims=True)
        best = np.argmax(own + self.prior * usual, axis=1)
        known = everybody.sum(axis=1) > 0
        return [int(hour) if there else None for hour, there in zip(best, known, strict=True)]


@dataclass(frozen=True)
class PeakHours:
    """The local hours, 0 to 23, in which most happens, the busiest first; of equals the earliest.

    Hours in which nothing happens are left out.
    """

    counts: tuple[str, ...]  #: per hour, midnight first
    top: int = 3
    name: str = "peak_hours"

    def __post_init__(self) -> None:
        if len(self.counts) != HOURS or not 1 <= self.top <= HOURS:
            raise ConfigError(f"PeakHours {self.name!r} needs {HOURS} hours and some of them")

    @property
    def reads(self) -> tuple[str, ...]:
        """The counts."""
        return self.counts

    @property
    def alone(self) -> tuple[str, ...]:
        """All of them."""
        return self.counts

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """The hours."""
        counts = _matrix(features, self.counts)
        busiest = np.argsort(-counts, axis=1, kind="stable")[:, : self.top]
        return [
            [hour for hour in hours if row[hour] > 0]
            for row, hours in zip(counts, busiest.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class ForecastChange(_Plain):
    """How much more is forecast than `since` was; null where that is unknown."""

    name: str
    since: str
    digits: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """What is compared with."""
        return (self.since,)

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """The difference, rounded."""
        return [
            None if before is None else round(score - before, self.digits) + 0.0
            for score, before in zip(scores.tolist(), features[self.since].to_pylist(), strict=True)
        ]


@dataclass(frozen=True)
class ScoreLevel(_Plain):
    """A word for the score: the last of `words` whose bound it reaches."""

    name: str
    words: tuple[tuple[str, float], ...]  #: rising by bound; below the first it is that one too

    def __post_init__(self) -> None:
        bounds = [bound for _, bound in self.words]
        if not bounds or bounds != sorted(set(bounds)):
            raise ConfigError(f"State {self.name!r} needs words with rising bounds")

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """The words."""
        place = np.searchsorted([bound for _, bound in self.words], scores, side="right") - 1
        return [self.words[max(one, 0)][0] for one in place.tolist()]


@dataclass(frozen=True)
class Alerts(_Plain):
    """Which rows are worth a look: the best-scored `share` of the interval, rounded up."""

    share: float
    name: str = "alert"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"an alert budget is a share between 0 and 1, not {self.share!r}")

    def values(self, features: pa.Table, scores: Scores) -> Sequence[Any]:
        """True within the budget; of equal scores at its edge, the rows that come first."""
        budget = math.ceil(round(self.share * len(scores), 9))
        flagged = np.zeros(len(scores), dtype=bool)
        flagged[np.argsort(-scores, kind="stable")[:budget]] = True
        return flagged.tolist()


def _matrix(features: pa.Table, names: Sequence[str]) -> npt.NDArray[np.float64]:
    columns = [pc.fill_null(pc.cast(features[name], pa.float64()), 0.0) for name in names]
    return np.stack([column.to_numpy() for column in columns], axis=1)
