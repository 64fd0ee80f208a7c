"""What skew replays have found: the table `feature_skew`, and an incident per instant.

Neither names an entity: a finding says in which row of the vectors' file it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.types.json import Jsonb

from include.monitoring.vectors import Mismatch
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef

Cause = Literal["definition", "past", "engine", "unknown", "online"]
KIND: Final = "feature_skew"
#: Cause → what it means.
CAUSES: Final[dict[Cause, str]] = {
    "definition": "the features are declared differently since",
    "past": "the past was rewritten in the lake since",
    "engine": "the same declaration on the same rows gives something else",
    "unknown": "the rows read then are gone, so the past or the engine",
    "online": "the online store answers something else",
}


@dataclass(frozen=True)
class Found:
    """One feature of one log that differs from what was logged."""

    as_of: datetime
    path: Literal["offline", "online"]
    mismatch: Mismatch
    cause: Cause
    model_version: str  #: which used the vectors

    def __str__(self) -> str:
        one = self.mismatch
        return (
            f"{self.as_of:%Y-%m-%d} {self.path} {one.feature}: {one.mismatched} of {one.compared} "
            f"vectors differ, the first in row {one.first}: {CAUSES[self.cause]}"
        )


def record(
    tenant: TenantRef,
    use_case: str,
    instants: Sequence[datetime],
    found: Sequence[Found],
    replayed_at: datetime,
) -> None:
    """Make `found` all that is on record of the instants, and open or close their incidents."""
    with tenant_transaction(tenant) as connection:
        for as_of in instants:
            here = [one for one in found if one.as_of == as_of]
            _replace(connection, tenant, use_case, as_of, here)
            if here:
                _open(connection, tenant, use_case, as_of, here)
            else:
                connection.execute(
                    "UPDATE incidents SET closed_at = %s WHERE tenant_id = %s AND kind = %s "
                    "AND use_case = %s AND as_of = %s AND closed_at IS NULL",
                    [replayed_at, tenant.id, KIND, use_case, as_of],
                )


def history(tenant: TenantRef, use_case: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Every replay, oldest first, and every mismatch on record."""
    wanted = [tenant.id, use_case, use_case]
    with tenant_transaction(tenant) as connection:
        replays = connection.execute(
            "SELECT use_case, interval_end AS as_of, handoff FROM stage_runs WHERE tenant_id = %s "
            "AND stage = 'skew' AND (%s::text IS NULL OR use_case = %s) "
            "ORDER BY use_case, interval_end",
            wanted,
        ).fetchall()
        mismatches = connection.execute(
            "SELECT use_case, as_of, feature, path, cause, mismatched, compared, difference, "
            "first_row, model_version FROM feature_skew WHERE tenant_id = %s "
            "AND (%s::text IS NULL OR use_case = %s) ORDER BY use_case, as_of, path, feature",
            wanted,
        ).fetchall()
    told = ("rows", "online_rows", "features")
    return {
        "replays": [
            {
                "use_case": row["use_case"],
                "as_of": row["as_of"],
                "instants": len(row["handoff"]["instants"]),
                **{name: row["handoff"][name] for name in told},
                "mismatched": len(row["handoff"]["mismatched"]),
            }
            for row in replays
        ],
        "mismatches": [dict(row) for row in mismatches],
    }


def _replace(
    connection: Connection,
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    found: Sequence[Found],
) -> None:
    instant = [tenant.id, use_case, as_of]
    connection.execute(
        "DELETE FROM feature_skew WHERE tenant_id = %s AND use_case = %s AND as_of = %s", instant
    )
    for one in found:
        connection.execute(
            "INSERT INTO feature_skew (tenant_id, use_case, as_of, path, feature, cause, "
            "model_version, compared, mismatched, first_row, difference) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (tenant_id, use_case, as_of, path, feature) DO UPDATE SET "
            "cause = excluded.cause, model_version = excluded.model_version, "
            "compared = excluded.compared, mismatched = excluded.mismatched, "
            "first_row = excluded.first_row, difference = excluded.difference",
            [
                *(*instant, one.path, one.mismatch.feature, one.cause, one.model_version),
                *(one.mismatch.compared, one.mismatch.mismatched),
                *(one.mismatch.first, one.mismatch.difference),
            ],
        )


def _open(
    connection: Connection,
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    found: Sequence[Found],
) -> None:
    names = sorted({one.mismatch.feature for one in found})
    causes = sorted({one.cause for one in found})
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    summary = (
        f"{len(names)} features differ from the vectors that version {found[0].model_version} "
        f"used: {shown}; {' and '.join(CAUSES[cause] for cause in causes)}"
    )
    connection.execute(
        "INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of) "
        "DO UPDATE SET summary = excluded.summary, details = excluded.details, closed_at = NULL",
        [
            *(tenant.id, KIND, use_case, as_of, summary),
            Jsonb({"features": names, "causes": causes}),
        ],
    )
