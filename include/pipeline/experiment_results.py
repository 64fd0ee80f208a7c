"""What experiments of a tenant, and challengers scored in the shadow, have shown by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from include import use_cases
from include.registry import experiments
from include.registry.experiments import Experiment
from include.registry.sequential import (
    ExperimentDecision,
    Observation,
    decide_experiment,
    mean_sequence,
)
from include.registry.two_way import blocks_of
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

_PAIRS: Final = """
    SELECT o.champion_version, o.challenger_version, o.as_of,
           o.challenger_outcome - o.champion_outcome AS gain
    FROM shadow_outcomes o JOIN outcomes_measured m USING (tenant_id, use_case, as_of)
    WHERE o.tenant_id = %s AND o.use_case = %s AND (%s::timestamptz IS NULL OR o.as_of <= %s)
    ORDER BY o.champion_version, o.challenger_version, m.position, o.entity
"""
_OBSERVATIONS: Final = """
    SELECT o.entity, o.challenger, o.outcome, o.as_of, m.position
    FROM experiment_outcomes o JOIN outcomes_measured m USING (tenant_id, use_case, as_of)
    WHERE o.tenant_id = %s AND o.use_case = %s AND o.number = %s
"""


_ARMS: Final = ("champion", "challenger")
_NO_FIGURES: Final = ("verdict", "reasons")


@dataclass(frozen=True)
class PairedLive:
    """A challenger against a champion on the same entities, by labels of later weeks."""

    champion: str
    challenger: str
    entities: int
    intervals: int
    first_as_of: datetime
    last_as_of: datetime
    difference: float  #: mean of challenger − champion in outcomes from 0 to 1
    low: float  #: bounds that hold at all times at once, see `registry.sequential`
    high: float


def decision(tenant: TenantRef, trial: Experiment, reach: timedelta) -> ExperimentDecision:
    """What everything known by now says of an experiment.

    Args:
        reach: of labels.
    """
    return decide_experiment(observations(tenant, trial, reach), trial.policy, trial.split.salt)


def observations(tenant: TenantRef, experiment: Experiment, reach: timedelta) -> list[Observation]:
    """All that is known of an experiment's entities by now.

    Args:
        reach: of labels: instants within it are one window of time.
    """
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            _OBSERVATIONS, [tenant.id, experiment.use_case, experiment.number]
        ).fetchall()
    if not rows:
        return []
    instants = np.array([row["as_of"].astimezone(UTC).replace(tzinfo=None) for row in rows])
    windows = blocks_of(instants.astype("datetime64[us]"), reach)
    return [
        Observation(
            f"{row['position']:09}",
            row["entity"],
            row["challenger"],
            row["outcome"],
            f"{window:04}",
        )
        for row, window in zip(rows, windows.tolist(), strict=True)
    ]


def told(tenant: TenantRef, use_case: str) -> list[dict[str, Any]]:
    """A row per experiment, oldest first; of the one that runs, what is known by now."""
    rows = []
    for one in experiments.history(tenant, use_case):
        end = one.ending
        now = decision(tenant, one, reach_of(use_case)) if end is None else None
        figures: Mapping[str, Any] = end.figures if end else figures_of(now) if now else {}
        rows.append(
            {
                "experiment": one.name,
                "champion": one.champion,
                "challenger": one.challenger,
                "share": one.policy.share,
                "since": one.started_as_of,
                "until": end.as_of if end else None,
                "verdict": end.verdict if end else "running",
                **{name: figures.get(name) for name in ("difference", "low", "high")},
                "entities": [figures.get(f"{arm}_entities", 0) for arm in _ARMS],
                "reasons": [*one.reasons, *(end.reasons if end else now.reasons if now else ())],
                "by": [one.actor, *([end.actor] if end else [])],
            }
        )
    return rows


def paired_live(
    tenant: TenantRef, use_case: str, as_of: datetime | None = None, alpha: float = 0.05
) -> list[PairedLive]:
    """Challengers scored in the shadow against the champions of their time, a row per pair.

    Both are judged on the same entities, each entity once; in an experiment those of the
    champion's arm. The bounds hold at all times at once.

    Args:
        as_of: only predictions up to then.
    """
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(_PAIRS, [tenant.id, use_case, as_of, as_of]).fetchall()
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["champion_version"], row["challenger_version"]), []).append(row)
    return [_paired(pair, found, alpha) for pair, found in pairs.items()]


def shadows(tenant: TenantRef, use_case: str) -> list[dict[str, Any]]:
    """`paired_live` as rows for people."""
    return [asdict(one) for one in paired_live(tenant, use_case)]


def _paired(pair: tuple[str, str], rows: Sequence[Mapping[str, Any]], alpha: float) -> PairedLive:
    gains = np.array([row["gain"] for row in rows], dtype=np.float64)
    middle, low, high = mean_sequence(gains, 1.0, alpha)
    instants = sorted({row["as_of"] for row in rows})
    last = (float(middle[-1]), float(low[-1]), float(high[-1]))
    return PairedLive(*pair, len(rows), len(instants), instants[0], instants[-1], *last)


def figures_of(found: ExperimentDecision) -> dict[str, Any]:
    """The figures that a decision rests on, as the ledger keeps them."""
    return {name: value for name, value in asdict(found).items() if name not in _NO_FIGURES}


def reach_of(use_case: str) -> timedelta:
    """The reach of a use case's labels; none where the use case is not declared any more."""
    return use_cases.get(use_case).reach if use_case in use_cases.names() else timedelta(0)
