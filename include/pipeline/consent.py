"""Withdrawn consent, carried to whatever serves.

A tenant consents to an owner of global models for as long as its file says so (`consents_to`). What
was made of its data when it did, and may not have it any more, is withdrawn for good: each global
version, and what came from it at any tenant. Whether that is so is read from the files as they are,
so running it again does what is left and nothing twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from include import use_cases
from include.errors import ConfigError, IntegrityError, TenantryError
from include.handoffs import StoredObject, Trained
from include.pipeline.consents import Consents, contributors, unconsented
from include.pipeline.fallback import best_baseline
from include.pipeline.runs import GlobalRun, Run, last_checked
from include.registry import consent
from include.registry.ancestry import ModelName, ancestors
from include.registry.blast_radius import ChampionChange
from include.registry.port import ModelVersion
from include.registry.promotions import Promotion
from include.registry.recorded import as_told, made_of
from include.registry.withdrawal import lost_for_good
from include.stage_runs import StageRuns
from include.storage.failures import TENANT_ERRORS
from include.tenants.config import TenantConfig
from include.tenants.loader import tenants_folder
from include.tenants.namespace import GLOBAL, TenantRef, global_owner
from include.wiring import Platform

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Withdrawals:
    """Everything that has to go, found and withdrawn."""

    consents: Consents
    platform: Platform
    by: str = "system"
    dry_run: bool = False
    #: Names of the global versions that are withdrawn for good, or are about to be.
    gone: set[str] = field(default_factory=set)

    def reach(self, cases: Iterable[str] | None = None) -> Iterator[ChampionChange]:
        """Withdraw what is not consented to any more, of all use cases or of some.

        One owner that cannot be reached holds up no other.

        Returns:
            An effect per owner and use case that had anything to do with it, as soon as it is done:
            global models first, so that from then on no training can promote what came from them.
        """
        names = sorted(use_cases.names() if cases is None else cases)
        for owner in self.owners():
            for case in names:
                effect = self._tried(owner, case, self.withdraw_global)
                if effect.outcome != "not affected":
                    yield effect
        for tenant in self.consents.placed.values():
            for case in names:  # also one that it has switched off, and may switch on again
                effect = self._tried(tenant.ref, case, self._withdraw_at(tenant))
                if effect.outcome != "not affected":
                    yield effect

    def owners(self) -> list[TenantRef]:
        """Every owner of global models that has, or may have had, any."""
        regions = {tenant.region for tenant in self.consents.fleet.tenants.values()}
        owners = {global_owner(region) for region in regions} | self.platform.lake.global_owners()
        return [GLOBAL, *sorted(owners, key=lambda owner: owner.id)]

    def withdraw_global(self, owner: TenantRef, use_case: str) -> ChampionChange:
        """Withdraw what one owner of global models made of data that it may not have any more."""
        lake, registry = self.platform.lake, self.platform.registry
        promotions = self.platform.stores.promotions
        there = lake.file_path(owner, "models").is_dir()  # which every version lies in
        if not there and not promotions.outline(owner, use_case):
            return ChampionChange.of(owner, use_case, "not affected")
        self.gone.update(_names(owner, use_case, promotions.gone(owner, use_case)))
        decided = promotions.history(owner, use_case)
        unread: list[str] = []

        def lost(version: ModelVersion) -> str:
            names = [str(ModelName.of(version)), *ancestors(version.parent_version, registry)]
            # by the card, and by the ledger, as the registry says which card is a version's
            named = self._contributors(owner, version, unread) | made_of(decided, version.version)
            refusing = self.consents.refusing(owner, named)
            if not refusing and self.gone.isdisjoint(names[1:]):
                return ""
            self.gone.add(names[0])
            if refusing:
                return f"{', '.join(refusing)} withdrew the consent to pooling."
            return f"{names[0]} comes from a version that consent was withdrawn to."

        effect = consent.withdraw(
            owner,
            use_case,
            lost,
            as_of=lambda _: (
                None
            ),  # from when the lost one served, so that a training of then counts
            registry=registry,
            promotions=promotions,
            experiments=self.platform.stores.experiments,
            also=self.gone,
            by=self.by,
            dry_run=self.dry_run,
        )
        return _but(unread, effect)

    def _withdraw_at(self, tenant: TenantConfig) -> Callable[[TenantRef, str], ChampionChange]:
        """Of one tenant, what came from a withdrawn global version. No other tenant is named in its
        ledger."""

        def withdraw(owner: TenantRef, use_case: str) -> ChampionChange:
            if use_case not in {ModelName.parse(name).use_case for name in self.gone}:
                return ChampionChange.of(owner, use_case, "not affected")

            def lost(version: ModelVersion) -> str:
                for name in ancestors(version.parent_version, self.platform.registry):
                    if name in self.gone:
                        return f"{name} was withdrawn for good: a tenant took its consent back."
                return ""

            return consent.withdraw(
                owner,
                use_case,
                lost,
                as_of=lambda _: _newest(tenant, self.platform.stores.stage_runs),
                registry=self.platform.registry,
                promotions=self.platform.stores.promotions,
                experiments=self.platform.stores.experiments,
                fallback=partial(best_baseline, self.platform),
                also=self.gone,
                by=self.by,
                dry_run=self.dry_run,
            )

        return withdraw

    def _contributors(self, owner: TenantRef, version: ModelVersion, unread: list[str]) -> set[str]:
        """Ids of the tenants whose rows a version was made of or judged on.

        Args:
            unread: is told where the version's card is not what was written: nobody knows whose
                data that version has, and it must hold up no other.
        """
        try:
            registry = self.platform.registry
            registered = registry.get(owner, version.use_case, version.version)
            card = json.loads(registry.card(owner, registered))
            return contributors(card["lineage"])
        except IntegrityError as error:
            unread.append(str(error))
            return set()

    def _tried(
        self, owner: TenantRef, case: str, withdraw: Callable[[TenantRef, str], ChampionChange]
    ) -> ChampionChange:
        try:
            return withdraw(owner, case)
        except TENANT_ERRORS as error:
            return ChampionChange.of(owner, case, "failed", reason=str(error))


def withdraw(
    tenant_id: str,
    *,
    platform: Platform,
    by: str = "system",
    dry_run: bool = False,
) -> list[ChampionChange]:
    """Withdraw whatever a tenant's data went into, whether or not it still has a file.

    Run again, it does what is left. Effects that are not `complete` say what could not be reached.
    """
    work = Withdrawals(Consents.now(leaving=(tenant_id,)), platform, by, dry_run)
    return list(work.reach())


def reach_all(platform: Platform, cases: Iterable[str] | None = None) -> list[ChampionChange]:
    """Withdraw whatever is not consented to any more, by the tenants' files as they are.

    Raises:
        TenantryError: lists whom it could not be carried to, after all others are done.
    """
    consents = Consents.now()
    if not consents.fleet.tenants:
        log.warning(
            "consent: %s has no good tenant file; that is not taken for everybody's withdrawal",
            tenants_folder(),
        )
        return []
    done = list(Withdrawals(consents, platform).reach(cases))
    failed = [
        f"{effect.tenant}/{effect.use_case}: {effect.reason}"
        for effect in done
        if not effect.complete
    ]
    if failed:
        raise TenantryError("withdrawn consent did not reach " + "; ".join(failed))
    return done


# within runs


def before_training(run: GlobalRun) -> GlobalRun:
    """The run, after withdrawing what its owner may not have any more.

    Where the training of that very instant was made of such data, it is done afresh, under a
    trigger of its own: `scheduled-2`, ….
    """
    consents = Consents.now()
    Withdrawals(consents, run.platform).withdraw_global(run.owner, run.use_case_name)
    trigger, number = run.trigger, 1
    while _spoiled(run, trigger):
        number += 1
        trigger = f"{run.trigger}-{number}"
    return replace(run, trigger=trigger)


def check_training(run: GlobalRun, trained: Trained) -> None:
    """Refuse a training that was made of data its owner may not have any more.

    Raises:
        TenantryError: names the tenants that withdrew while it ran.
    """
    refusing = unconsented(run.owner, trained.evaluation, run.platform.lake)
    if refusing:
        raise TenantryError(
            f"{', '.join(refusing)} withdrew the consent to pooling while {run.owner.id}/"
            f"{run.use_case_name} was trained; nothing was registered. Clear `training` to train "
            "without"
        )


def _spoiled(run: GlobalRun, trigger: str) -> bool:
    promotions = run.platform.stores.promotions
    standing = promotions.find(run.owner, run.use_case_name, run.as_of, trigger)
    if standing is None:
        return False
    if standing.version in promotions.gone(run.owner, run.use_case_name):
        return True
    told = _evaluation(run.owner, standing)
    try:
        return told is None or bool(unconsented(run.owner, told, run.platform.lake))
    except IntegrityError:  # retention has erased it: what it decided stands
        return False


def _evaluation(owner: TenantRef, decision: Promotion) -> StoredObject | None:
    told = decision.evidence.get("evaluation")
    return None if not told else StoredObject(owner.id, told["path"], told["digest"], 0)


def before_scoring(run: Run) -> None:
    """Let another version serve where consent to the champion's ancestors was withdrawn.

    As a rule that is done by then; not where the platform's run was killed, or did not reach the
    tenant.
    """
    ref, case, registry = run.tenant.ref, run.use_case_name, run.platform.registry
    promotions = run.platform.stores.promotions
    current = promotions.champion_at(ref, case)
    if current is None:
        return
    serving = as_told(registry.get(ref, case, current.version), [current])
    if not lost_for_good(serving, registry, promotions):
        return
    consent.withdraw(
        ref,
        case,
        lambda version: lost_for_good(version, registry, promotions),
        as_of=lambda _: max(run.as_of, last_checked(run.tenant, run.platform.stores.stage_runs)),
        registry=registry,
        promotions=promotions,
        experiments=run.platform.stores.experiments,
        fallback=partial(best_baseline, run.platform),
    )


def _but(unread: Sequence[str], effect: ChampionChange) -> ChampionChange:
    """The effect, which is not complete where something could not be looked at."""
    if not unread:
        return effect
    return replace(effect, outcome="failed", reason=" ".join((effect.reason, *unread)).strip())


def _newest(tenant: TenantConfig, stage_runs: StageRuns) -> datetime | None:
    """End of the tenant's newest interval."""
    try:
        return last_checked(tenant, stage_runs)
    except ConfigError:  # no data yet
        return None


def _names(owner: TenantRef, use_case: str, versions: Iterable[str]) -> Iterator[str]:
    return (str(ModelName(owner.id, use_case, version)) for version in versions)
