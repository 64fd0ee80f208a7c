"""Live metrics: how well predictions did, by labels that matured later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    from include.models.rates import Rates


@dataclass(frozen=True)
class LiveMetric:
    """A metric of the predictions of one instant; it rises with quality."""

    as_of: datetime  #: of the predictions
    metric: str
    version: str
    value: float  #: NaN where there was nothing to measure
    error: float  #: standard error of `value`; NaN where it is not known
    labels: int  #: entities measured
    measured_as_of: datetime  #: when the labels were known
    effective: float = math.inf  #: of these, how many `error` rests on
    rates: Rates | None = None  #: of outcomes, where scores are probabilities
    baseline: float | None = None  #: the baseline's metric on the same labels, where it is known

    @property
    def known(self) -> bool:
        """Whether there are a value and its error."""
        return math.isfinite(self.value) and math.isfinite(self.error)


class LiveMetrics(Protocol):
    """The port to the live metrics of every tenant: one per use case, instant and metric."""

    def record(self, tenant: TenantRef, use_case: str, measured: LiveMetric) -> None:
        """Write a metric in the place of what was known of it at its instant."""

    def forget(self, tenant: TenantRef, use_case: str, instants: Sequence[datetime]) -> None:
        """Take back what was measured on labels that are not known after all."""

    def history(self, tenant: TenantRef, use_case: str) -> list[LiveMetric]:
        """Every metric by instant and name, also those without a value."""


def known_metrics(
    history: Sequence[LiveMetric], version: str, metric: str, as_of: datetime
) -> list[LiveMetric]:
    """The metrics of one version that are known at `as_of`, oldest first.

    Args:
        history: as `LiveMetrics.history` gives it.
    """
    return [
        one
        for one in history
        if (one.version, one.metric) == (version, metric)
        and one.known
        and one.measured_as_of <= as_of
    ]


def season_metric(
    history: Sequence[LiveMetric], metric: str, at: datetime, near: timedelta
) -> LiveMetric | None:
    """The metric, of whatever version, closest to an instant of the past; None if none is near."""
    close = [
        one for one in history if one.metric == metric and one.known and abs(one.as_of - at) <= near
    ]
    return min(close, key=lambda one: (abs(one.as_of - at), one.as_of), default=None)
