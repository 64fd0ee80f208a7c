"""A/B experiments of a tenant: which ran when, between whom, and why they ended.

The history can only be added to: one row when an experiment starts, one when it ends. In between,
each entity sees the arm that its hash says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.errors import ConfigError, TenantryError
from include.registry import recorded
from include.registry.ancestry import ModelName
from include.registry.card import plain
from include.registry.port import Registry
from include.registry.promotions import (
    EXPERIMENT,
    Promotion,
    Promotions,
    withdrawn,
    withdrawn_for_good,
)
from include.registry.sequential import Policy
from include.registry.splitting import Arm, Split
from include.registry.suspicions import check_free
from include.registry.withdrawal import Withdrawn, check_whole
from include.storage import audit
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

#: How an experiment can end: by what was observed, because one of its versions is out, or by hand.
Ended = Literal["stop_for_harm", "promote", "no_difference", "overtaken", "withdrawn", "stopped"]
CHAMPION_ARM: Final = "champion"
CHALLENGER_ARM: Final = "challenger"
_HISTORY: Final = """
    SELECT s.*, e.as_of AS end_as_of, e.verdict AS end_verdict, e.reasons AS end_reasons,
           e.figures AS end_figures, e.actor AS end_actor, e.recorded_at AS end_recorded_at
    FROM experiments s LEFT JOIN experiments e
    ON (e.tenant_id, e.use_case, e.number, e.event) = (s.tenant_id, s.use_case, s.number, 'ended')
    WHERE s.tenant_id = %s AND s.use_case = %s AND s.event = 'started' ORDER BY s.number
"""
_ADD: Final = """
    INSERT INTO experiments (tenant_id, use_case, number, event, as_of, champion_version,
                             challenger_version, challenger_digest, policy, verdict, reasons,
                             figures, actor)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""


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
        """What the promotions ledger calls it."""
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
        """Whether it is in force at some instant of `[start, end)`; None is for ever."""
        first = max(start, self.started_as_of)
        return self.in_force(first) and (end is None or first < end)


def history(tenant: TenantRef, use_case: str) -> list[Experiment]:
    """Every experiment, oldest first."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(_HISTORY, [tenant.id, use_case]).fetchall()
    return [_experiment(row) for row in rows]


def running(tenant: TenantRef, use_case: str) -> Experiment | None:
    """The experiment that has not ended, if there is one."""
    found = history(tenant, use_case)
    return found[-1] if found and found[-1].ending is None else None


def in_force(tenant: TenantRef, use_case: str, as_of: datetime) -> Experiment | None:
    """The experiment whose arms predictions of that instant have: a rerun has those of then."""
    return next((one for one in history(tenant, use_case) if one.in_force(as_of)), None)


def challenger_at(decided: Sequence[Promotion], as_of: datetime) -> str:
    """The version that challenged at an instant; empty where none did.

    Args:
        decided: as `Promotions.history` gives them.
    """
    then = [one for one in decided if one.as_of <= as_of]
    gone = withdrawn(then) | withdrawn_for_good(decided)
    named = (str(one.evidence.get("challenger") or "") for one in reversed(then))
    found = next((version for version in named if version), "")
    return "" if found in gone else found


def start(
    tenant: TenantRef,
    use_case: str,
    challenger: str,
    policy: Policy,
    *,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    by: str,
    because: str = "",
    probabilities: bool = False,
) -> Experiment:
    """Split the entities from `as_of` on, between the champion and a registered version.

    Args:
        as_of: not before the newest predictions: the past was not split.
        probabilities: whether both must score with such, as rules of thumb do not.

    Raises:
        ConfigError: nothing serves, `as_of` is too early, or the two cannot be compared.
        UnknownNameError: there is no such version.
        IntegrityError: the challenger is not whole.
        TenantryError: one is running, or the challenger is withdrawn.
    """
    where = f"{tenant.id}/{use_case}"
    with promotions.exclusive(tenant, use_case):
        before = history(tenant, use_case)
        if before and before[-1].ending is None:
            raise TenantryError(
                f"{before[-1].name} of {where} is still running, with version "
                f"{before[-1].challenger}; end it with `tenantry experiment stop {tenant.id} "
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
        for one in (serving, version):
            if probabilities and one.rung == "baseline":
                raise ConfigError(
                    f"{ModelName.of(one)} is a rule of thumb, whose scores are no probabilities, "
                    "so outcomes cannot judge it; an experiment needs two fitted models"
                )
        check_free(tenant, decided, version.version)
        check_whole(tenant, version, version.digest, registry)
        ends = [one.ending.as_of for one in before if one.ending]
        earliest = max([current.as_of, *ends, *_newest_predictions(tenant, use_case)])
        if as_of < earliest:
            raise ConfigError(
                f"an experiment of {where} can start at {earliest.isoformat()} at the earliest, "
                f"not at {as_of.isoformat()}: predictions before that were not split"
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
        _add(tenant, new, "started", as_of, "", new.reasons, {}, by)
    return history(tenant, use_case)[-1]


def end(tenant: TenantRef, experiment: Experiment, ending: Ending) -> Experiment:
    """Write that it ended, unless it did before; return it as it stands."""
    as_of = max(ending.as_of, experiment.started_as_of)
    told = (ending.verdict, ending.reasons, ending.figures, ending.actor)
    _add(tenant, experiment, "ended", as_of, *told)
    return history(tenant, experiment.use_case)[experiment.number - 1]


def _add(
    tenant: TenantRef,
    one: Experiment,
    event: str,
    as_of: datetime,
    verdict: str,
    reasons: Sequence[str],
    figures: Mapping[str, Any],
    actor: str,
) -> None:
    with tenant_transaction(tenant) as connection:
        done = connection.execute(
            _ADD,
            [
                *(tenant.id, one.use_case, one.number, event, as_of, one.champion),
                *(one.challenger, one.digest, Jsonb(asdict(one.policy)), verdict),
                *(Jsonb(list(reasons)), Jsonb(plain(figures)), actor),
            ],
        )
        if done.rowcount:
            key = (one.use_case, one.number, event)
            audit.enter(connection, tenant, "experiment", *key, actor=actor)


def _newest_predictions(tenant: TenantRef, use_case: str) -> list[datetime]:
    with tenant_transaction(tenant) as connection:
        row = connection.execute(
            "SELECT max(as_of) AS newest FROM predictions WHERE tenant_id = %s AND use_case = %s",
            [tenant.id, use_case],
        ).fetchone()
    return [row["newest"]] if row and row["newest"] else []


def _experiment(row: DictRow) -> Experiment:
    ending = None
    if row["end_as_of"] is not None:
        ending = Ending(
            row["end_as_of"],
            row["end_verdict"],
            tuple(row["end_reasons"]),
            row["end_figures"],
            row["end_actor"],
            row["end_recorded_at"],
        )
    return Experiment(
        row["tenant_id"],
        row["use_case"],
        row["number"],
        row["champion_version"],
        row["challenger_version"],
        row["challenger_digest"],
        Policy(**row["policy"]),
        row["as_of"],
        tuple(row["reasons"]),
        row["actor"],
        ending,
        row["recorded_at"],
    )
