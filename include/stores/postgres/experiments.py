"""Experiments in Postgres: one row where an experiment starts, one where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.registry.card import plain
from include.registry.experiments import Ending, Experiment
from include.registry.policy import Policy
from include.storage import audit
from include.storage.postgres import tenant_transaction
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_HISTORY: Final = """
    SELECT s.*, e.as_of AS end_as_of, e.verdict AS end_verdict, e.reasons AS end_reasons,
           e.figures AS end_figures, e.actor AS end_actor, e.recorded_at AS end_recorded_at
    FROM experiments s LEFT JOIN experiments e
    ON (e.tenant_id, e.use_case, e.number, e.event) = (s.tenant_id, s.use_case, s.number, 'ended')
    WHERE s.tenant_id = %s AND s.use_case = %s AND s.event = 'started' ORDER BY s.number
"""
_ADD: Final = """
    INSERT INTO experiments (tenant_id, use_case, number, event, as_of, champion_version,
                             challenger_version, challenger_digest, policy, verdict, reasons,
                             figures, actor)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""


class PostgresExperiments:
    """The table `experiments`; each row is entered in the tenant's audit chain with it."""

    def history(self, tenant: TenantRef, use_case: str) -> list[Experiment]:
        """See `Experiments.history`."""
        rows = select(tenant, _HISTORY, [tenant.id, use_case])
        return [_experiment(row) for row in rows]

    def add(self, tenant: TenantRef, experiment: Experiment) -> Experiment:
        """See `Experiments.add`."""
        reasons, by = experiment.reasons, experiment.actor
        _add(tenant, experiment, "started", experiment.started_as_of, "", reasons, {}, by)
        return self.history(tenant, experiment.use_case)[experiment.number - 1]

    def end(self, tenant: TenantRef, experiment: Experiment, ending: Ending) -> Experiment:
        """See `Experiments.end`."""
        ended = (ending.verdict, ending.reasons, ending.figures, ending.actor)
        _add(tenant, experiment, "ended", ending.as_of, *ended)
        return self.history(tenant, experiment.use_case)[experiment.number - 1]


def _add(
    tenant: TenantRef,
    experiment: Experiment,
    event: str,
    as_of: datetime,
    verdict: str,
    reasons: Sequence[str],
    figures: Mapping[str, Any],
    actor: str,
) -> None:
    key = (experiment.use_case, experiment.number, event)
    with tenant_transaction(tenant) as connection:
        done = connection.execute(
            _ADD,
            [
                *(tenant.id, *key, as_of, experiment.champion, experiment.challenger),
                *(experiment.digest, Jsonb(asdict(experiment.policy)), verdict),
                *(Jsonb(list(reasons)), Jsonb(plain(figures)), actor),
            ],
        )
        if done.rowcount:
            audit.enter(connection, tenant, "experiment", *key, actor=actor)


def _experiment(row: DictRow) -> Experiment:
    ending = None
    if row["end_as_of"] is not None:
        ending = Ending(
            row["end_as_of"],
            row["end_verdict"],
            tuple(row["end_reasons"]),
            row["end_figures"],
            row["end_actor"],
            row["end_recorded_at"],
        )
    return Experiment(
        row["tenant_id"],
        row["use_case"],
        row["number"],
        row["champion_version"],
        row["challenger_version"],
        row["challenger_digest"],
        Policy(**row["policy"]),
        row["as_of"],
        tuple(row["reasons"]),
        row["actor"],
        ending,
        row["recorded_at"],
    )
