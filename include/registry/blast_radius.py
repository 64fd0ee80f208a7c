"""Rolls back every champion that came from one global version.

The global version is withdrawn first, so that from then on no training can promote a descendant.
Then every tenant that serves a descendant goes back, each in a transaction of its own. A rollback
that was killed anywhere does what is left when it runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from include.errors import ConfigError
from include.registry.aliases import follow_ledger
from include.registry.ancestry import ModelName, ancestors
from include.registry.decay import fall_back
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion, Promotions, withdrawn
from include.registry.recorded import as_told
from include.registry.rollback import Fallback, move, next_trigger
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
    """The effect on one owner's champion; in a dry run, the effect there would be."""

    tenant: str
    use_case: str
    outcome: Outcome
    version: str  #: champion before; empty where nothing serves
    to: str  #: champion after; in a dry run `baseline` for one that is not registered yet
    reason: str

    @classmethod
    def of(
        cls,
        owner: TenantRef,
        use_case: str,
        outcome: Outcome,
        before: Promotion | None = None,
        after: Promotion | None = None,
        reason: str = "",
    ) -> ChampionChange:
        """The effect of one promotion giving way to another, where there are such."""
        versions = (before.version if before else "", after.version if after else "")
        return cls(owner.id, use_case, outcome, *versions, reason)

    @property
    def complete(self) -> bool:
        """Whether nothing withdrawn serves here any more."""
        return self.outcome not in ("stays", "failed")

    def __str__(self) -> str:
        moved = f"{self.outcome}, {self.version or 'none'} → {self.to or 'none'}"
        return f"{self.tenant}/{self.use_case}: {moved}. {self.reason}"


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
    """Withdraw a global version and roll back every champion that is that version or came from it.

    A champion goes back to the newest earlier version that did not come from the withdrawn one,
    reads the same features and is whole; without such a version, to what `fallback` offers; without
    that it stays, and the effect says so. A tenant that cannot be reached holds up no other.

    Args:
        as_of: end of a tenant's newest interval, from which the earlier version serves; None where
            the tenant has no interval yet.
        dry_run: only say what would be done.

    Returns:
        An effect for the global model, then one per tenant, each as soon as it is done.

    Raises:
        ConfigError: the version is not a global one.
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
            yield ChampionChange.of(tenant, source.use_case, "failed", reason=str(error))


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
                return ChampionChange.of(world, case, "done before", current, current)
            gone = Withdrawn.of(world, case, decided, self.promotions).plus(self.source)
            reason = f"{self.source} was withdrawn."
            at = max(self.as_of(world) or current.as_of, current.as_of)
            to: Promotion = current
            passed: tuple[str, ...] = ()
            if current.version in derived:
                target, passed = self._target(world, decided, current, at, gone)
                to = target or current
            outcome: Outcome = "withdrawn" if to is current else "rolled back"
            if to is current and not new:
                return ChampionChange.of(world, case, "done before", current, current)
            if not self.dry_run:
                if to is current:
                    trigger = next_trigger(decided)
                    stays = current.stays(at, trigger, (reason,), self.by, withdrawn=new)
                    self.promotions.record(world, stays)
                else:
                    text = f"{reason} Rolled back from version {current.version} to {to.version}."
                    move(
                        self.promotions,
                        world,
                        decided,
                        current,
                        to,
                        at,
                        (*passed, text),
                        self.by,
                        new,
                    )
                follow_ledger(world, case, registry, self.promotions)
            return ChampionChange.of(world, case, outcome, current, to, " ".join((*passed, reason)))

    def roll_back(self, tenant: TenantRef) -> ChampionChange:
        """Roll back one tenant's champion, in one transaction."""
        case, registry = self.source.use_case, self.registry
        if self.promotions.champion_at(tenant, case) is None:
            return ChampionChange.of(tenant, case, "not affected", reason="Nothing serves.")
        with self.promotions.exclusive(tenant, case):
            decided = self.promotions.history(tenant, case)
            current = self.promotions.champion_at(tenant, case)
            if current is None:  # consent to it was withdrawn meanwhile
                return ChampionChange.of(tenant, case, "not affected", reason="Nothing serves.")
            path = self._path(as_told(registry.get(tenant, case, current.version), decided))
            if not path:
                if not self.dry_run:
                    follow_ledger(tenant, case, registry, self.promotions)
                done = any(_cause(self.source) in decision.reasons for decision in decided)
                return ChampionChange.of(
                    tenant, case, "done before" if done else "not affected", current, current
                )
            gone = Withdrawn.of(tenant, case, decided, self.promotions).plus(self.source)
            at = max(self.as_of(tenant) or current.as_of, current.as_of)
            to, passed = self._target(tenant, decided, current, at, gone)
            cause = f"Version {current.version} comes from {' from '.join(path)}."
            reasons = (_cause(self.source), cause, *passed)
            if to is None:
                left = "Nothing is left to go back to; train it again, or roll back with --to."
                reason = " ".join((*reasons, left))
                return ChampionChange.of(tenant, case, "stays", current, current, reason)
            if not self.dry_run:
                text = f"Rolled back from version {current.version} to {to.version} ({to.rung})."
                # the global ledger says what is withdrawn: putting that back frees its descendants
                move(
                    self.promotions, tenant, decided, current, to, at, (*reasons, text), self.by, ()
                )
                follow_ledger(tenant, case, registry, self.promotions)
            return ChampionChange.of(tenant, case, "rolled back", current, to, " ".join(reasons))

    def _target(
        self,
        owner: TenantRef,
        decided: list[Promotion],
        current: Promotion,
        at: datetime,
        gone: Withdrawn,
    ) -> tuple[Promotion | None, tuple[str, ...]]:
        """The promotion to go back to, and a sentence on each version that was passed over."""
        serving = self.registry.get(owner, current.use_case, current.version)
        before = [
            promotion
            for promotion in earlier(decided, current)
            if not self._path(
                as_told(self.registry.get(owner, current.use_case, promotion.version), decided)
            )
        ]
        usable, passed = newest_usable(owner, serving, before, gone, self.registry)
        if usable is not None:
            return usable, passed
        if not self.dry_run:
            return fall_back(owner, current.use_case, at, self.fallback, self.registry), passed
        offered = self.fallback(owner, current.use_case)
        if offered is None:
            return None, passed
        return replace(current, version=offered.rung, rung=offered.rung), passed

    def _path(self, version: ModelVersion) -> list[str]:
        """The versions from the parent of `version` to the source; empty for other descent.

        The path of the source itself is its own name.
        """
        if ModelName.of(version) == self.source:
            return [str(self.source)]
        path: list[str] = []
        for name in ancestors(version.parent_version, self.registry):
            path.append(name)
            if name == str(self.source):
                return path
        return []


def _cause(source: ModelName) -> str:
    return f"{source} was withdrawn."
