"""What a source's lost days mean for a use case: which labels and features reach there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from include.features.declarations import ALL_HISTORY, Aggregation
from include.features.expressions import features_of
from include.handoffs import LostDays
from include.tenants.config import TenantConfig
from include.use_cases.declaration import UseCase

#: Functions of which a small part of the window decides only a small part.
_ADDITIVE: Final = ("count", "sum", "mean", "days_active")
#: Share of such a window that may be lost.
LITTLE: Final = 0.02


def of_events(
    tenant: TenantConfig, names: Collection[str], lost: Iterable[LostDays]
) -> tuple[LostDays, ...]:
    """The losses of sources that may deliver events of these names."""
    sources = {
        one.name
        for one in tenant.sources
        if one.events and (one.events.event is None or one.events.event in names)
    }
    return tuple(one for one in lost if one.source in sources)


def of_use_case(
    use_case: UseCase, tenant: TenantConfig, lost: Iterable[LostDays]
) -> tuple[LostDays, ...]:
    """The losses of events that the use case reads at all, for whatever."""
    streams = (view.stream.events for view in use_case.features.views if view.stream)
    read = {name for names in streams for name in names}
    return of_events(tenant, read | {*use_case.events, *use_case.outcomes}, lost)


def of_labels(
    use_case: UseCase, tenant: TenantConfig, lost: Iterable[LostDays]
) -> tuple[LostDays, ...]:
    """The losses of events that labels are made of: outcomes, and the requests that they follow."""
    requests = use_case.events if use_case.request else ()
    return of_events(tenant, {*use_case.outcomes, *requests}, lost)


def label_reaches(use_case: UseCase, at: datetime, lost: Iterable[LostDays]) -> bool:
    """Whether labels of a snapshot reach into lost days."""
    return any(one.overlaps(at, at + use_case.reach) for one in lost)


def absent_is_unknown(use_case: UseCase, tenant: TenantConfig) -> bool:
    """Whether a source of a total's outcomes does not say that nothing means none."""
    if use_case.label.when != "total":
        return False
    names = use_case.outcomes
    return any(
        one.absent_means == "unknown"
        for one in tenant.sources
        if one.events and (one.events.event is None or one.events.event in names)
    )


def features_that_reach(
    use_case: UseCase, tenant: TenantConfig, instants: Sequence[datetime], lost: Sequence[LostDays]
) -> dict[str, LostDays]:
    """Feature column → lost days that some of its windows at some instant reach into.

    A window without lower bound counts as long as the active window: whoever is scored did
    something within it. Of sums and counts a fiftieth may be lost. Columns that do not reach are
    left out.
    """
    found: dict[str, LostDays] = {}
    for view in use_case.features.views:
        losses = of_events(tenant, view.stream.events, lost) if view.stream else ()
        if not losses:
            continue
        bitten = {
            aggregation.feature(window): first
            for aggregation, window in view.computed()
            if (first := _bitten(aggregation, window, use_case, instants, losses)) is not None
        }
        for column, expression in view.outputs.items():
            touched = [bitten[name] for name in features_of(expression) if name in bitten]
            if touched:
                found[column] = touched[0]
    return found


def _bitten(
    aggregation: Aggregation,
    window: timedelta,
    use_case: UseCase,
    instants: Sequence[datetime],
    lost: Sequence[LostDays],
) -> LostDays | None:
    """Lost days that decide the aggregation at one of the instants, if there are any."""
    endless = window == ALL_HISTORY
    length = use_case.active_window if endless else window
    for at in instants:
        inside = [one for one in lost if one.overlaps(at - length, at)]
        if not inside:
            continue
        gone = sum((min(one.end, at) - max(one.start, at - length) for one in inside), timedelta(0))
        if endless or aggregation.function not in _ADDITIVE or gone > LITTLE * length:
            return inside[-1]
    return None


def told(lost: Iterable[LostDays], timezone: str) -> str:
    """Losses in words."""
    return ", ".join(one.told(timezone) for one in lost)


def withheld(reaching: Mapping[str, LostDays], side: str, timezone: str) -> dict[str, str]:
    """Column → why it is not judged."""
    return {
        name: f"{side} reaches into lost days ({one.told(timezone)})"
        for name, one in reaching.items()
    }
