"""Experiments of a tenant: begun and stopped by hand, looked at whenever labels mature.

Looking often does no harm: the test holds at every moment (see `registry.sequential`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from include import use_cases
from include.errors import TenantryError, UnknownNameError
from include.handoffs import Scored
from include.pipeline.intervals import next_end
from include.pipeline.outcomes import observations, record_outcomes
from include.pipeline.runs import Run, last_checked
from include.registry import experiments
from include.registry.conclusion import conclude, out_of_the_race
from include.registry.experiments import Experiment
from include.registry.port import Registry
from include.registry.sequential import (
    ExperimentDecision,
    Policy,
    decide_experiment,
    mean_sequence,
)
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef

log = logging.getLogger(__name__)

_PAIRS: Final = """
    SELECT o.champion_version, o.challenger_version, o.as_of,
           o.challenger_outcome - o.champion_outcome AS gain
    FROM shadow_outcomes o JOIN outcomes_measured m USING (tenant_id, use_case, as_of)
    WHERE o.tenant_id = %s AND o.use_case = %s AND (%s::timestamptz IS NULL OR o.as_of <= %s)
    ORDER BY o.champion_version, o.challenger_version, m.position, o.entity
"""


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


def look(run: Run, scored: Scored) -> Experiment | None:
    """Keep the outcomes that are known by now, and end the experiment where they say so.

    It ends from the next interval on. A rerun finds what was kept and decided.

    Returns:
        The experiment that runs, or that this look ended; None where there is none.
    """
    ref, case, registry = run.tenant.ref, run.use_case_name, run.platform.registry
    record_outcomes(run, scored)
    trial = experiments.running(ref, case)
    if trial is None or run.as_of < trial.started_as_of:
        return None
    after = next_end(run.tenant, max(run.as_of, _last_served(ref, trial)))
    if lost := out_of_the_race(ref, trial, registry):
        return conclude(ref, trial, lost[0], lost[1:], as_of=after, registry=registry)
    found = decision(ref, trial)
    log.info("experiment: %s/%s %s: %s", ref.id, case, trial.name, " ".join(found.reasons))
    if found.verdict == "continue":
        return trial
    return conclude(
        ref,
        trial,
        found.verdict,
        found.reasons,
        as_of=after,
        registry=registry,
        figures=_figures(found),
    )


def decision(tenant: TenantRef, trial: Experiment) -> ExperimentDecision:
    """What everything known by now says of an experiment."""
    return decide_experiment(observations(tenant, trial), trial.policy, trial.split.salt)


def begin(
    tenant: TenantConfig,
    use_case: str,
    challenger: str,
    policy: Policy,
    *,
    as_of: datetime | None,
    registry: Registry,
    by: str,
    because: str = "",
) -> Experiment:
    """Start an experiment; from the newest interval on, or as soon as may be, where none is named.

    Raises:
        TenantryError: see `registry.experiments.start`.
    """
    _check(tenant, use_case)
    before = experiments.history(tenant.ref, use_case)
    ended = [one.ending.as_of for one in before if one.ending]
    return experiments.start(
        tenant.ref,
        use_case,
        challenger,
        policy,
        as_of=as_of or max([last_checked(tenant), *ended]),
        registry=registry,
        by=by,
        because=because,
        probabilities=use_cases.get(use_case).task == "classification",
    )


def stop(
    tenant: TenantConfig,
    use_case: str,
    because: str,
    *,
    as_of: datetime | None,
    registry: Registry,
    by: str,
) -> Experiment:
    """End the running experiment by hand, from the newest interval on where no instant is named.

    Raises:
        TenantryError: none is running.
    """
    _check(tenant, use_case)
    trial = experiments.running(tenant.ref, use_case)
    if trial is None:
        raise TenantryError(
            f"no experiment of {tenant.id}/{use_case} is running; `tenantry experiment list "
            f"{tenant.id}` shows those that did"
        )
    return conclude(
        tenant.ref,
        trial,
        "stopped",
        (because,),
        as_of=as_of or last_checked(tenant),
        registry=registry,
        figures=_figures(decision(tenant.ref, trial)),
        by=by,
    )


def told(tenant: TenantRef, use_case: str) -> list[dict[str, Any]]:
    """A row per experiment, oldest first; of the one that runs, what is known by now."""
    rows = []
    for one in experiments.history(tenant, use_case):
        end = one.ending
        now = decision(tenant, one) if end is None else None
        figures: Mapping[str, Any] = end.figures if end else _figures(now) if now else {}
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


_ARMS: Final = ("champion", "challenger")


def _paired(pair: tuple[str, str], rows: Sequence[Mapping[str, Any]], alpha: float) -> PairedLive:
    gains = np.array([row["gain"] for row in rows], dtype=np.float64)
    middle, low, high = mean_sequence(gains, 1.0, alpha)
    instants = sorted({row["as_of"] for row in rows})
    last = (float(middle[-1]), float(low[-1]), float(high[-1]))
    return PairedLive(*pair, len(rows), len(instants), instants[0], instants[-1], *last)


def _figures(found: ExperimentDecision) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name not in _NO_FIGURES}


_NO_FIGURES: Final = ("verdict", "reasons")


def _last_served(tenant: TenantRef, trial: Experiment) -> datetime:
    """The newest instant at which the experiment served anybody, or its start."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(
            "SELECT max(as_of) AS newest FROM predictions "
            "WHERE tenant_id = %s AND use_case = %s AND experiment = %s",
            [tenant.id, trial.use_case, trial.number],
        ).fetchone()
    return (row["newest"] if row else None) or trial.started_as_of


def _check(tenant: TenantConfig, use_case: str) -> None:
    if use_case not in tenant.use_cases:
        raise UnknownNameError("use case", use_case, tenant.use_cases, f"tenant {tenant.id}")
