"""Storms: many tenants drift on one day because something happened to all of them.

Retraining them all would teach every model the storm. Their drift becomes one platform incident
instead, and their retrains are suppressed. A tenant that still drifts a window after the incident
is over retrains then.

A storm is a day on which far more tenants of a use case breach than ever do by chance: an exact
binomial test (C. Clopper and E. Pearson, Biometrika 26, 1934) of the day's breaches against the
rate of the weeks before, with a share and a number of tenants below which there is no storm.

A tenant's run tells the platform one bit, under a digest of the tenant's id, in rows of the owner
of its global models: tenants of different regions are told of one storm only where they share the
models of all regions. The run hears back the name of an incident, without a number in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from include.incidents import Incident
from include.tenants.namespace import TenantRef

Answer = Literal["calm", "storm", "over"]
#: Kind of the incidents.
KIND: Final = "drift_storm"
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class StormPolicy:
    """The numbers behind a storm."""

    minimum: int = 3  #: tenants that must breach
    share: float = 0.2  #: of the tenants monitored that day
    level: float = 0.001  #: of the binomial test
    expected: float = 0.01  #: breaches per tenant and window before anything is known
    weight: int = 20  #: windows that `expected` counts for
    #: What lasts longer is no storm: tenants adapt to it, and its days count as usual afterwards.
    patience: timedelta = timedelta(days=28)
    memory: timedelta = timedelta(days=84)  #: the weeks before that the rate is taken from


POLICY: Final = StormPolicy()


@dataclass(frozen=True)
class StormFacts:
    """The fleet's day, as far as it has reported, for one use case."""

    day: datetime  #: midnight, UTC
    breached: int
    monitored: int
    #: Over the weeks before, without the days of incidents that subsided; from the first day of the
    #: last one that did not.
    past_breached: int
    past_monitored: int
    opened: datetime | None = None  #: day of the incident that is open
    opened_monitored: int = 0  #: tenants that reported on that day


@dataclass(frozen=True)
class StormJudgement:
    """`calm`: drift is the tenant's own; `storm`: it is shared; `over`: the storm ends today."""

    answer: Answer
    base_rate: float
    p_value: float
    reason: str


def judge_storm(facts: StormFacts, policy: StormPolicy) -> StormJudgement:
    """Whether the day is a storm's."""
    from scipy.special import bdtrc  # takes long to import, and reading verdicts needs no test

    rate = (facts.past_breached + policy.expected * policy.weight) / (
        facts.past_monitored + policy.weight
    )
    tail = float(bdtrc(facts.breached - 1, facts.monitored, rate)) if facts.breached else 1.0
    many = (
        facts.breached >= policy.minimum
        and facts.breached >= policy.share * facts.monitored
        and tail <= policy.level
    )
    told = f"{facts.breached} of {facts.monitored} tenants drifted, {rate:.1%} usually do"

    def answer(name: Answer, reason: str) -> StormJudgement:
        return StormJudgement(name, rate, tail, reason)

    if facts.opened is None or facts.opened == facts.day:
        return answer("storm" if many else "calm", told)
    if facts.day - facts.opened >= policy.patience:
        return answer("over", f"it has lasted {policy.patience.days} days: what stays is no storm")
    if not many and 2 * facts.monitored >= facts.opened_monitored:
        return answer("over", f"it subsided: {told}")
    return answer("storm", told)


@dataclass(frozen=True)
class Storm:
    """A storm as the platform's incident tells of it: counts, no names."""

    use_case: str
    day: datetime
    breached: int
    monitored: int
    base_rate: float
    p_value: float
    ended: Literal["", "subsided", "lasted"] = ""
    over_since: datetime | None = None  #: the day it was over; None while it is not

    @property
    def name(self) -> str:
        """The name that tenants are told."""
        return f"{self.use_case}/{self.day:%Y-%m-%d}"

    @property
    def summary(self) -> str:
        """One line for the platform's staff."""
        return (
            f"Drift storm in {self.use_case} on {self.day:%Y-%m-%d} (UTC): {self.breached} "
            f"of {self.monitored} tenants drifted where {self.base_rate:.1%} usually do "
            f"(p = {self.p_value:.1g}). A shared cause is likely, such as a holiday or a change of "
            "the platform; retrains are suppressed until it is over."
        )

    def lasts_on(self, day: datetime) -> bool:
        """Whether a day is the storm's."""
        return self.day <= day and (self.over_since is None or day < self.over_since)

    def incident(self) -> Incident:
        """The incident that is kept."""
        key = ("use_case", "day", "over_since")
        details = {name: value for name, value in asdict(self).items() if name not in key}
        return Incident(KIND, self.use_case, self.day, self.summary, details, self.over_since)

    @classmethod
    def read(cls, incident: Incident) -> Storm:
        """The storm that `incident` was made of."""
        over = incident.closed_at and incident.closed_at.astimezone(UTC)
        day = incident.as_of.astimezone(UTC)
        return cls(incident.use_case, day, **incident.details, over_since=over)


@dataclass(frozen=True)
class Reports:
    """How many tenants reported on a day, and how many of them drifted."""

    monitored: int
    breached: int


@dataclass(frozen=True)
class Followed:
    """What a report comes to."""

    storm: Storm | None  #: that the day's drift is part of
    changed: Storm | None  #: opened, brought up to date or ended, and to be kept


def follow(
    use_case: str,
    day: datetime,
    days: Mapping[datetime, Reports],
    storms: Sequence[Storm],
    policy: StormPolicy = POLICY,
) -> Followed:
    """What the day's reports come to: a storm opens, goes on, is brought up to date or ends.

    Args:
        days: reports of the day and of the policy's memory before it.
        storms: of the use case, oldest first.
    """
    here = next((storm for storm in storms if storm.day == day), None)
    ongoing = here or next((storm for storm in storms if storm.lasts_on(day)), None)
    facts = _facts(day, days, storms, ongoing, policy)
    judged = judge_storm(facts, policy)
    if judged.answer == "over" and ongoing is not None:
        lasted = day - ongoing.day >= policy.patience
        ended: Literal["lasted", "subsided"] = "lasted" if lasted else "subsided"
        return Followed(None, replace(ongoing, ended=ended, over_since=day))
    if judged.answer == "storm" and ongoing is not None and here is None:
        return Followed(ongoing, None)
    if judged.answer == "calm" and here is None:
        return Followed(None, None)
    storm = Storm(
        use_case,
        day,
        facts.breached,
        facts.monitored,
        judged.base_rate,
        judged.p_value,
        here.ended if here else "",
        here.over_since if here else None,
    )
    return Followed(storm if judged.answer == "storm" else None, storm)


def day_of(as_of: datetime) -> datetime:
    """The UTC day that a window's end belongs to."""
    return as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def member_of(tenant: TenantRef) -> str:
    """A digest that stands for the tenant where a name would have no business."""
    return hashlib.sha256(f"{tenant.region}/{tenant.id}".encode()).hexdigest()[:24]


def _facts(
    day: datetime,
    days: Mapping[datetime, Reports],
    storms: Sequence[Storm],
    ongoing: Storm | None,
    policy: StormPolicy,
) -> StormFacts:
    """The day, beside the days before that were no storm's.

    The days of a storm that did not pass are the new usual, and those before it count no more.
    """
    since = max((s.day for s in storms if s.ended == "lasted"), default=day - policy.memory)
    usual = [
        reports
        for when, reports in days.items()
        if since <= when != day and not any(s.lasts_on(when) for s in storms if s.ended != "lasted")
    ]
    return StormFacts(
        day=day,
        breached=days[day].breached,
        monitored=days[day].monitored,
        past_breached=sum(reports.breached for reports in usual),
        past_monitored=sum(reports.monitored for reports in usual),
        opened=ongoing.day if ongoing else None,
        opened_monitored=ongoing.monitored if ongoing else 0,
    )
