"""Stage runs in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.handoffs import pack, table_versions, unpack
from include.stage_runs import StageRun
from include.stores.postgres.statements import change, select, select_first
from include.tenants.namespace import TenantRef

_RECORD: Final = """
    INSERT INTO stage_runs (tenant_id, use_case, stage, interval_start, interval_end, handoff)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, stage, interval_start, interval_end)
    DO UPDATE SET handoff = excluded.handoff, recorded_at = now()
"""
_COLUMNS: Final = "use_case, stage, interval_start, interval_end, handoff, recorded_at"
_NEWEST: Final = f"""
    SELECT {_COLUMNS} FROM stage_runs WHERE tenant_id = %s AND use_case = %s AND stage = %s
    AND interval_end <= coalesce(%s, 'infinity'::timestamptz)
    ORDER BY interval_end DESC, recorded_at DESC LIMIT 1
"""  # noqa: S608
_ALL_OF: Final = f"""
    SELECT {_COLUMNS} FROM stage_runs WHERE tenant_id = %s AND stage = %s
    AND (%s::text IS NULL OR use_case = %s) AND interval_end < coalesce(%s, 'infinity'::timestamptz)
    ORDER BY use_case, interval_end, recorded_at
"""  # noqa: S608
_HANDOFFS: Final = "SELECT handoff FROM stage_runs WHERE tenant_id = %s"


class PostgresStageRuns:
    """The table `stage_runs`."""

    def record(self, owner: TenantRef, run: StageRun) -> None:
        """See `StageRuns.record`."""
        key = [owner.id, run.use_case, run.stage, run.start, run.end]
        change(owner, _RECORD, [*key, Jsonb(pack(run.handoff))])

    def newest(
        self, owner: TenantRef, use_case: str, stage: str, until: datetime | None = None
    ) -> StageRun | None:
        """See `StageRuns.newest`."""
        row = select_first(owner, _NEWEST, [owner.id, use_case, stage, until])
        return None if row is None else _stage_run(row)

    def all_of(
        self,
        owner: TenantRef,
        stage: str,
        use_case: str | None = None,
        before: datetime | None = None,
    ) -> Sequence[StageRun]:
        """See `StageRuns.all_of`."""
        wanted = [owner.id, stage, use_case, use_case, before]
        rows = select(owner, _ALL_OF, wanted)
        return [_stage_run(row) for row in rows]

    def table_versions(self, owner: TenantRef) -> set[tuple[str, str, int]]:
        """See `StageRuns.table_versions`."""
        return table_versions([row["handoff"] for row in select(owner, _HANDOFFS, [owner.id])])


def _stage_run(row: DictRow) -> StageRun:
    return StageRun(
        row["use_case"],
        row["stage"],
        row["interval_start"],
        row["interval_end"],
        unpack(row["handoff"]),
        row["recorded_at"],
    )
