"""Everything that came from one global version, rolled back in one go.

The global version is withdrawn first, so that from then on no training can promote a descendant;
then every tenant that serves one goes back, each in a transaction of its own. Killed anywhere and
run again, it does what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from include.errors import ConfigError
from include.registry.ancestry import ModelName, ancestors
from include.registry.decay import fall_back
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion, Promotions, withdrawn
from include.registry.recorded import as_told
from include.registry.rollback import Fallback, move, next_trigger
from include.registry.stage import follow_ledger
from include.registry.withdrawal import Withdrawn, earlier, newest_usable
from include.storage.failures import TENANT_ERRORS
from include.tenants.namespace import TenantRef, global_ref, is_global

Outcome = Literal[
    "rolled back",
    "withdrawn",
    "nothing serves",
    "done before",
    "not affected",
    "stays",
    "failed",
]


@dataclass(frozen=True)
class ChampionChange:
    """What became of one owner's champion, or would."""

    tenant: str
    use_case: str
    outcome: Outcome
    version: str  #: champion before; empty where nothing serves
    to: str  #: champion after; in a dry run `baseline` for one that is not registered yet
    reason: str

    @property
    def complete(self) -> bool:
        """Whether nothing withdrawn serves here any more."""
        return self.outcome not in ("stays", "failed")


def roll_back_derived(
    source: ModelName,
    tenants: Iterable[TenantRef],
    *,
    as_of: Callable[[TenantRef], datetime | None],
    registry: Registry,
    promotions: Promotions,
    fallback: Fallback,
    by: str = "system",
    dry_run: bool = False,
) -> Iterator[ChampionChange]:
    """Withdraw a global version and roll back every champion that is it or came from it.

    A champion goes back to the newest earlier one that did not come from it, reads the same
    features and is whole; where there is none, to what `fallback` offers; where that offers
    nothing it stays, and the effect says so. A tenant that cannot be reached holds up no other.

    Args:
        as_of: end of a tenant's newest interval, from which the earlier version serves; None where
            it has none yet.
        dry_run: only say what would be done.

    Returns:
        An effect for the global model, then one per tenant, each as soon as it is done.

    Raises:
        ConfigError: the version is no global one.
        UnknownNameError: there is no such version.
    """
    if not is_global(source.tenant) or not source.version:
        raise ConfigError(
            f"{source} is no version of a global model, and only those have descendants; "
            "write --derived-from global.USE_CASE@VERSION"
        )
    world = global_ref(source.tenant)
    registry.get(world, source.use_case, source.version)
    work = _Work(world, source, as_of, registry, promotions, fallback, by, dry_run)
    yield work.withdraw()
    for tenant in tenants:
        try:
            yield work.roll_back(tenant)
        except TENANT_ERRORS as error:
            yield ChampionChange(tenant.id, source.use_case, "failed", "", "", str(error))


@dataclass(frozen=True)
class _Work:
    world: TenantRef  #: owner of the global version
    source: ModelName
    as_of: Callable[[TenantRef], datetime | None]
    registry: Registry
    promotions: Promotions
    fallback: Fallback
    by: str
    dry_run: bool

    def withdraw(self) -> ChampionChange:
        """Write that the global version and its global descendants are withdrawn, once."""
        world, case, registry = self.world, self.source.use_case, self.registry
        derived = [v.version for v in registry.versions(world, case) if self._path(v)]
        with self.promotions.exclusive(world, case):
            decided = self.promotions.history(world, case)
            current = self.promotions.champion_at(world, case)
            new = [version for version in derived if version not in withdrawn(decided)]
            if current is None or (not new and current.version not in derived):
                if not self.dry_run:
                    follow_ledger(world, case, registry, self.promotions)
                return self._effect(world, "done before", current, current, "")
            gone = Withdrawn.of(world, case, decided, self.promotions).plus(self.source)
            reason = f"{self.source} was withdrawn."
            at = max(self.as_of(world) or current.as_of, current.as_of)
            to: Promotion = current
            passed: tuple[str, ...] = ()
            if current.version in derived:
                found, passed = self._target(world, decided, current, at, gone)
                to = found or current
            outcome: Outcome = "withdrawn" if to is current else "rolled back"
            if to is current and not new:
                return self._effect(world, "done before", current, current, "")
            if not self.dry_run:
                if to is current:
                    self.promotions.record(
                        world, self._withdrawal(decided, current, at, reason, new)
                    )
                else:
                    told = f"{reason} Rolled back from version {current.version} to {to.version}."
                    move(
                        self.promotions,
                        world,
                        decided,
                        current,
                        to,
                        at,
                        (*passed, told),
                        self.by,
                        new,
                    )
                follow_ledger(world, case, registry, self.promotions)
            return self._effect(world, outcome, current, to, " ".join((*passed, reason)))

    def roll_back(self, tenant: TenantRef) -> ChampionChange:
        """One tenant, in one transaction."""
        case, registry = self.source.use_case, self.registry
        if self.promotions.champion_at(tenant, case) is None:
            return ChampionChange(tenant.id, case, "not affected", "", "", "Nothing serves.")
        with self.promotions.exclusive(tenant, case):
            decided = self.promotions.history(tenant, case)
            current = self.promotions.champion_at(tenant, case)
            if current is None:  # consent to it was withdrawn meanwhile
                return ChampionChange(tenant.id, case, "not affected", "", "", "Nothing serves.")
            path = self._path(as_told(registry.get(tenant, case, current.version), decided))
            if not path:
                if not self.dry_run:
                    follow_ledger(tenant, case, registry, self.promotions)
                done = any(_cause(self.source) in one.reasons for one in decided)
                return self._effect(
                    tenant, "done before" if done else "not affected", current, current, ""
                )
            gone = Withdrawn.of(tenant, case, decided, self.promotions).plus(self.source)
            at = max(self.as_of(tenant) or current.as_of, current.as_of)
            to, passed = self._target(tenant, decided, current, at, gone)
            cause = f"Version {current.version} comes from {' from '.join(path)}."
            reasons = (_cause(self.source), cause, *passed)
            if to is None:
                left = "Nothing is left to go back to; train it again, or roll back with --to."
                return self._effect(tenant, "stays", current, current, " ".join((*reasons, left)))
            if not self.dry_run:
                told = f"Rolled back from version {current.version} to {to.version} ({to.rung})."
                # the global ledger says what is withdrawn: putting that back frees its descendants
                move(
                    self.promotions, tenant, decided, current, to, at, (*reasons, told), self.by, ()
                )
                follow_ledger(tenant, case, registry, self.promotions)
            return self._effect(tenant, "rolled back", current, to, " ".join(reasons))

    def _target(
        self,
        owner: TenantRef,
        decided: list[Promotion],
        current: Promotion,
        at: datetime,
        gone: Withdrawn,
    ) -> tuple[Promotion | None, tuple[str, ...]]:
        """Whom to go back to, and who was passed over."""
        serving = self.registry.get(owner, current.use_case, current.version)
        before = [
            one
            for one in earlier(decided, current)
            if not self._path(
                as_told(self.registry.get(owner, current.use_case, one.version), decided)
            )
        ]
        found, passed = newest_usable(owner, serving, before, gone, self.registry)
        if found is not None:
            return found, passed
        if not self.dry_run:
            return fall_back(owner, current.use_case, at, self.fallback, self.registry), passed
        offered = self.fallback(owner, current.use_case)
        if offered is None:
            return None, passed
        return replace(current, version=offered.rung, rung=offered.rung), passed

    def _path(self, version: ModelVersion) -> list[str]:
        """The versions from this one's parent to the source; empty where it did not come from it.

        The source itself has a path of its own name.
        """
        if ModelName.of(version) == self.source:
            return [str(self.source)]
        path: list[str] = []
        for name in ancestors(version.parent_version, self.registry):
            path.append(name)
            if name == str(self.source):
                return path
        return []

    def _withdrawal(
        self,
        decided: list[Promotion],
        current: Promotion,
        at: datetime,
        reason: str,
        new: list[str],
    ) -> Promotion:
        return replace(
            current,
            as_of=at,
            trigger=next_trigger(decided),
            promoted=False,
            incumbent_version=current.version,
            reasons=(reason,),
            evidence={**current.evidence, "challenger": ""},
            actor=self.by,
            withdrawn=tuple(new),
        )

    def _effect(
        self,
        owner: TenantRef,
        outcome: Outcome,
        before: Promotion | None,
        after: Promotion | None,
        reason: str,
    ) -> ChampionChange:
        return ChampionChange(
            owner.id,
            self.source.use_case,
            outcome,
            before.version if before else "",
            after.version if after else "",
            reason,
        )


def _cause(source: ModelName) -> str:
    return f"{source} was withdrawn."
