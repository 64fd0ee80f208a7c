"""Versions whose data is not consented to any more: withdrawn for good, wherever they serve.

Unlike after a rollback nobody puts them back, they are in force at no instant, and where nothing is
left to go back to, nothing serves. Each owner and use case has one row for it in its ledger: killed
anywhere and run again, it does what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from include.errors import IntegrityError
from include.registry import recorded
from include.registry.blast_radius import ChampionChange, Outcome
from include.registry.conclusion import conclude, out_of_the_race
from include.registry.decay import fall_back
from include.registry.experiments import Experiments, running
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import CONSENT, Promotion, Promotions, withdrawn_for_good
from include.registry.rollback import Fallback, move, next_trigger
from include.registry.stage import follow_ledger
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
    """Withdraw an owner's versions that are lost; who serves gives way where it is one of them.

    To the newest earlier version that can take over, else to what `fallback` offers, else to
    nothing. Experiments whose challenger or champion is lost end.

    Args:
        lost: why a version must go, in a sentence; empty where it may stay. It is given versions
            with the parents that the ledger has of them.
        as_of: from when on another serves, and not before the lost one did; None for just then.
        also: names of global versions that are lost, too, though no ledger says so yet.
        dry_run: only say what would be done.
    """
    with promotions.exclusive(owner, use_case):
        decided = promotions.history(owner, use_case)
        known = withdrawn_for_good(decided)
        found = {
            one: why
            for one in registry.versions(owner, use_case)
            if one.version not in known and (why := lost(recorded.as_told(one, decided)))
        }
        if found:
            gone = _gone(owner, use_case, decided, found, promotions, also)
            effect = _withdraw(
                owner,
                use_case,
                decided,
                found,
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
            effect = _effect(owner, use_case, "done before" if known else "not affected", current)
        if (found or known) and not dry_run:
            follow_ledger(owner, use_case, registry, promotions)
    if (found or known) and not dry_run:
        _end_experiment(owner, use_case, as_of, registry, promotions, experiments, by)
    return effect


def _withdraw(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    found: Mapping[ModelVersion, str],
    gone: Withdrawn,
    as_of: Callable[[TenantRef], datetime | None],
    registry: Registry,
    promotions: Promotions,
    fallback: Fallback | None,
    by: str,
    dry_run: bool,
) -> ChampionChange:
    """Decide who serves without the lost ones, and write it, within `Promotions.exclusive`."""
    current = promotions.champion_at(owner, use_case)
    numbers = {one.version for one in found}
    told = tuple(dict.fromkeys(found.values()))
    since = [current.as_of] if current else [one.as_of for one in found]
    at = max([*since, *(one for one in (as_of(owner),) if one)])
    trigger = next_trigger(decided, CONSENT)
    withdrawn = tuple(sorted(numbers, key=int))
    if current is None or current.version not in numbers:
        if not dry_run:
            row = _row(owner, use_case, at, trigger, current, told, by, withdrawn)
            promotions.record(owner, row)
        return _effect(owner, use_case, "withdrawn", current, current, told)
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
        reasons = (*told, *passed, "Nothing is left to go back to, so nothing serves.")
        if not dry_run:
            row = _row(owner, use_case, at, trigger, None, reasons, by, withdrawn)
            promotions.record(owner, replace(row, promoted=True, incumbent_version=current.version))
        return _effect(owner, use_case, "nothing serves", current, None, reasons)
    back = f"Rolled back from version {current.version} to {to.version} ({to.rung})."
    reasons = (*told, *passed, back)
    if not dry_run:
        move(promotions, owner, decided, current, to, at, reasons, by, withdrawn, trigger)
    return _effect(owner, use_case, "rolled back", current, to, reasons)


def _gone(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    found: Mapping[ModelVersion, str],
    promotions: Promotions,
    also: Collection[str],
) -> Withdrawn:
    """What is withdrawn for the owner once this is written."""
    gone = Withdrawn.of(owner, use_case, decided, promotions)
    own = gone.own | {one.version for one in found}
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


def _effect(
    owner: TenantRef,
    use_case: str,
    outcome: Outcome,
    before: Promotion | None,
    after: Promotion | None = None,
    reasons: Sequence[str] = (),
) -> ChampionChange:
    after = before if outcome in ("done before", "not affected") else after
    versions = (before.version if before else "", after.version if after else "")
    return ChampionChange(owner.id, use_case, outcome, *versions, " ".join(reasons))
