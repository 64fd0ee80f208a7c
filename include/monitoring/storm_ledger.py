"""A pool's breaches and the platform's incidents, in rows of the owner of its global models.

Tenants of different regions are told of one storm only where they share the models of all regions.

Everything happens in one transaction under one lock per use case, so concurrent tenants open one
incident, not two, and a run that is killed or done again changes nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from psycopg.types.json import Jsonb

from include.monitoring.storms import (
    DAY,
    Incident,
    StormFacts,
    StormJudgement,
    StormPolicy,
    day_of,
    judge_storm,
)
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef, global_owner

KIND: Final = "drift_storm"
_MARK: Final = """
    INSERT INTO drift_breaches (tenant_id, use_case, as_of, member, breached)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, as_of, member) DO UPDATE SET breached = excluded.breached
"""
#: A tenant that is monitored several times a day counts once, and as breached if it ever was.
_DAYS: Final = """
    SELECT day, count(*) AS monitored, count(*) FILTER (WHERE breached) AS breached FROM (
        SELECT date_trunc('day', as_of, 'UTC') AS day, member, bool_or(breached) AS breached
        FROM drift_breaches WHERE tenant_id = %s AND use_case = %s AND as_of >= %s AND as_of < %s
        GROUP BY 1, 2) AS members
    GROUP BY day
"""
_INCIDENTS: Final = """
    SELECT use_case, as_of, details, closed_at FROM incidents
    WHERE tenant_id = %s AND kind = %s AND (%s::text IS NULL OR use_case = %s) ORDER BY as_of
"""
_OPEN: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details, closed_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET summary = excluded.summary, details = excluded.details,
                  closed_at = excluded.closed_at
"""


def report(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    *,
    breached: bool,
    pool: TenantRef | None = None,
    policy: StormPolicy | None = None,
) -> str:
    """Tell the platform whether the tenant's window drifted.

    Args:
        pool: owner of the global models that the tenant is offered; its region's when None.

    Returns:
        The name of the platform incident that the drift is part of, else empty.
    """
    policy, day = policy or StormPolicy(), day_of(as_of)
    owner = pool or global_owner(tenant.region)
    with tenant_transaction(owner) as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"{KIND}/{owner.id}/{use_case}"],
        )
        connection.execute(_MARK, [owner.id, use_case, as_of, _member(tenant), breached])
        known = _incidents(connection, owner, use_case)
        here = next((one for one, closed in known if one.day == day), None)
        ongoing = here or next(
            (one for one, closed in known if one.day < day and (closed is None or closed > day)),
            None,
        )
        facts = _facts(connection, owner, use_case, day, known, ongoing, policy)
        found = judge_storm(facts, policy)
        incident = _settle(connection, owner, use_case, facts, found, here, ongoing, known, policy)
        connection.execute(
            "DELETE FROM drift_breaches WHERE tenant_id = %s AND use_case = %s AND as_of < %s",
            [owner.id, use_case, day - 2 * policy.memory],
        )
    return incident.name if breached and incident is not None else ""


def incidents(
    pool: TenantRef, use_case: str | None = None
) -> list[tuple[Incident, datetime | None]]:
    """A pool's incidents of one use case, or of all, with the day each was over."""
    with tenant_transaction(pool) as connection:
        return _incidents(connection, pool, use_case)


def _facts(
    connection: Connection,
    owner: TenantRef,
    use_case: str,
    day: datetime,
    known: list[tuple[Incident, datetime | None]],
    ongoing: Incident | None,
    policy: StormPolicy,
) -> StormFacts:
    rows = connection.execute(
        _DAYS, [owner.id, use_case, day - policy.memory, day + DAY]
    ).fetchall()
    counted = {row["day"].astimezone(UTC): row for row in rows}
    today = counted.pop(day)
    since = max((one.day for one, _ in known if one.ended == "lasted"), default=day - policy.memory)
    usual = [row for when, row in counted.items() if when >= since and not _unusual(when, known)]
    return StormFacts(
        day=day,
        breached=today["breached"],
        monitored=today["monitored"],
        past_breached=sum(row["breached"] for row in usual),
        past_monitored=sum(row["monitored"] for row in usual),
        opened=ongoing.day if ongoing else None,
        opened_monitored=ongoing.monitored if ongoing else 0,
    )


def _unusual(day: datetime, known: list[tuple[Incident, datetime | None]]) -> bool:
    """Whether the day was a storm's; the days of one that did not pass are the new usual."""
    return any(
        one.day <= day and (closed is None or day < closed) and one.ended != "lasted"
        for one, closed in known
    )


def _settle(
    connection: Connection,
    owner: TenantRef,
    use_case: str,
    facts: StormFacts,
    found: StormJudgement,
    here: Incident | None,
    ongoing: Incident | None,
    known: list[tuple[Incident, datetime | None]],
    policy: StormPolicy,
) -> Incident | None:
    """Open, bring up to date or close; the incident that the day's drift is part of."""
    if found.answer == "over" and ongoing is not None:
        lasted = facts.day - ongoing.day >= policy.patience
        ended = replace(ongoing, ended="lasted" if lasted else "subsided")
        _store(connection, owner, ended, facts.day)
        return None
    if found.answer == "storm" and ongoing is not None and here is None:
        return ongoing
    if found.answer == "calm" and here is None:
        return None
    incident = Incident(
        use_case,
        facts.day,
        facts.breached,
        facts.monitored,
        found.base_rate,
        found.p_value,
        here.ended if here else "",
    )
    closed = next((closed for one, closed in known if one.day == facts.day), None)
    _store(connection, owner, incident, closed)
    return incident if found.answer == "storm" else None


def _store(
    connection: Connection, owner: TenantRef, incident: Incident, closed: datetime | None
) -> None:
    connection.execute(
        _OPEN,
        [
            *(owner.id, KIND, incident.use_case, incident.day, incident.summary),
            *(Jsonb(incident.details()), closed),
        ],
    )


def _incidents(
    connection: Connection, owner: TenantRef, use_case: str | None
) -> list[tuple[Incident, datetime | None]]:
    rows = connection.execute(_INCIDENTS, [owner.id, KIND, use_case, use_case]).fetchall()
    return [
        (
            Incident(row["use_case"], row["as_of"].astimezone(UTC), **row["details"]),
            None if row["closed_at"] is None else row["closed_at"].astimezone(UTC),
        )
        for row in rows
    ]


def _member(tenant: TenantRef) -> str:
    """Stands for the tenant where a name would have no business."""
    return hashlib.sha256(f"{tenant.region}/{tenant.id}".encode()).hexdigest()[:24]
