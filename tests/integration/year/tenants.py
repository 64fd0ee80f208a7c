"""The tenants of the year: a business each, its calendar, what befalls its data, what people do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from include.simulate.faults import Duplicates, Fault, FraudPattern, Late, Shock, SimulatedOutage
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.templates import TEMPLATES
from include.simulate.world import TenantPlan, World

WEEK: Final = timedelta(days=7)
#: The data begin here; the year does half a year later, and holds a leap day, four changes of the
#: clocks and the turn of a year.
FIRST_DAY: Final = date(2023, 1, 2)
BEFORE: Final = 26  #: weeks of history
WEEKS: Final = 52
START: Final = datetime(2023, 7, 3, tzinfo=UTC)
SEED: Final = 11


def day(week: float) -> float:
    """The world's day at which a week of the year begins."""
    return 7 * (BEFORE + week)


@dataclass(frozen=True)
class Life:
    """One tenant's year."""

    business: str
    users: int
    timezone: str = "UTC"
    schedule: str = "0 0 1 * *"
    isolation: str = "pool"
    faults: tuple[Fault, ...] = ()
    events_kept: str = "P420D"
    predictions_kept: str = "P150D"
    plan: Mapping[str, Any] = field(default_factory=dict)  #: more of its `TenantPlan`
    settings: Mapping[str, Any] = field(default_factory=dict)  #: more of its file
    overrides: Mapping[str, Any] = field(default_factory=dict)  #: of its use cases
    first_week: int = 0  #: of the year in which it is onboarded
    last_week: int = WEEKS  #: in which its contract ends
    weeks: int = WEEKS  #: after which nobody looks any more
    deeds: Mapping[int, str] = field(default_factory=dict)  #: week → what somebody does
    number: int = 1

    @property
    def id(self) -> str:
        """Of the tenant."""
        return f"{self.business}-{self.number}"

    @property
    def cases(self) -> tuple[str, ...]:
        """The templates it switches on."""
        return TEMPLATES[self.business]

    def write(self, folder: Path) -> None:
        """Its sources and its file."""
        plan = TenantPlan(self.id, self.users, faults=self.faults, **self.plan)
        days = 7 * (BEFORE + WEEKS + 1)
        world = World(SEED, self.business, (plan,), start=FIRST_DAY, days=days)
        write_sources(open_tenant(world, plan.id), folder, self.cases, "parquet")
        self.change(
            folder,
            timezone=self.timezone,
            schedule=self.schedule,
            isolation=self.isolation,
            until=FIRST_DAY + timedelta(days=int(day(self.last_week)) - 1),
            retention={"events": self.events_kept, "predictions": self.predictions_kept},
            use_cases={case: dict(self.overrides) for case in self.cases},
            **self.settings,
        )

    def change(self, folder: Path, **settings: Any) -> None:
        """Say something else in its file."""
        path = folder / f"{self.id}.yaml"
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**said, **settings}, sort_keys=False), encoding="utf-8")

    def rename(self, folder: Path) -> None:
        """Call its source of events otherwise from now on."""
        said = yaml.safe_load((folder / f"{self.id}.yaml").read_text(encoding="utf-8"))
        for source in said["sources"]:
            source["name"] = source["name"].replace("events", "journal")
        self.change(folder, sources=said["sources"])


#: What somebody does by hand.
ROLL_BACK, WITHDRAW, RENAME = "roll back", "withdraw consent", "rename a source"
BEGIN, STOP = "begin an experiment", "stop the experiment"

LIVES: Final = (
    # four templates, late rows, half-hours from UTC
    Life(
        "shop",
        150,
        timezone="America/St_Johns",
        faults=(Late(0.05, 3.0),),
        overrides={"retrain_every": "P80D"},
        deeds={45: ROLL_BACK},
    ),
    # a young tenant among others: global model, own model, and then other frauds than before
    Life("payments", 240, number=2, weeks=5, faults=(FraudPattern("night", 0.05),)),
    *(Life("payments", 240, number=number, weeks=5) for number in (3, 4)),
    Life(
        "payments",
        240,
        timezone="America/New_York",
        schedule="0 0 1,15 * *",
        faults=(
            FraudPattern("takeover", 0.05, until=day(30)),
            FraudPattern("card_testing", 0.06, at=day(30)),
        ),
        plan={"opens": int(day(-4))},
        first_week=6,
        events_kept="P250D",
    ),
    # the global model that serves may do so no more
    Life("learning", 250, number=2, weeks=18, deeds={17: WITHDRAW}),
    *(Life("learning", 250, number=number, weeks=5) for number in (3, 4)),
    Life(
        "learning",
        250,
        timezone="Europe/Vienna",
        faults=(Shock(day(31), 60.0, 4.0),),
        plan={"opens": int(day(-4))},
        overrides={"retrain_every": "P25D"},
        first_week=6,
        deeds={24: BEGIN, 40: STOP},
    ),
    Life(
        "crm",
        260,
        timezone="Asia/Kolkata",
        events_kept="P300D",
        isolation="silo",
        plan={"conversion": 0.3},
        overrides={"retrain_every": "P80D"},
    ),
    # loses a month and a half, and calls its source otherwise afterwards
    Life(
        "media",
        150,
        faults=(SimulatedOutage(day(18.5), 54.0), Duplicates(0.05)),
        overrides={"retrain_every": "P50D"},
        deeds={8: BEGIN, 17: STOP, 34: RENAME},
    ),
    # goes before the year is over
    Life(
        "jobs",
        150,
        timezone="Australia/Lord_Howe",
        last_week=38,
        overrides={"retrain_every": "P80D"},
    ),
)

#: With them the soak has what takes many people and windows to be proven. Two young shops are
#: offered the demand model of three others. One of them is soon better served by a model of its
#: own; what all buy six times as much of for a while is more than one's own model then promised.
YOUNG_SHOPS: Final = (
    *(Life("shop", 75, number=number, weeks=5) for number in (2, 3, 4)),
    *(
        Life(
            "shop",
            75,
            number=number,
            faults=(Shock(day(30), 100.0, 6.0),),
            plan={"opens": int(day(-4))},
            overrides={"retrain_every": "P80D", "cooldown": "P300D"},
            first_week=6,
            weeks=44,
        )
        for number in (5, 6)
    ),
)
