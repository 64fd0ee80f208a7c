"""Outcomes in Postgres: `outcomes_measured` numbers the instants, two tables hold what is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from include.registry.outcomes import ArmOutcome, InstantOutcomes, PairOutcome
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres.statements import select, take_turn
from include.tenants.namespace import TenantRef

_MEASURED: Final = """
    SELECT as_of FROM outcomes_measured WHERE tenant_id = %s AND use_case = %s ORDER BY position
"""
_MARK: Final = """
    INSERT INTO outcomes_measured (tenant_id, use_case, as_of, position, measured_as_of)
    SELECT %s, %s, %s, coalesce(max(position), 0) + 1, %s FROM outcomes_measured
    WHERE tenant_id = %s AND use_case = %s
    ON CONFLICT (tenant_id, use_case, as_of) DO NOTHING RETURNING position
"""
_KEEP_ARMS: Final = """
    INSERT INTO experiment_outcomes (tenant_id, use_case, as_of, number, entity, challenger,
                                     outcome)
    SELECT %s, %s, %s, %s, line.* FROM unnest(%s::text[], %s::boolean[], %s::float8[]) AS line
    ON CONFLICT DO NOTHING
"""
_KEEP_PAIRS: Final = """
    INSERT INTO shadow_outcomes (tenant_id, use_case, as_of, champion_version, challenger_version,
                                 entity, champion_outcome, challenger_outcome)
    SELECT %s, %s, %s, %s, %s, line.*
    FROM unnest(%s::text[], %s::float8[], %s::float8[]) AS line
    ON CONFLICT DO NOTHING
"""
_ARMS: Final = """
    SELECT o.as_of, o.entity, o.challenger, o.outcome
    FROM experiment_outcomes o JOIN outcomes_measured m USING (tenant_id, use_case, as_of)
    WHERE o.tenant_id = %s AND o.use_case = %s AND o.number = %s ORDER BY m.position, o.entity
"""
_PAIRS: Final = """
    SELECT o.as_of, o.champion_version, o.challenger_version, o.entity, o.champion_outcome,
           o.challenger_outcome
    FROM shadow_outcomes o JOIN outcomes_measured m USING (tenant_id, use_case, as_of)
    WHERE o.tenant_id = %s AND o.use_case = %s ORDER BY m.position, o.entity
"""


class PostgresOutcomes:
    """The three tables; instants of one use case are kept one after the other."""

    def keep(
        self, tenant: TenantRef, use_case: str, outcomes: InstantOutcomes, measured_as_of: datetime
    ) -> bool:
        """See `Outcomes.keep`."""
        scope = [tenant.id, use_case]
        key = [*scope, outcomes.as_of]
        with tenant_transaction(tenant) as connection:
            take_turn(connection, f"outcomes/{tenant.id}/{use_case}")
            if connection.execute(_MARK, [*key, measured_as_of, *scope]).fetchone() is None:
                return False
            if outcomes.arms:
                _keep(connection, _KEEP_ARMS, [*key, outcomes.experiment], outcomes.arms)
            if outcomes.pairs:
                _keep(connection, _KEEP_PAIRS, [*key, *outcomes.versions], outcomes.pairs)
        return True

    def measured(self, tenant: TenantRef, use_case: str) -> list[datetime]:
        """See `Outcomes.measured`."""
        return [row["as_of"] for row in select(tenant, _MEASURED, [tenant.id, use_case])]

    def of_experiment(self, tenant: TenantRef, use_case: str, number: int) -> list[InstantOutcomes]:
        """See `Outcomes.of_experiment`."""
        rows = select(tenant, _ARMS, [tenant.id, use_case, number])
        return [
            InstantOutcomes(
                as_of,
                number,
                tuple(ArmOutcome(row["entity"], row["challenger"], row["outcome"]) for row in kept),
            )
            for as_of, kept in groupby(rows, lambda row: row["as_of"])
        ]

    def of_pairs(self, tenant: TenantRef, use_case: str) -> list[InstantOutcomes]:
        """See `Outcomes.of_pairs`."""
        rows = select(tenant, _PAIRS, [tenant.id, use_case])
        grouped = groupby(
            rows, lambda row: (row["as_of"], row["champion_version"], row["challenger_version"])
        )
        return [
            InstantOutcomes(
                as_of,
                versions=tuple(versions),
                pairs=tuple(
                    PairOutcome(row["entity"], row["champion_outcome"], row["challenger_outcome"])
                    for row in kept
                ),
            )
            for (as_of, *versions), kept in grouped
        ]


def _keep(
    connection: Connection, query: str, key: Sequence[Any], outcomes: Sequence[tuple[Any, ...]]
) -> None:
    connection.execute(query, [*key, *map(list, zip(*outcomes, strict=True))])
