"""What is lost of a tenant's days, as its incidents have it, and what that holds back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from include.handoffs import LostDays
from include.incidents import Incidents
from include.monitoring.windows import PREDICTION
from include.pipeline.runs import Run
from include.quality import volume
from include.quality.incidents import data_losses
from include.tenants.config import TenantConfig
from include.tenants.intervals import last_interval
from include.use_cases.declaration import UseCase
from include.use_cases.drift_policy import DriftPolicy
from include.use_cases.losses import (
    features_that_reach,
    label_reaches,
    of_labels,
    of_use_case,
    withheld,
)


def lost_days(incidents: Incidents, tenant: TenantConfig, as_of: datetime) -> tuple[LostDays, ...]:
    """The days before an instant of which rows are missing; without those that were sent again."""
    return tuple(
        LostDays(outage.source, outage.start, min(outage.until or as_of, as_of))
        for outage in volume.lost(data_losses(incidents, tenant.ref))
        if outage.start < as_of
    )


def of_run(run: Run) -> tuple[LostDays, ...]:
    """What is lost of the events that the run's use case reads."""
    lost = lost_days(run.platform.stores.incidents, run.tenant, run.as_of)
    return of_use_case(run.the_use_case(), run.tenant, lost)


def in_interval(run: Run, lost: Sequence[LostDays]) -> tuple[LostDays, ...]:
    """Those of the lost days that the run's interval reaches into."""
    return tuple(days for days in lost if days.overlaps(run.interval.start, run.interval.end))


def measurable(run: Run, waiting: Sequence[datetime], lost: Sequence[LostDays]) -> list[datetime]:
    """The instants whose predictions can be measured: neither made nor proven in lost days.

    Labels that reach into lost days are not known, and a prediction at the end of an interval that
    lost rows was made from less than there was. The other instants wait: their days may be sent
    again.
    """
    use_case, tenant = run.the_use_case(), run.tenant
    labels = of_labels(use_case, tenant, lost)

    def is_measurable(at: datetime) -> bool:
        # Of the interval that ended there: a month's length is another one every month.
        start = last_interval(tenant, at).start
        since = at - use_case.active_window if use_case.request else start
        made_in_loss = any(days.overlaps(since, at) for days in lost)
        return not made_in_loss and not label_reaches(use_case, at, labels)

    return [at for at in waiting if is_measurable(at)]


def holding_back(
    policy: DriftPolicy,
    run: Run,
    lost: Sequence[LostDays],
    reference: Mapping[datetime, Sequence[LostDays]],
    read: Sequence[str],
) -> DriftPolicy:
    """The policy, which does not judge what reaches into lost days in either window.

    Args:
        reference: instants of the champion's reference, with the days that are lost there, or were
            at its training.
        read: columns that the model's prediction is made of.
    """
    use_case = run.the_use_case()
    reasons: dict[str, str] = {}
    for at, losses in reference.items():
        reaching = features_that_reach(use_case, run.tenant, (at,), losses)
        reasons |= withheld(reaching, "the reference", run.tenant.timezone)
    reaching = features_that_reach(use_case, run.tenant, (run.as_of,), lost)
    reasons |= withheld(reaching, "it", run.tenant.timezone)
    behind = next((reasons[name] for name in read if name in reasons), None)
    if behind is not None:
        reasons[PREDICTION] = f"a feature it is made of is not judged: {behind}"
    return policy.without(reasons)


def known_losses(
    use_case: UseCase, tenant: TenantConfig, recorded: Sequence[LostDays], now: Sequence[LostDays]
) -> tuple[LostDays, ...]:
    """The days that are lost now, and those that were at a training and were sent again since."""
    return tuple(dict.fromkeys((*now, *of_use_case(use_case, tenant, recorded))))
