"""Who may have a tenant id: a pure decision on the record of its owner and where data lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from include.errors import ConfigError, IsolationError, TenantryError, UnavailableError
from include.tenants.namespace import TenantRef
from include.wall_clock import PLATFORM, local

#: States in which nobody but the step that is under way may touch the data.
_UNDER_WAY: Final = {
    "moving": "is being moved; run `tenantry tenants move {id}` again to finish that",
    "erasing": "is being erased; run `tenantry tenants remove {id} --erase` again to finish that",
}


@dataclass(frozen=True)
class TenantOwner:
    """One owner of a tenant id; the newest one is who has it now."""

    tenant: str
    number: int  #: the first owner of an id is 1
    region: str
    isolation: str
    key_digest: str  #: sha256 of the file's key, empty where it has none
    state: str  #: `active`, `sealed`, `moving`, `erasing` or `erased`
    actor: str
    changed_at: datetime
    target: TenantRef | None = None  #: of what is being moved: where to
    details: Mapping[str, Any] | None = None

    @property
    def ref(self) -> TenantRef:
        """Where the data lies."""
        return TenantRef(self.tenant, self.region, self.isolation)


@dataclass(frozen=True)
class Claim:
    """Whether a file may have a tenant id."""

    granted: bool
    new: bool = False  #: nobody has the id yet
    refusal: TenantryError | None = None


def decide_claim(
    tenant: TenantRef, key: str | None, owner: TenantOwner | None, places: Iterable[TenantRef] = ()
) -> Claim:
    """Whether the file with this key, region and isolation may have the id.

    Args:
        owner: who has it now, or had it last.
        places: where there is data under the id that no owner is known of, as of a release that
            kept no record. A file without a key takes it over where it lies; one with a key is of
            a newcomer.
    """
    if owner is None or owner.state == "erased":
        homes = [] if owner is not None else sorted(set(places), key=str)
        if not homes or (key is None and tenant in homes):
            return Claim(granted=True, new=True)
        if key is None:
            return _refused(_elsewhere(tenant, homes[0]))
        return _refused(
            IsolationError(
                f"there is data of {tenant.id!r} in {_place(homes[0])}, and nobody knows whose; a "
                f"new tenant must not inherit it. Look at it with `tenantry tenants remove "
                f"{tenant.id} --dry-run` and erase it with --erase, or choose another id"
            )
        )
    if owner.key_digest != key_digest(key):
        whose = "with another key" if owner.key_digest and key else "with a key"
        whose = whose if owner.key_digest else "that has no key"
        return _refused(
            IsolationError(
                f"the data of {tenant.id!r} belongs to a tenant file {whose}. Put that file back "
                f"if it is the same company; else choose another id, or erase what is there with "
                f"`tenantry tenants remove {tenant.id} --erase`"
            )
        )
    if owner.state == "sealed":
        return _refused(
            IsolationError(
                f"{tenant.id!r} was removed on {local(owner.changed_at, PLATFORM)} by "
                f"{owner.actor}, and its data is sealed. `tenantry tenants remove {tenant.id} "
                f"--erase` makes room for a new tenant; `tenantry tenants unseal {tenant.id}` lets "
                "the same one go on"
            )
        )
    if owner.state in _UNDER_WAY:
        what = _UNDER_WAY[owner.state].format(id=tenant.id)
        return _refused(UnavailableError(f"the data of {tenant.id!r} {what}"))
    if owner.ref != tenant:
        return _refused(_elsewhere(tenant, owner.ref))
    return Claim(granted=True)


def key_digest(key: str | None) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest() if key else ""


def copied_key(tenant_id: str) -> Claim:
    """The refusal of a file that has the key of another tenant's."""
    return _refused(
        IsolationError(
            f"the file of {tenant_id!r} has the `key` of another tenant's file, as a copy of that "
            "has; who knows one of the two could come for the other's data. Take the line out, and "
            "let `tenantry tenants add` make a key"
        )
    )


def _elsewhere(tenant: TenantRef, there: TenantRef) -> ConfigError:
    return ConfigError(
        f"the file of {tenant.id!r} says {_place(tenant)}, and its data lies in {_place(there)}. "
        f"`tenantry tenants move {tenant.id}` moves it; to leave it where it is, put the file back "
        "as it was"
    )


def _place(tenant: TenantRef) -> str:
    return f"region {tenant.region!r} with isolation {tenant.isolation!r}"


def _refused(error: TenantryError) -> Claim:
    return Claim(granted=False, refusal=error)
