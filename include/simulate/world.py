"""What is simulated: a world of tenants of one kind of business, as a declaration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.simulate.faults import ColdStart, Fault, FraudPattern
from include.simulate.seasons import EVEN_WEEK, FREE_WEEK, OFFICE_WEEK, SHOP_WEEK, Season
from include.tenants.namespace import REGIONAL, RESERVED, TENANT_ID


@dataclass(frozen=True)
class Business:
    """How a kind of business is, before tenants differ."""

    name: str
    season: Season
    visits: float  #: a day, of an average user
    main: str  #: the event that counts as being active
    main_share: float  #: main events per visit, on average, of the average user
    leaving: float  #: chance a day that an average user leaves for good
    newcomers: float  #: share of the users who come in the course of the world
    categories: tuple[str, ...] = ()
    items: int = 0
    released: float = 0.0  #: share of the items that come out in the course of the world
    aging: float = 0.0  #: days after which an item is a third as attractive; 0 is never
    frauds: tuple[FraudPattern, ...] = ()


GOODS: Final = ("bakery", "dairy", "drinks", "frozen", "fruit", "home", "meat", "snacks")
GENRES: Final = ("comedy", "crime", "drama", "history", "jazz", "pop", "rock", "science")
SUBJECTS: Final = ("coding", "data", "design", "languages", "law", "marketing")
FIELDS: Final = ("care", "construction", "finance", "kitchen", "logistics", "sales", "software")

EVENING: Final = ((12.5, 1.5, 0.3), (19.5, 2.0, 1.0))
DAYTIME: Final = ((10.5, 1.5, 1.0), (15.0, 1.7, 0.9))

BUSINESSES: Final = {
    one.name: one
    for one in (
        Business(
            name="shop",
            season=Season(SHOP_WEEK, ((11.0, 2.0, 0.7), (18.0, 2.2, 1.0)), 0.1, 350, "shopping"),
            visits=0.2,
            main="Order Completed",
            main_share=0.5,
            leaving=0.004,
            newcomers=0.4,
            categories=GOODS,
            items=240,
        ),
        Business(
            name="media",
            season=Season(FREE_WEEK, ((7.5, 1.0, 0.4), (20.5, 1.8, 1.0)), 0.15, 15, "none"),
            visits=0.3,
            main="Content Played",
            main_share=2.6,
            leaving=0.003,
            newcomers=0.4,
            categories=GENRES,
            items=400,
            released=0.4,
            aging=90.0,
        ),
        Business(
            name="crm",
            season=Season(OFFICE_WEEK, DAYTIME, 0.1, 100, "office"),
            visits=0.5,
            main="Page Viewed",
            main_share=2.0,
            leaving=0.0,  # a lead is won or lost, see `leads`
            newcomers=1.0,
        ),
        Business(
            name="payments",
            season=Season(EVEN_WEEK, ((12.0, 3.0, 1.0), (18.5, 2.5, 1.0)), 0.05, 350, "shopping"),
            visits=0.25,
            main="Payment Made",
            main_share=1.0,
            leaving=0.001,
            newcomers=0.3,
            frauds=(
                FraudPattern("card_testing", 0.006),
                FraudPattern("takeover", 0.003),
                FraudPattern("night", 0.002),
            ),
        ),
        Business(
            name="learning",
            season=Season(OFFICE_WEEK, EVENING, 0.25, 290, "office"),
            visits=0.25,
            main="Lesson Completed",
            main_share=1.5,
            leaving=0.004,
            newcomers=0.5,
            categories=SUBJECTS,
            items=90,
        ),
        Business(
            name="jobs",
            season=Season(OFFICE_WEEK, ((9.5, 1.5, 0.8), (20.0, 2.0, 1.0)), 0.15, 15, "office"),
            visits=0.15,
            main="Job Viewed",
            main_share=3.0,
            leaving=0.01,
            newcomers=0.5,
            categories=FIELDS,
            items=210,
            released=0.6,
            aging=45.0,
        ),
    )
}


@dataclass(frozen=True)
class TenantPlan:
    """One tenant. Days are counted from the world's first."""

    id: str
    users: int = 300  #: over all its time, those who leave and those yet to come included
    deviation: float = 0.0  #: share of its mechanisms' variance that is its own, 0 to 1
    opens: int = 0  #: its first day
    closes: int | None = None  #: the day after its last; the world's end where None
    growth: float = 0.0  #: yearly growth of the rate at which users come, as an exponent
    activity: float = 1.0  #: factor of everybody's activity
    leaving: float = 1.0  #: factor of everybody's chance to leave
    conversion: float = 0.15  #: mean chance of a lead
    group_share: float = 0.3  #: share of users, and of items' owners, in group b
    group_effect: float = 0.0  #: added to the log odds (of leaving: the log rate) in group b
    exposure_bias: float = 0.0  #: jobs of group b are shown exp(−bias) times as often
    consent: bool = True  #: to pooling
    region: str = "eu"
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        where = f"tenant plan {self.id!r}"
        reserved = self.id in RESERVED or self.id.startswith(REGIONAL)
        if not TENANT_ID.fullmatch(self.id) or reserved:
            raise ConfigError(f"{where}: an id matches {TENANT_ID.pattern} and is not reserved")
        if not 1 <= self.users <= 5_000_000:
            raise ConfigError(f"{where}: from 1 to 5,000,000 users, not {self.users}")
        for name in ("deviation", "group_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{where}: {name} is a share from 0 to 1")
        if not 0 < self.conversion < 1:
            raise ConfigError(f"{where}: conversion lies between 0 and 1, not at {self.conversion}")
        if self.opens < 0 or self.activity < 0 or self.leaving < 0:
            raise ConfigError(f"{where}: neither opens, activity nor leaving can be negative")
        if self.closes is not None and self.closes <= self.opens:
            raise ConfigError(f"{where}: it closes on day {self.closes}, opens on {self.opens}")


@dataclass(frozen=True)
class World:
    """Tenants of one business, under one calendar and with one common mechanism."""

    seed: int
    business: Literal["shop", "media", "crm", "payments", "learning", "jobs"] | str = "shop"
    tenants: tuple[TenantPlan, ...] = (TenantPlan("tenant-1"),)
    start: date = date(2024, 1, 1)
    days: int = 200
    faults: tuple[Fault, ...] = ()  #: of all tenants

    def __post_init__(self) -> None:
        if self.business not in BUSINESSES:
            raise UnknownNameError("kind of business", self.business, BUSINESSES)
        if self.seed < 0 or not 1 <= self.days <= 10_000:
            raise ConfigError(
                f"a world has a seed from 0 on and 1 to 10,000 days, not {self.seed} and "
                f"{self.days}"
            )
        if not 1970 <= self.start.year <= 2150:
            raise ConfigError(f"a world starts within the years 1970 to 2150, not {self.start}")
        ids = [plan.id for plan in self.tenants]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ConfigError(f"tenants' ids must differ; twice: {', '.join(twice)}")
        for plan in self.tenants:
            if self.opening(plan) >= self.closing(plan):
                raise ConfigError(
                    f"tenant plan {plan.id!r} opens on day {self.opening(plan)}; the world has "
                    f"{self.days} days"
                )

    def plan(self, tenant: str) -> TenantPlan:
        """The plan of that tenant."""
        for plan in self.tenants:
            if plan.id == tenant:
                return plan
        raise UnknownNameError("tenant", tenant, (plan.id for plan in self.tenants))

    @property
    def kind(self) -> Business:
        """The business."""
        return BUSINESSES[self.business]

    def befalling(self, plan: TenantPlan) -> tuple[Fault, ...]:
        """The tenant's faults: the world's and its own; those of the business unless it has any."""
        found = (*self.faults, *plan.faults)
        frauds = any(isinstance(fault, FraudPattern) for fault in found)
        return found if frauds else (*found, *self.kind.frauds)

    def opening(self, plan: TenantPlan) -> int:
        """The tenant's first day."""
        return max((plan.opens, *(f.at for f in _cold_tenants(self.befalling(plan)))))

    def closing(self, plan: TenantPlan) -> int:
        """The day after the tenant's last."""
        return self.days if plan.closes is None else min(plan.closes, self.days)

    def instant(self, day: float) -> datetime:
        """Midnight of a day, or a point within it."""
        first = datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)
        return first + timedelta(days=float(day))


def _cold_tenants(faults: tuple[Fault, ...]) -> Iterator[ColdStart]:
    return (fault for fault in faults if isinstance(fault, ColdStart) and fault.kind == "tenant")
