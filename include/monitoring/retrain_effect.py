"""The effect of a retrain as the ledger keeps it and as people read it; `effects` measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

#: Empty while it is not known: of one window, unless how much windows swing is.
EffectName = Literal["", "helped", "hurt", "no difference"]
Method = Literal["same labels", "before and after"]
#: Windows of the new version, a reach apart, by which its effect is judged at most: a number that
#: is fixed beforehand, so that looking before they are all there costs nothing in the end.
WINDOWS: Final = 4


@dataclass(frozen=True)
class Effect:
    """What a retrain did to the live metric, which rises with quality."""

    name: EffectName
    method: Method
    metric: str
    difference: float
    low: float  #: 95 % interval
    high: float
    as_of: datetime  #: of the newest predictions measured
    labels: int  #: of all windows
    windows: tuple[Measurement, ...] = ()  #: that it rests on


@dataclass(frozen=True)
class Measurement:
    """What was gained in one window, or what the metric was there."""

    as_of: datetime
    value: float
    error: float  #: standard error by entity
    labels: int

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Measurement:
        """From the ledger."""
        return cls(**{**found, "as_of": datetime.fromisoformat(found["as_of"])})


def describe(effect: str, details: Mapping[str, Any]) -> str:
    """One line for people, from the ledger's `effect` and `effect_details`; empty if unknown."""
    if "difference" not in details:
        return ""
    sign, low, high = (f"{details[name]:+.3f}" for name in ("difference", "low", "high"))
    how = (
        "than the old model on the same labels"
        if details["method"] == "same labels"
        else "than before (other weeks, so not the model alone)"
    )
    windows = len(details.get("windows", ())) or 1
    until = f"{details['labels']} labels of {details['as_of'][:10]}"
    if windows > 1:
        until = f"{details['labels']} labels of {windows} windows until {details['as_of'][:10]}"
    name = effect or "not known by one window"
    return f"{name}: {details['metric']} {sign} (95 % {low} to {high}) {how}, {until}"
