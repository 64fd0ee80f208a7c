"""The stages in flow order, each a function from a `Run` to a handoff. No Airflow in here.

Airflow's operators and `tenantry run` call the same functions with the same `Run`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from include import wiring
from include.errors import ConfigError
from include.handoffs import Interval
from include.tenants.config import TenantConfig
from include.use_cases.declaration import UseCase

log = logging.getLogger(__name__)

Handoff = TypeVar("Handoff")


@dataclass(frozen=True)
class Run:
    """What one stage is asked to do: for whom, about when, why, and with what came before."""

    platform: wiring.Platform
    tenant: TenantConfig
    interval: Interval
    trigger: str = "scheduled"  #: `scheduled`, `drift` or `manual`
    use_case: UseCase | None = None
    received: Mapping[str, Any] = field(default_factory=dict)  #: stage → handoff

    @property
    def as_of(self) -> datetime:
        """The instant whose knowledge counts: the end of the interval."""
        return self.interval.end

    def the_use_case(self) -> UseCase:
        """The use case of a stage that has one."""
        if self.use_case is None:
            raise ConfigError("this stage needs a use case: pass `use_case` as a param")
        return self.use_case

    def take(self, kind: type[Handoff], stage: str) -> Handoff:
        """The handoff of an earlier stage."""
        found = self.received.get(stage)
        if not isinstance(found, kind):
            raise ConfigError(f"stage {stage!r} left no {kind.__name__}; run it first")
        return found

    def after(self, stage: str, handoff: object) -> Run:
        """The run with one more stage done."""
        return replace(self, received={**self.received, stage: handoff})
