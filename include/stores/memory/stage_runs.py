"""Stage runs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from include.handoffs import pack, table_versions, unpack
from include.stage_runs import StageRun
from include.tenants.namespace import TenantRef


@dataclass
class InMemoryStageRuns:
    """Keeps every run until the process ends; in the order in which they were recorded."""

    _kept: dict[tuple[Any, ...], StageRun] = field(default_factory=dict)

    def record(self, owner: TenantRef, run: StageRun) -> None:
        """See `StageRuns.record`."""
        key = (owner.id, run.use_case, run.stage, run.start, run.end)
        self._kept.pop(key, None)
        handoff = unpack(pack(run.handoff))
        self._kept[key] = replace(run, handoff=handoff, recorded_at=datetime.now(UTC))

    def newest(
        self, owner: TenantRef, use_case: str, stage: str, until: datetime | None = None
    ) -> StageRun | None:
        """See `StageRuns.newest`."""
        runs = self.all_of(owner, stage, use_case)
        return next((run for run in reversed(runs) if until is None or run.end <= until), None)

    def all_of(
        self,
        owner: TenantRef,
        stage: str,
        use_case: str | None = None,
        before: datetime | None = None,
    ) -> Sequence[StageRun]:
        """See `StageRuns.all_of`."""
        runs = [
            run
            for (owner_id, *_), run in self._kept.items()
            if (owner_id, run.stage) == (owner.id, stage)
            and use_case in (None, run.use_case)
            and (before is None or run.end < before)
        ]
        return sorted(runs, key=lambda run: (run.use_case, run.end))

    def table_versions(self, owner: TenantRef) -> set[tuple[str, str, int]]:
        """See `StageRuns.table_versions`."""
        kept = [pack(run.handoff) for key, run in self._kept.items() if key[0] == owner.id]
        return table_versions(kept)
