"""The effect of a retrain as it is kept and as people read it; `effects` measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from include.wall_clock import local_day

#: Empty while the effect is not known: by one window, unless how much windows swing is.
EffectName = Literal["", "helped", "hurt", "no difference"]
Method = Literal["same labels", "before and after"]
#: Windows of the new version, a reach apart, by which its effect is judged at most: a number that
#: is fixed beforehand, so that looking before they are all there costs nothing in the end.
WINDOWS: Final = 4


@dataclass(frozen=True)
class Measurement:
    """The gain of one window, or the metric there."""

    as_of: datetime
    value: float
    error: float  #: standard error by entity
    labels: int


@dataclass(frozen=True)
class RetrainEffect:
    """The effect of a retrain on the live metric, which rises with quality."""

    name: EffectName
    method: Method
    metric: str
    difference: float
    low: float  #: 95 % interval
    high: float
    as_of: datetime  #: of the newest predictions measured
    labels: int  #: of all windows
    windows: tuple[Measurement, ...] = ()  #: that it rests on

    @property
    def settled(self) -> bool:
        """Whether no further window will change it."""
        return self.method == "same labels" and len(self.windows) >= WINDOWS

    def replaces(self, known: RetrainEffect | None) -> bool:
        """Whether the effect says more than the one that is known.

        More windows replace fewer, and a comparison on the same labels one over time.
        """
        if known is None or known.method == self.method:
            return known is None or len(known.windows) < len(self.windows)
        return self.method == "same labels"

    def document(self) -> dict[str, Any]:
        """All but the name, as JSON knows it."""
        windows = [{**asdict(one), "as_of": _text(one.as_of)} for one in self.windows]
        document = {**asdict(self), "as_of": _text(self.as_of), "windows": windows}
        del document["name"]
        return document

    @classmethod
    def read(cls, name: EffectName, document: Mapping[str, Any]) -> RetrainEffect:
        """The effect that `document` was made of."""
        windows = tuple(Measurement(**_with_instant(one)) for one in document["windows"])
        return cls(name=name, **{**_with_instant(document), "windows": windows})

    def told(self, timezone: str) -> str:
        """The effect in words, with days of a time zone."""
        low, high = f"{self.low:+.3f}", f"{self.high:+.3f}"
        how = (
            "than the old model on the same labels"
            if self.method == "same labels"
            else "than before (other weeks, so not the model alone)"
        )
        day = local_day(self.as_of, timezone)
        until = f"{self.labels} labels of {day}"
        if len(self.windows) > 1:
            until = f"{self.labels} labels of {len(self.windows)} windows until {day}"
        name = self.name or "not known by one window"
        return f"{name}: {self.metric} {self.difference:+.3f} (95 % {low} to {high}) {how}, {until}"


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()


def _with_instant(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "as_of": datetime.fromisoformat(document["as_of"])}
