"""Goes back to a version that served before: one more row in the ledger, and the alias follows.

The version that is left behind is withdrawn: no training promotes that version again, nor a model
of the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from include.errors import TenantryError, UnknownNameError
from include.registry import recorded
from include.registry.aliases import follow_ledger
from include.registry.ancestry import ModelName
from include.registry.port import NewVersion, Registry
from include.registry.promotions import ROLLBACK, Promotion, Promotions, withdrawn_for_good
from include.registry.withdrawal import Withdrawn, check_whole, earlier, newest_usable
from include.tenants.namespace import TenantRef

#: A tenant's baseline as a version, for those that have nothing else to go back to.
Fallback = Callable[[TenantRef, str], NewVersion | None]


def roll_back(
    tenant: TenantRef,
    use_case: str,
    *,
    to: str | None,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    by: str = "system",
    dry_run: bool = False,
) -> Promotion:
    """Let an earlier champion serve again from `as_of` on. Nothing is deleted.

    Args:
        to: a version that was promoted before, also one that was withdrawn since; the newest
            earlier one that can take over when None. The version that serves already changes
            nothing.
        as_of: end of the newest interval; older intervals keep the version that served them.
        by: who asked for it.
        dry_run: only look who would serve: the decision that first put it there.

    Raises:
        UnknownNameError: the version was never promoted.
        TenantryError: there is no version to go back to, none can take over, or the version comes
            from a global version that is withdrawn.
        IntegrityError: the version's files are not those that were promoted.
    """
    where = f"{tenant.id}/{use_case}"
    with promotions.exclusive(tenant, use_case):
        decided = promotions.history(tenant, use_case)
        current = promotions.champion_at(tenant, use_case)
        before = earlier(decided, current) if current else []
        if current is None:
            raise TenantryError(
                f"nothing serves {where}, so there is nothing to go back from; train it. "
                "`tenantry history` lists what served when"
            )
        if not before and to != current.version:
            raise TenantryError(
                f"version {current.version} is the only one that ever served {where}: there is "
                "nothing to go back to. `tenantry history` lists what served when"
            )
        gone = Withdrawn.of(tenant, use_case, decided, promotions)
        if to is None:
            serving = registry.get(tenant, use_case, current.version)
            made, passed = newest_usable(tenant, serving, before, gone, registry)
            if made is None:
                raise TenantryError(
                    f"no earlier version of {where} can take over from {current.version}. "
                    f"{' '.join(passed)} `--to VERSION` takes one all the same"
                )
        elif to == current.version:
            if not dry_run:
                follow_ledger(tenant, use_case, registry, promotions)
            return current
        else:
            made, passed = _named(to, before, where), ()
            if to in withdrawn_for_good(decided):
                raise TenantryError(
                    f"version {to} of {where} cannot serve again: consent to what it was made of "
                    "was withdrawn; train a new one, or go back to another"
                )
            version = recorded.as_told(registry.get(tenant, use_case, to), decided)
            if reason := gone.why_model("", version.parent_version, registry):
                raise TenantryError(
                    f"{ModelName.of(version)} cannot serve: {reason}; put that one back first "
                    "(tenantry rollback global …), or go back to another"
                )
            check_whole(
                tenant,
                recorded.registered(tenant, use_case, to, registry, decided),
                made.digest,
                registry,
            )
        if dry_run:
            return made
        reason = f"Rolled back by hand from version {current.version} to {made.version}."
        done = move(promotions, tenant, decided, current, made, as_of, (*passed, reason), by)
        follow_ledger(tenant, use_case, registry, promotions)
    return done


def move(
    promotions: Promotions,
    tenant: TenantRef,
    decided: Sequence[Promotion],
    current: Promotion,
    to: Promotion,
    as_of: datetime,
    reasons: Sequence[str],
    by: str,
    withdrawn: Sequence[str] | None = None,
    trigger: str = "",
) -> Promotion:
    """Write that `to` serves instead of `current`, within `Promotions.exclusive`.

    Args:
        decided: the tenant's decisions so far, oldest first.
        to: a decision that promoted the version, whose evidence stands again.
        withdrawn: the versions that the move withdraws; that of `current` when None.
        trigger: the new decision's trigger; `next_trigger` when empty.
    """
    return promotions.record(
        tenant,
        replace(
            to,
            as_of=max(as_of, current.as_of),
            trigger=trigger or next_trigger(decided),
            promoted=True,
            incumbent_version=current.version,
            reasons=tuple(reasons),
            evidence={**to.evidence, "challenger": ""},
            actor=by,
            withdrawn=(current.version,) if withdrawn is None else tuple(withdrawn),
        ),
    )


def next_trigger(decided: Sequence[Promotion], kind: str = ROLLBACK) -> str:
    """The next of `rollback-1`, `rollback-2`, …, which tell decisions of one instant apart."""
    return f"{kind}-{1 + sum(not decision.trained for decision in decided)}"


def _named(version: str, before: Sequence[Promotion], where: str) -> Promotion:
    for promotion in before:
        if promotion.version == version:
            return promotion
    raise UnknownNameError("version to roll back to", version, [o.version for o in before], where)
