"""Withdraws versions for good that were made of data whose consent is gone, wherever they serve.

Unlike after a rollback, nobody can put such versions back, they are in force at no instant, and
where nothing is left to go back to, nothing serves. A withdrawal writes one row per owner and use
case into the ledger; killed anywhere, it does what is left when it runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from include.errors import IntegrityError
from include.registry import recorded
from include.registry.aliases import follow_ledger
from include.registry.blast_radius import ChampionChange, Outcome
from include.registry.conclusion import conclude, out_of_the_race
from include.registry.decay import fall_back
from include.registry.experiments import Experiments, running
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import CONSENT, Promotion, Promotions, withdrawn_for_good
from include.registry.rollback import Fallback, move, next_trigger
from include.registry.withdrawal import Withdrawn, earlier, newest_usable
from include.tenants.namespace import TenantRef, is_global


def withdraw(
    owner: TenantRef,
    use_case: str,
    lost: Callable[[ModelVersion], str],
    *,
    as_of: Callable[[TenantRef], datetime | None],
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
    fallback: Fallback | None = None,
    also: Collection[str] = (),
    by: str = "system",
    dry_run: bool = False,
) -> ChampionChange:
    """Withdraw an owner's lost versions; a champion among them gives way.

    The champion gives way to the newest earlier version that can take over, else to what `fallback`
    offers, else to nothing. Experiments whose challenger or champion is lost end.

    Args:
        lost: why a version must go, in a sentence; empty where the version may stay. The versions
            that `lost` is called with have the parents that the ledger records.
        as_of: from when on another version serves, but not before the lost one did; None for the
            instant at which the lost one began.
        also: names of global versions that are lost, too, though no ledger says so yet.
        dry_run: only say what would be done.
    """
    with promotions.exclusive(owner, use_case):
        decided = promotions.history(owner, use_case)
        withdrawn = withdrawn_for_good(decided)
        losses = {
            version: why
            for version in registry.versions(owner, use_case)
            if version.version not in withdrawn
            and (why := lost(recorded.as_told(version, decided)))
        }
        if losses:
            gone = _gone(owner, use_case, decided, losses, promotions, also)
            effect = _withdraw(
                owner,
                use_case,
                decided,
                losses,
                gone,
                as_of,
                registry,
                promotions,
                fallback,
                by,
                dry_run,
            )
        else:
            current = promotions.champion_at(owner, use_case)
            outcome: Outcome = "done before" if withdrawn else "not affected"
            effect = ChampionChange.of(owner, use_case, outcome, current, current)
        if (losses or withdrawn) and not dry_run:
            follow_ledger(owner, use_case, registry, promotions)
    if (losses or withdrawn) and not dry_run:
        _end_experiment(owner, use_case, as_of, registry, promotions, experiments, by)
    return effect


def _withdraw(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    losses: Mapping[ModelVersion, str],
    gone: Withdrawn,
    as_of: Callable[[TenantRef], datetime | None],
    registry: Registry,
    promotions: Promotions,
    fallback: Fallback | None,
    by: str,
    dry_run: bool,
) -> ChampionChange:
    """Decide who serves without the lost versions, and write that; in `Promotions.exclusive`."""
    current = promotions.champion_at(owner, use_case)
    numbers = {version.version for version in losses}
    causes = tuple(dict.fromkeys(losses.values()))
    since = [current.as_of] if current else [version.as_of for version in losses]
    at = max([*since, *(instant for instant in (as_of(owner),) if instant)])
    trigger = next_trigger(decided, CONSENT)
    withdrawn = tuple(sorted(numbers, key=int))

    def changed(
        outcome: Outcome, after: Promotion | None, reasons: Sequence[str]
    ) -> ChampionChange:
        return ChampionChange.of(owner, use_case, outcome, current, after, " ".join(reasons))

    if current is None or current.version not in numbers:
        if not dry_run:
            row = _row(owner, use_case, at, trigger, current, causes, by, withdrawn)
            promotions.record(owner, row)
        return changed("withdrawn", current, causes)
    serving = registry.get(owner, use_case, current.version)
    before = [one for one in earlier(decided, current) if one.version not in numbers]
    to, passed = newest_usable(owner, serving, before, gone, registry)
    if to is None and fallback is not None:
        try:
            if dry_run:
                offered = fallback(owner, use_case)
                if offered is not None:
                    to = replace(current, version=offered.rung, rung=offered.rung)
            else:
                to = fall_back(owner, use_case, at, fallback, registry)
        except IntegrityError as error:  # retention may have erased what it was measured on
            passed = (*passed, f"The baseline was passed over: {error}.")
    if to is None:
        reasons = (*causes, *passed, "Nothing is left to go back to, so nothing serves.")
        if not dry_run:
            row = _row(owner, use_case, at, trigger, None, reasons, by, withdrawn)
            promotions.record(owner, replace(row, promoted=True, incumbent_version=current.version))
        return changed("nothing serves", None, reasons)
    back = f"Rolled back from version {current.version} to {to.version} ({to.rung})."
    reasons = (*causes, *passed, back)
    if not dry_run:
        move(promotions, owner, decided, current, to, at, reasons, by, withdrawn, trigger)
    return changed("rolled back", to, reasons)


def _gone(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    losses: Mapping[ModelVersion, str],
    promotions: Promotions,
    also: Collection[str],
) -> Withdrawn:
    """The owner's withdrawn versions, the lost ones counted as if they were written already."""
    gone = Withdrawn.of(owner, use_case, decided, promotions)
    own = gone.own | {version.version for version in losses}
    shared = {owner.id: own} if is_global(owner.id) else {}
    return replace(gone, own=own, also=gone.also | set(also), shared=shared)


def _row(
    owner: TenantRef,
    use_case: str,
    at: datetime,
    trigger: str,
    current: Promotion | None,
    reasons: Sequence[str],
    by: str,
    withdrawn: Sequence[str],
) -> Promotion:
    """A withdrawal after which the same version serves as before, if any does."""
    version = current.version if current else ""
    return Promotion(
        tenant=owner.id,
        use_case=use_case,
        as_of=at,
        trigger=trigger,
        promoted=False,
        version=version,
        rung=current.rung if current else "",
        digest=current.digest if current else "",
        incumbent_version=version,
        reasons=tuple(reasons),
        evidence={},
        actor=by,
        withdrawn=tuple(withdrawn),
    )


def _end_experiment(
    owner: TenantRef,
    use_case: str,
    as_of: Callable[[TenantRef], datetime | None],
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
    by: str,
) -> None:
    trial = running(experiments.history(owner, use_case))
    lost = None if trial is None else out_of_the_race(owner, trial, registry, promotions)
    if trial is not None and lost is not None:
        at = as_of(owner) or trial.started_as_of
        conclude(
            owner,
            trial,
            lost[0],
            lost[1:],
            as_of=at,
            registry=registry,
            promotions=promotions,
            experiments=experiments,
            by=by,
        )
