"""Plays the year: every tenant's weeks in this process, one after the other, as Airflow would."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from installation import Installation
from life import BY, Diary, Record
from tenants import BEGIN, RENAME, ROLL_BACK, START, STOP, WEEK, WEEKS, WITHDRAW, Life

from include import use_cases, wiring
from include.errors import TenantryError
from include.pipeline import consent, in_process, retention, runs, steps
from include.pipeline.experiments import begin, stop
from include.pipeline.stages import GLOBAL_STAGES, RETRAIN_STAGES
from include.registry import experiments
from include.registry.policy import Policy
from include.registry.rollback import roll_back
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants import withdrawing
from include.tenants.config import TenantConfig
from include.tenants.intervals import next_end
from include.tenants.loader import find_tenant

PROMOTIONS: Final = PostgresPromotions()


@dataclass(frozen=True)
class Failure:
    """Something that ended in an error."""

    tenant: str
    week: int
    what: str
    error: str

    def __str__(self) -> str:
        return f"{self.tenant}, week {self.week}, {self.what}: {self.error}"


@dataclass
class Year:
    """The installation, and what came of the year so far."""

    here: Installation
    lives: Sequence[Life]
    failures: list[Failure] = field(default_factory=list)
    diaries: dict[str, Diary] = field(default_factory=lambda: defaultdict(Diary))
    ends: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    ran: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    expired_at: datetime | None = None
    to_do: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def tenant(self, life: Life) -> TenantConfig:
        """As its file says now."""
        return find_tenant(self.here.tenants, life.id, use_cases.names())

    def play(self, weeks: int = WEEKS) -> None:
        """Weeks of all, so that what one does reaches the others."""
        for week in range(weeks):
            self.week(week)

    def week(self, week: int) -> None:
        """One week of all."""
        until = START + (week + 1) * WEEK
        for life in self.lives:
            if not life.first_week <= week < life.weeks:
                continue
            if deed := life.deeds.get(week):
                self.to_do[life.id].append(deed)
            for deed in list(self.to_do[life.id]):
                self.tried(life, week, deed, partial(self.do, life, deed))
            for end in self.due(life, until):
                self.tried(life, week, "pipeline", partial(self.run, life, end))
        if week in GLOBAL:
            for life in {one.business: one for one in self.lives}.values():
                for case in life.cases:
                    train = partial(self.train_global, life, case, until)
                    self.tried(life, week, f"global {case}", train)
        if week % 8 == 7:
            self.tried(self.lives[0], week, "retention", partial(self.expire, until))

    def tried(self, life: Life, week: int, what: str, do: Callable[[], object]) -> None:
        """Do it; an error is kept, and the year goes on."""
        try:
            do()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[:-4:-1]
            told = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in where)
            said = f"{type(error).__name__}: {error} [{told}]"
            self.failures.append(Failure(life.id, week, what, said))

    def due(self, life: Life, until: datetime) -> Iterator[datetime]:
        """Ends of the intervals of the tenant's schedule that are over by then and were not run."""
        tenant = self.tenant(life)
        done = self.ends[life.id]
        while (end := next_end(tenant, done[-1] if done else self.onboarded(life))) <= until:
            done.append(end)
            yield end

    def onboarded(self, life: Life) -> datetime:
        """When its pipeline is switched on."""
        return START + life.first_week * WEEK - timedelta(seconds=1)

    def run(self, life: Life, end: datetime) -> None:
        """One interval with the retrains that it asks for."""
        tenant = self.tenant(life)
        try:
            in_process.run(tenant, end, None, wiring.connect_from_environment)
        except TenantryError as error:
            if tenant.history_until is None or end <= tenant.history_until:
                raise
            self.diaries[life.id].refused.append(str(error))
            return
        self.ran[life.id].append(end)
        for asked in wiring.stores().retrains.open_requests(tenant.ref):
            self.retrain(tenant, asked.use_case, asked.as_of)

    def retrain(self, tenant: TenantConfig, use_case: str, as_of: datetime) -> None:
        """The stages of `{tenant}.retrain`."""
        received: dict[str, Any] = {}
        for stage in RETRAIN_STAGES:
            again = runs.open_retrain(
                tenant.id,
                use_case,
                as_of=as_of,
                trigger="drift",
                run_id=f"drift__{use_case}__{as_of.isoformat()}",
                begun=bool(received),
                connect=wiring.connect_from_environment,
            )
            received[stage.name] = steps.execute(stage, again, received)

    def train_global(self, life: Life, use_case: str, as_of: datetime) -> None:
        """The template's model for all, where anybody consents to one."""
        received: dict[str, Any] = {}
        for stage in GLOBAL_STAGES:
            world = runs.open_global(
                use_case,
                as_of=as_of,
                connect=wiring.connect_from_environment,
                owner=self.tenant(life).pool,
            )
            received[stage.name] = steps.execute_global(stage, world, received)

    def expire(self, at: datetime) -> None:
        """What the platform's DAG does every night."""
        self.expired_at = at
        for one in retention.expire_all(at):
            self.diaries[one.tenant].expired.append(one)

    def do(self, life: Life, deed: str) -> None:
        """What somebody does by hand."""
        tenant = self.tenant(life)
        platform = wiring.platform(wiring.connect_from_environment)
        case, as_of = life.cases[0], runs.last_checked(tenant, wiring.stores().stage_runs)
        challenger = experiments.challenger_at(PROMOTIONS.history(tenant.ref, case), as_of)
        serving, trial = (
            PROMOTIONS.champion_at(tenant.ref, case),
            experiments.running(platform.stores.experiments.history(tenant.ref, case)),
        )
        if deed == BEGIN and (not serving or challenger in ("", serving.version)):
            return  # nothing to try yet: next week, then
        if deed == STOP and (trial is None or as_of < trial.started_as_of + 8 * WEEK):
            return
        self.to_do[life.id].remove(deed)
        if deed == ROLL_BACK:
            case = next(one for one in life.cases if self.served_by(tenant, one) > 1)
            roll_back(
                tenant.ref,
                case,
                to=None,
                as_of=as_of,
                registry=platform.registry,
                promotions=PROMOTIONS,
                by=BY,
            )
        elif deed == BEGIN:
            begin(tenant, case, challenger, Policy(share=0.5), as_of=None, platform=platform, by=BY)
        elif deed == STOP:
            stop(tenant, case, "enough", as_of=None, platform=platform, by=BY)
        elif deed == RENAME:
            life.rename(self.here.tenants)
        else:
            assert deed == WITHDRAW
            path = withdrawing.file_of(self.here.tenants, life.id, use_cases.names())
            assert path is not None
            withdrawing.withdraw_consent(path, use_cases.names())
            effects = consent.withdraw(life.id, platform=platform, by=BY)
            assert all(effect.complete for effect in effects), effects

    def served_by(self, tenant: TenantConfig, case: str) -> int:
        """How many versions ever served."""
        return len({one.version for one in PROMOTIONS.history(tenant.ref, case) if one.promoted})

    def records(self) -> dict[tuple[str, str], Record]:
        """By tenant and use case."""
        return {
            (life.id, case): Record.of(self.tenant(life).ref, case, self.diaries[life.id])
            for life in self.lives
            for case in life.cases
        }


#: Weeks after which global models are trained.
GLOBAL = (4, 28)
