"""Storms: many tenants drift on one day because something happened to all of them.

Retraining them all would teach every model the storm. Their drift becomes one platform incident
instead, their retrains are suppressed, and who still drifts a window after the incident is over
retrains then. A storm is a day on which far more tenants of a use case breach than ever do by
chance: an exact binomial test (C. Clopper and E. Pearson, Biometrika 26, 1934) of the day's
breaches against the rate of the weeks before, and a share and a number of tenants below which
nothing is called one.

What a tenant's run tells the platform is one bit under a digest of its id, kept in rows of the
platform's own; what it hears back is the name of an incident, without a number in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from scipy.special import bdtrc

Answer = Literal["calm", "storm", "over"]


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
    """`calm`: drift is the tenant's own; `storm`: it is not; `over`: the open one ends today."""

    answer: Answer
    base_rate: float
    p_value: float
    reason: str


def judge_storm(facts: StormFacts, policy: StormPolicy) -> StormJudgement:
    """Whether the day is a storm's; pure."""
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
class Incident:
    """A platform incident: counts, no names."""

    use_case: str
    day: datetime
    breached: int
    monitored: int
    base_rate: float
    p_value: float
    ended: Literal["", "subsided", "lasted"] = ""

    @property
    def name(self) -> str:
        """What tenants are told."""
        return f"{self.use_case}/{self.day:%Y-%m-%d}"

    @property
    def summary(self) -> str:
        """One line for the platform's staff."""
        return (
            f"Drift storm in {self.use_case} on {self.day:%Y-%m-%d}: {self.breached} of "
            f"{self.monitored} tenants drifted where {self.base_rate:.1%} usually do "
            f"(p = {self.p_value:.1g}). A shared cause is likely, such as a holiday or a change of "
            "the platform; retrains are suppressed until it is over."
        )

    def details(self) -> dict[str, object]:
        """All but the key, as JSON knows it."""
        found = asdict(self)
        return {name: found[name] for name in found if name not in ("use_case", "day")}


def day_of(as_of: datetime) -> datetime:
    """The UTC day that a window's end belongs to."""
    return as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


DAY: Final = timedelta(days=1)
