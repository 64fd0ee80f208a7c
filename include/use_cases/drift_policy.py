"""When a change of the data counts as drift, and when drift may cause a retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase

from include.errors import ConfigError


@dataclass(frozen=True)
class DriftPolicy:
    """The numbers behind a verdict: a use case declares them, and a tenant may override some."""

    threshold: float = 0.2  #: population stability index below which no change matters
    #: Share of the judged columns that must have drifted. One is enough: chance is accounted for by
    #: the tests themselves.
    share: float = 0.0
    prediction_threshold: float = 0.2  #: the same as `threshold`, for the prediction
    performance_drop: float = 0.0  #: how far the metric must fall below the champion's interval
    rate_shift: float = 0.5  #: change of the odds (log) of outcomes, beyond what was predicted
    minimum_rows: int = 30  #: entities in either window below which nothing is concluded
    cooldown: timedelta = timedelta(days=14)  #: between two retrains, in `as_of` time
    #: Chance of an alarm in a window where nothing changed: half of it for the features, however
    #: many they are, a quarter for the prediction, a quarter for performance. With weekly windows
    #: 0.002 is 0.9 % a month.
    error_rate: float = 0.002
    ignored: tuple[str, ...] = ()  #: patterns of columns not judged, e.g. `spend__*`
    #: Column → why it is not judged in this window: it reaches into lost days.
    withheld: Mapping[str, str] = field(default_factory=dict, hash=False)
    sample_rows: int = 5_000  #: rows of each window that are looked at
    seed: int = 20_170_101

    def __post_init__(self) -> None:
        for name in ("threshold", "prediction_threshold"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"DriftPolicy.{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"DriftPolicy.share must lie in [0, 1], got {self.share}")
        if not 0 < self.error_rate < 0.5:
            raise ConfigError(f"DriftPolicy.error_rate must lie in (0, 0.5), got {self.error_rate}")
        if self.minimum_rows < 2 or self.sample_rows < self.minimum_rows:
            raise ConfigError(
                f"DriftPolicy needs 2 <= minimum_rows <= sample_rows, got {self.minimum_rows} "
                f"and {self.sample_rows}"
            )
        if min(self.performance_drop, self.rate_shift) < 0 or self.cooldown < timedelta(0):
            raise ConfigError(
                "DriftPolicy: cooldown, performance_drop and rate_shift cannot be negative"
            )

    def without(self, withheld: Mapping[str, str]) -> DriftPolicy:
        """The policy that does not judge these columns, for the reasons given."""
        return replace(self, withheld=withheld)

    @property
    def input_level(self) -> float:
        """Chance of an alarm from any of the features."""
        return self.error_rate / 2

    @property
    def prediction_level(self) -> float:
        """Chance of an alarm from the prediction."""
        return self.error_rate / 4

    @property
    def performance_level(self) -> float:
        """Chance of an alarm from the live metric; as much again is for the rate of outcomes."""
        return self.error_rate / 8

    def reason_to_skip(self, column: str) -> str:
        """Why the policy has a feature column not judged; empty when it is. See `maturity` also."""
        if column in self.withheld:
            return self.withheld[column]
        pattern = next((p for p in self.ignored if fnmatchcase(column, p)), None)
        return f"ignored by the policy ({pattern})" if pattern else ""
