"""What experiments of a tenant, and challengers scored in the shadow, have shown by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from include import use_cases
from include.registry.experiments import Experiment
from include.registry.outcomes import InstantOutcomes, Outcomes
from include.registry.sequential import (
    ExperimentDecision,
    Observation,
    decide_experiment,
    mean_sequence,
)
from include.registry.two_way import blocks_of
from include.stores import Stores
from include.tenants.namespace import TenantRef

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


def decision(
    outcomes: Outcomes, tenant: TenantRef, trial: Experiment, reach: timedelta
) -> ExperimentDecision:
    """What everything known by now says of an experiment.

    Args:
        reach: of labels.
    """
    known = outcomes.of_experiment(tenant, trial.use_case, trial.number)
    return decide_experiment(observations(known, reach), trial.policy, trial.split.salt)


def observations(known: Sequence[InstantOutcomes], reach: timedelta) -> list[Observation]:
    """All that is known of an experiment's entities by now.

    Args:
        known: as `Outcomes.of_experiment` gives it.
        reach: of labels: instants within it are one window of time.
    """
    if not known:
        return []
    instants = np.array([outcome.as_of.astimezone(UTC).replace(tzinfo=None) for outcome in known])
    windows = blocks_of(instants.astype("datetime64[us]"), reach)
    return [
        Observation(f"{batch:09}", arm.entity, arm.challenger, arm.outcome, f"{window:04}")
        for batch, (outcome, window) in enumerate(zip(known, windows.tolist(), strict=True))
        for arm in outcome.arms
    ]


def told(stores: Stores, tenant: TenantRef, use_case: str) -> list[dict[str, Any]]:
    """A row per experiment, oldest first; of the one that runs, what is known by now."""
    rows = []
    for experiment in stores.experiments.history(tenant, use_case):
        end = experiment.ending
        reach = reach_of(use_case)
        now = decision(stores.outcomes, tenant, experiment, reach) if end is None else None
        figures: Mapping[str, Any] = end.figures if end else figures_of(now) if now else {}
        rows.append(
            {
                "experiment": experiment.name,
                "champion": experiment.champion,
                "challenger": experiment.challenger,
                "share": experiment.policy.share,
                "since": experiment.started_as_of,
                "until": end.as_of if end else None,
                "verdict": end.verdict if end else "running",
                **{name: figures.get(name) for name in ("difference", "low", "high")},
                "entities": [figures.get(f"{arm}_entities", 0) for arm in _ARMS],
                "reasons": [
                    *experiment.reasons,
                    *(end.reasons if end else now.reasons if now else ()),
                ],
                "by": [experiment.actor, *([end.actor] if end else [])],
            }
        )
    return rows


def paired_live(
    outcomes: Outcomes,
    tenant: TenantRef,
    use_case: str,
    as_of: datetime | None = None,
    alpha: float = 0.05,
) -> list[PairedLive]:
    """Challengers scored in the shadow against the champions of their time, a row per pair.

    Both are judged on the same entities, each entity once; in an experiment those of the
    champion's arm. The bounds hold at all times at once.

    Args:
        as_of: only predictions up to then.
    """
    compared: dict[tuple[str, str], list[InstantOutcomes]] = {}
    for pairs in outcomes.of_pairs(tenant, use_case):
        if as_of is None or pairs.as_of <= as_of:
            compared.setdefault(pairs.versions, []).append(pairs)
    return [_paired(versions, compared[versions], alpha) for versions in sorted(compared)]


def shadows(outcomes: Outcomes, tenant: TenantRef, use_case: str) -> list[dict[str, Any]]:
    """`paired_live` as rows for people."""
    return [asdict(live) for live in paired_live(outcomes, tenant, use_case)]


def _paired(
    versions: tuple[str, str], known: Sequence[InstantOutcomes], alpha: float
) -> PairedLive:
    gains = np.array(
        [pair.challenger - pair.champion for outcome in known for pair in outcome.pairs]
    )
    middle, low, high = mean_sequence(gains, 1.0, alpha)
    instants = sorted(outcome.as_of for outcome in known)
    last = (float(middle[-1]), float(low[-1]), float(high[-1]))
    return PairedLive(*versions, len(gains), len(instants), instants[0], instants[-1], *last)


def figures_of(decision: ExperimentDecision) -> dict[str, Any]:
    """The figures that a decision rests on, as the ledger keeps them."""
    return {name: value for name, value in asdict(decision).items() if name not in _NO_FIGURES}


def reach_of(use_case: str) -> timedelta:
    """The reach of a use case's labels; none where the use case is not declared any more."""
    return use_cases.get(use_case).reach if use_case in use_cases.names() else timedelta(0)
