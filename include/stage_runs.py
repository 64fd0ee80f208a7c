"""Stage runs: what each stage did at which interval, as its handoff says. A rerun replaces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from include.handoffs import Scored, Trained
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class StageRun:
    """One stage of one interval, as it was done last."""

    use_case: str  #: empty for stages that have none
    stage: str
    start: datetime  #: the instant itself for global models, which have no interval
    end: datetime
    handoff: Any  #: see `include.handoffs`
    recorded_at: datetime | None = field(default=None, compare=False)


class StageRuns(Protocol):
    """The port to the stage runs of tenants and of owners of global models."""

    def record(self, owner: TenantRef, run: StageRun) -> None:
        """Keep a run, in the place of an earlier one of the same stage, use case and interval."""

    def newest(
        self, owner: TenantRef, use_case: str, stage: str, until: datetime | None = None
    ) -> StageRun | None:
        """The run whose interval ends last (by `until`); of several, the one recorded last."""

    def all_of(
        self,
        owner: TenantRef,
        stage: str,
        use_case: str | None = None,
        before: datetime | None = None,
    ) -> Sequence[StageRun]:
        """A stage's runs of intervals that end before `before`, per use case, oldest first."""

    def table_versions(self, owner: TenantRef) -> set[tuple[str, str, int]]:
        """Tenant, table and version of every table version that a handoff on record names."""


def newest_training(
    runs: StageRuns, owner: TenantRef, use_case: str, until: datetime | None = None
) -> Trained | None:
    """The newest training of a use case, or the newest by an instant; None before the first."""
    run = runs.newest(owner, use_case, "training", until)
    return run.handoff if run is not None and isinstance(run.handoff, Trained) else None


def scored_before(
    runs: StageRuns, owner: TenantRef, use_case: str, before: datetime
) -> list[Scored]:
    """The log of vectors of a use case's earlier instants, oldest first; the newest of each."""
    scored = {run.end: run.handoff for run in runs.all_of(owner, "scoring", use_case, before)}
    return list(scored.values())
