"""What the commands share: options, output, and how they find tenants."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from include import use_cases
from include.errors import ConfigError, UnknownNameError
from include.handoffs import INSTANTS
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import GLOBAL, TenantRef, global_owner, is_global
from include.wall_clock import PLATFORM, instant_in

if TYPE_CHECKING:
    from include.stores import Stores
    from include.wiring import Platform

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TenantId = Annotated[str, typer.Argument(metavar="TENANT", help="A tenant's id.")]
console = Console()


def activate() -> None:
    """Give this process the installation's environment (no-op where one is set already)."""
    from include.runtime import control

    control.activate()


def fleet() -> Fleet:
    """All tenants."""
    return load_fleet(tenants_folder(), use_cases.names())


def one(tenant_id: str) -> TenantConfig:
    """One tenant, whoever has its data."""
    return find_tenant(tenants_folder(), tenant_id, use_cases.names())


def readable(tenant_id: str) -> TenantConfig:
    """One tenant, whose data is its own and lies where its file says; without an installation,
    nobody else can have it.

    Raises:
        IsolationError: the data is somebody else's, or sealed.
        ConfigError: it lies in another region, or with another isolation.
        UnavailableError: it is being moved or erased, or nobody can be asked.
    """
    config, there = one(tenant_id), installation_there()
    activate()
    if there:
        from include.storage import ownership

        ownership.check(config)
    return config


def installation_there() -> bool:
    """Whether there is a Postgres to ask, whether or not it runs; before `activate` names one."""
    from include.runtime import state

    return bool(os.environ.get("TENANTRY_DATABASE_URL")) or state.locate().postgres.is_dir()


@contextmanager
def changing(owner: TenantRef) -> Iterator[None]:
    """While a command changes what an owner has: nobody moves or erases that meanwhile."""
    from include.storage import ownership

    with ownership.at_work(owner.id):
        if not is_global(owner.id):
            ownership.check(one(owner.id))
        yield


def parse_instant(text: str, timezone: str, option: str = "--as-of") -> datetime:
    """An ISO instant or day; without an offset on the clocks of a time zone."""
    try:
        parsed = instant_in(text, timezone)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text!r} is not an instant such as 2017-10-23") from None
    first, end = INSTANTS
    if not first <= parsed < end:
        years = f"{first.year} to {end.year - 1}"
        raise ConfigError(f"{option} {text!r} is not within the years from {years}")
    return parsed


def parse_day(text: str, option: str = "--on") -> date:
    """A calendar day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not a day such as 2017-03-14") from None


def timezone_of(owner_id: str) -> str:
    """The time zone of a tenant; of owners of global models, and of whoever has no file, UTC."""
    found = None if is_global(owner_id) else fleet().tenants.get(owner_id)
    return PLATFORM if found is None else found.timezone


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_problems(loaded: Fleet) -> None:
    """What is wrong with the files that were left out."""
    for lines in loaded.problems.values():
        for line in lines:
            console.print(f"[yellow]ignored:[/yellow] {escape(line)}", soft_wrap=True)


def owner_of(tenant: str, use_case: str | None) -> tuple[TenantRef, str, list[str]]:
    """Whose models are meant, the time zone of its days, and the use cases asked for."""
    if is_global(tenant):
        owner, timezone, known = _global_owner(tenant), PLATFORM, sorted(use_cases.names())
    else:
        config = one(tenant)
        owner, timezone, known = config.ref, config.timezone, list(config.use_cases)
    if use_case is not None and use_case not in known:
        raise UnknownNameError("use case", use_case, known, f"tenant {tenant}")
    if not is_global(tenant):
        readable(tenant)
    return owner, timezone, known if use_case is None else [use_case]


def global_owners() -> list[TenantRef]:
    """Every owner of global models: that of all regions first, then those of the regions that
    tenants are in, or that have something in the lake."""
    from include import wiring

    activate()
    owners = {global_owner(tenant.region) for tenant in fleet().tenants.values()}
    owners |= wiring.lake_files().global_owners()
    return [GLOBAL, *sorted(owners, key=lambda owner: owner.id)]


def _global_owner(owner_id: str) -> TenantRef:
    known = {owner.id: owner for owner in global_owners()}
    if owner_id not in known:
        raise UnknownNameError("owner of global models", owner_id, known)
    return known[owner_id]


def platform() -> Platform:
    """Lake, registry and rows, as the environment says."""
    from include import wiring

    return wiring.platform(wiring.connect_from_environment)


def stores() -> Stores:
    """The rows alone."""
    from include import wiring

    return wiring.stores()
