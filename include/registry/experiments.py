"""A/B experiments of a tenant: when they ran, between which versions, and why they ended.

Experiments are only ever added to: one row at the start, one at the end. In between, the hash of
each entity says which arm it sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from include.errors import ConfigError, TenantryError
from include.registry import recorded
from include.registry.ancestry import ModelName
from include.registry.policy import Policy
from include.registry.port import Registry
from include.registry.predictions import Predictions
from include.registry.promotions import (
    EXPERIMENT,
    Promotion,
    Promotions,
    withdrawn,
    withdrawn_for_good,
)
from include.registry.splitting import Arm, Split
from include.registry.suspicions import check_free
from include.registry.withdrawal import Withdrawn, check_whole
from include.tenants.namespace import TenantRef
from include.wall_clock import PLATFORM, local

#: How an experiment can end: by what was observed, because one of its versions is out, or by hand.
Ended = Literal["stop_for_harm", "promote", "no_difference", "overtaken", "withdrawn", "stopped"]
CHAMPION_ARM: Final = "champion"
CHALLENGER_ARM: Final = "challenger"


@dataclass(frozen=True)
class Ending:
    """When and why an experiment ended."""

    as_of: datetime  #: the first instant that it is not in force at any more
    verdict: Ended
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]  #: what was known of the difference
    actor: str
    recorded_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Experiment:
    """One version against the one that serves, for a share of a tenant's entities."""

    tenant: str
    use_case: str
    number: int  #: from 1
    champion: str  #: version that served at the start
    challenger: str
    digest: str  #: of the challenger's artifact
    policy: Policy
    started_as_of: datetime  #: the first instant that it is in force at
    reasons: tuple[str, ...]
    actor: str
    ending: Ending | None = None
    recorded_at: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The experiment's trigger in the promotions ledger."""
        return f"{EXPERIMENT}-{self.number}"

    @property
    def split(self) -> Split:
        """Which entity sees which arm; another experiment splits independently."""
        share = self.policy.share
        arms = (Arm(CHAMPION_ARM, 1 - share), Arm(CHALLENGER_ARM, share))
        return Split(f"{self.tenant}/{self.name}", self.use_case, arms)

    def in_force(self, as_of: datetime) -> bool:
        """Whether predictions of that instant are split."""
        over = self.ending is not None and self.ending.as_of <= as_of
        return self.started_as_of <= as_of and not over

    def overlaps(self, start: datetime, end: datetime | None) -> bool:
        """Whether the experiment is in force at some instant of `[start, end)`; None has no end."""
        first = max(start, self.started_as_of)
        return self.in_force(first) and (end is None or first < end)


class Experiments(Protocol):
    """The port to the experiments of every tenant: started once, and ended once."""

    def history(self, tenant: TenantRef, use_case: str) -> list[Experiment]:
        """Every experiment, oldest first."""

    def add(self, tenant: TenantRef, experiment: Experiment) -> Experiment:
        """Write that an experiment starts, unless its number is taken; return the one on record."""

    def end(self, tenant: TenantRef, experiment: Experiment, ending: Ending) -> Experiment:
        """Write that the experiment ended, unless it has; return the experiment on record."""


def running(tried: Sequence[Experiment]) -> Experiment | None:
    """The experiment that has not ended, if there is one.

    Args:
        tried: as `Experiments.history` gives them.
    """
    return tried[-1] if tried and tried[-1].ending is None else None


def in_force(tried: Sequence[Experiment], as_of: datetime) -> Experiment | None:
    """The experiment that splits predictions of an instant, also in a rerun of that instant."""
    return next((experiment for experiment in tried if experiment.in_force(as_of)), None)


def challenger_at(decided: Sequence[Promotion], as_of: datetime) -> str:
    """The version that challenged at an instant; empty where none did.

    Args:
        decided: as `Promotions.history` gives them.
    """
    then = [decision for decision in decided if decision.as_of <= as_of]
    gone = withdrawn(then) | withdrawn_for_good(decided)
    named = (str(decision.evidence.get("challenger") or "") for decision in reversed(then))
    newest = next((version for version in named if version), "")
    return "" if newest in gone else newest


def start(
    tenant: TenantRef,
    use_case: str,
    challenger: str,
    policy: Policy,
    *,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
    predictions: Predictions,
    by: str,
    because: str = "",
    probabilities: bool = False,
    timezone: str = PLATFORM,
) -> Experiment:
    """Split the entities from `as_of` on, between the champion and a registered version.

    Args:
        as_of: not before the newest predictions: the past was not split.
        probabilities: whether both must score with probabilities, which rules of thumb do not.
        timezone: the tenant's, which instants are told in.

    Raises:
        ConfigError: nothing serves, `as_of` is too early, or the two cannot be compared.
        UnknownNameError: there is no such version.
        IntegrityError: a file of the challenger is gone or was changed.
        TenantryError: an experiment is running, or the challenger is withdrawn.
    """
    where = f"{tenant.id}/{use_case}"
    with promotions.exclusive(tenant, use_case):
        before = experiments.history(tenant, use_case)
        if trial := running(before):
            raise TenantryError(
                f"{trial.name} of {where} is still running, with version "
                f"{trial.challenger}; end it with `tenantry experiment stop {tenant.id} "
                f"{use_case} --because …`"
            )
        current = promotions.champion_at(tenant, use_case)
        if current is None:
            raise ConfigError(f"nothing serves {where} yet; train it, then try a version against")
        decided = promotions.history(tenant, use_case)
        version = recorded.registered(tenant, use_case, challenger, registry, decided)
        serving = recorded.promoted(tenant, current, registry)
        name = ModelName.of(version)
        if version.version == serving.version or version.digest == serving.digest:
            raise ConfigError(f"{name} is what serves; name another version as the challenger")
        if reason := Withdrawn.of(tenant, use_case, decided, promotions).why(version, registry):
            raise TenantryError(f"{name} cannot serve: {reason}")
        if version.feature_fingerprint != serving.feature_fingerprint:
            raise ConfigError(
                f"{name} reads features as they were declared at another time than those of "
                f"version {serving.version}, which serves; train again and try the new version"
            )
        for model in (serving, version):
            if probabilities and model.rung == "baseline":
                raise ConfigError(
                    f"{ModelName.of(model)} is a rule of thumb, whose scores are no probabilities, "
                    "so outcomes cannot judge it; an experiment needs two fitted models"
                )
        check_free(tenant, decided, version.version)
        check_whole(tenant, version, version.digest, registry)
        ends = [experiment.ending.as_of for experiment in before if experiment.ending]
        scored = predictions.newest(tenant, use_case)
        earliest = max([current.as_of, *ends, *([scored] if scored else [])])
        if as_of < earliest:
            raise ConfigError(
                f"an experiment of {where} can start at {local(earliest, timezone)} at the "
                f"earliest, not at {local(as_of, timezone)}: predictions before that were not split"
            )
        new = Experiment(
            tenant.id,
            use_case,
            len(before) + 1,
            serving.version,
            version.version,
            version.digest,
            policy,
            as_of,
            (because,) if because else (),
            by,
        )
        return experiments.add(tenant, new)
