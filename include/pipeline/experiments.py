"""Experiments of a tenant: begun and stopped by hand, looked at whenever labels mature.

Looking often does no harm: the test holds at every moment (see `registry.sequential`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from include import use_cases
from include.errors import TenantryError, UnknownNameError
from include.handoffs import LostDays, Scored
from include.pipeline.experiment_results import decision, figures_of, reach_of
from include.pipeline.outcomes import record_outcomes
from include.pipeline.runs import Run, last_checked
from include.registry import experiments as rules
from include.registry.conclusion import conclude, out_of_the_race
from include.registry.experiments import Experiment
from include.registry.policy import Policy
from include.tenants.config import TenantConfig
from include.tenants.intervals import next_end
from include.wiring import Platform

log = logging.getLogger(__name__)


def look(run: Run, scored: Scored, lost: Sequence[LostDays] = ()) -> Experiment | None:
    """Keep the outcomes that are known by now, and end the experiment where they say so.

    It ends from the next interval on. A rerun finds what was kept and decided.

    Returns:
        The experiment that runs, or that this look ended; None where there is none.
    """
    ref, case, registry = run.tenant.ref, run.use_case_name, run.platform.registry
    stores = run.platform.stores
    record_outcomes(run, scored, lost)
    trial = rules.running(stores.experiments.history(ref, case))
    if trial is None or run.as_of < trial.started_as_of:
        return None
    last_served = stores.predictions.newest(ref, case, trial.number) or trial.started_as_of
    after = next_end(run.tenant, max(run.as_of, last_served))
    if beaten := out_of_the_race(ref, trial, registry, stores.promotions):
        return conclude(
            ref,
            trial,
            beaten[0],
            beaten[1:],
            as_of=after,
            registry=registry,
            promotions=stores.promotions,
            experiments=stores.experiments,
        )
    reached = decision(stores.outcomes, ref, trial, run.the_use_case().reach)
    log.info("experiment: %s/%s %s: %s", ref.id, case, trial.name, " ".join(reached.reasons))
    if reached.verdict == "continue":
        return trial
    return conclude(
        ref,
        trial,
        reached.verdict,
        reached.reasons,
        as_of=after,
        registry=registry,
        promotions=stores.promotions,
        experiments=stores.experiments,
        figures=figures_of(reached),
    )


def begin(
    tenant: TenantConfig,
    use_case: str,
    challenger: str,
    policy: Policy,
    *,
    as_of: datetime | None,
    platform: Platform,
    by: str,
    because: str = "",
) -> Experiment:
    """Start an experiment; from the newest interval on, or as soon as may be, where none is named.

    Raises:
        TenantryError: see `registry.experiments.start`.
    """
    _check(tenant, use_case)
    stores = platform.stores
    before = stores.experiments.history(tenant.ref, use_case)
    ended = [experiment.ending.as_of for experiment in before if experiment.ending]
    return rules.start(
        tenant.ref,
        use_case,
        challenger,
        policy,
        as_of=as_of or max([last_checked(tenant, platform.stores.stage_runs), *ended]),
        registry=platform.registry,
        promotions=stores.promotions,
        experiments=stores.experiments,
        predictions=stores.predictions,
        by=by,
        because=because,
        probabilities=use_cases.get(use_case).task == "classification",
        timezone=tenant.timezone,
    )


def stop(
    tenant: TenantConfig,
    use_case: str,
    because: str,
    *,
    as_of: datetime | None,
    platform: Platform,
    by: str,
) -> Experiment:
    """End the running experiment by hand, from the newest interval on where no instant is named.

    Raises:
        TenantryError: none is running.
    """
    _check(tenant, use_case)
    stores = platform.stores
    trial = rules.running(stores.experiments.history(tenant.ref, use_case))
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
        as_of=as_of or last_checked(tenant, platform.stores.stage_runs),
        registry=platform.registry,
        promotions=stores.promotions,
        experiments=stores.experiments,
        figures=figures_of(decision(stores.outcomes, tenant.ref, trial, reach_of(use_case))),
        by=by,
    )


def _check(tenant: TenantConfig, use_case: str) -> None:
    if use_case not in tenant.use_cases:
        raise UnknownNameError("use case", use_case, tenant.use_cases, f"tenant {tenant.id}")
