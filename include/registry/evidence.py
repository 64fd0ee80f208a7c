"""What a promotion is decided on, as training measured it and as the ledger keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from include.errors import ConfigError
from include.registry.error_rates import lower_bound
from include.registry.two_way import Swing, Uncertainty


@dataclass(frozen=True)
class Measured:
    """A model's figure on the holdout; `value` is None where nothing could be measured."""

    rung: str
    name: str
    digest: str
    value: float | None

    @property
    def key(self) -> str:
        """`rung/name`, e.g. `own/lightgbm`."""
        return f"{self.rung}/{self.name}"


@dataclass(frozen=True)
class Comparison:
    """How much better `candidate` is than `against`, both as keys; bounds of 95 %."""

    candidate: str
    against: str
    difference: float | None
    low: float | None
    high: float | None
    entities: int | None = None  #: whose rows it rests on; None where that was not counted
    windows: int | None = (
        None  #: later windows it rests on, likewise; within a horizon they are one
    )
    #: What the bounds come from; None where there are none.
    uncertainty: Uncertainty | None = None

    def bound(self, level: float) -> float | None:
        """The one-sided lower bound at `level`; None where nothing can be decided by it.

        That is where it rests on one window, and how much windows swing is not known.
        """
        if self.difference is None or self.low is None:
            return None
        if self.uncertainty is None:
            return lower_bound(self.difference, self.low, level)
        if not self.uncertainty.known:
            return None
        return self.difference - self.uncertainty.half_width(level)

    def with_swing(self, swing: Swing) -> Comparison:
        """With bounds that know, from other windows too, how much the difference swings."""
        if self.uncertainty is None or self.difference is None or not swing.freedom:
            return self
        uncertainty = replace(self.uncertainty, elsewhere=swing)
        width = uncertainty.half_width()
        if math.isinf(width):
            return replace(self, low=None, high=None, uncertainty=uncertainty)
        low, high = self.difference - width, self.difference + width
        return replace(self, low=low, high=high, uncertainty=uncertainty)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Comparison:
        """From an evaluation or a ledger."""
        uncertainty = Uncertainty.read(found.get("uncertainty"))
        return cls(**{**found, "uncertainty": uncertainty})


@dataclass(frozen=True)
class TenantEffect:
    """A global candidate against the incumbent, on one consenting tenant's rows."""

    tenant: str
    candidate: str
    difference: float | None
    low: float | None
    high: float | None
    entities: int | None = None
    uncertainty: Uncertainty | None = None  #: as of a `Comparison`

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> TenantEffect:
        """From an evaluation or a ledger."""
        uncertainty = Uncertainty.read(found.get("uncertainty"))
        return cls(**{**found, "uncertainty": uncertainty})


@dataclass(frozen=True)
class GroupGap:
    """How far the group that a candidate does worst for is behind the one it does best for."""

    candidate: str
    best: str
    worst: str
    gap: float
    low: float | None  #: bounds of 95 %
    high: float | None
    largest: float | None  #: what the tenant allows; None where it only wants to know
    #: Whether the bounds know how windows swing; without, they are about the holdout's own time.
    swing_known: bool = True

    @property
    def refused(self) -> bool:
        """Whether the gap is larger than allowed by more than chance.

        Of one window that is said of the window itself: who is treated worse there has been.
        """
        return self.largest is not None and self.low is not None and self.low > self.largest

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" (95 % {self.low:.4f} to {self.high:.4f})"
        return f"{self.worst!r} is {self.gap:.4f} behind {self.best!r}{bounds}"


@dataclass(frozen=True)
class Need:
    """Something that a model of the tenant's own takes, e.g. `training rows`: 88 of 300."""

    what: str
    has: int
    needed: int

    @property
    def missing(self) -> int:
        """How many more it takes; 0 where there are enough."""
        return max(0, self.needed - self.has)

    def __str__(self) -> str:
        return f"{self.missing:,} more {self.what} ({self.has:,} of {self.needed:,})"


@dataclass(frozen=True)
class Evidence:
    """Everything the decision may look at."""

    metric: str
    entities: int  #: in the holdout
    minimum_entities: int  #: below which its figures decide nothing
    candidates: tuple[Measured, ...]  #: own ones in the order in which they are tested
    incumbent: Measured | None  #: key `incumbent/…`; None where none can serve
    comparisons: tuple[Comparison, ...]
    tenants: tuple[TenantEffect, ...] = ()
    groups: tuple[GroupGap, ...] = ()  #: of the tenant's sensitive groups
    notes: tuple[str, ...] = ()  #: why something is not among the candidates
    needs: tuple[Need, ...] = ()  #: of a model of the tenant's own
    #: Chance that an incumbent is ever replaced by an own model that is no better.
    false_promotions: float = 0.05
    challenges: int = 0  #: earlier decisions in which own models challenged the same incumbent
    unmeasured: str = ""  #: why the metric means nothing on the holdout; empty where it does

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Evidence:
        """The evidence within an evaluation document.

        Raises:
            ConfigError: the document lacks a part.
        """
        try:
            part = document["evidence"]
            incumbent = part["incumbent"]
            return cls(
                metric=part["metric"],
                entities=part["entities"],
                minimum_entities=part["minimum_entities"],
                candidates=tuple(Measured(**one) for one in part["candidates"]),
                incumbent=None if incumbent is None else Measured(**incumbent),
                comparisons=tuple(map(Comparison.read, part["comparisons"])),
                tenants=tuple(map(TenantEffect.read, part["tenants"])),
                groups=tuple(GroupGap(**one) for one in part.get("groups", ())),
                notes=tuple(part["notes"]),
                needs=tuple(Need(**one) for one in part.get("needs", ())),
                false_promotions=part.get("false_promotions", cls.false_promotions),
                challenges=part.get("challenges", 0),
                unmeasured=part.get("unmeasured", ""),
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the evaluation holds no usable evidence: {error}") from None
