"""What the commands share: options, output, and how they find tenants."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from include import use_cases
from include.errors import ConfigError
from include.handoffs import instant
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder

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


def one(tenant_id: str) -> Any:
    """One tenant."""
    return find_tenant(tenants_folder(), tenant_id, use_cases.names())


def parse_instant(text: str, option: str = "--as-of") -> datetime:
    """An ISO instant; without an offset it means UTC."""
    try:
        found = instant(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text!r} is not an instant such as 2017-10-23") from None
    if not 1970 <= found.year <= 2199:  # as far as events are taken
        raise ConfigError(f"{option} {text!r} is not within the years from 1970 to 2199")
    return found


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_problems(found: Fleet) -> None:
    """What is wrong with the files that were left out."""
    for lines in found.problems.values():
        for line in lines:
            console.print(f"[yellow]ignored:[/yellow] {escape(line)}", soft_wrap=True)
