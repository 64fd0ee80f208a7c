"""`tenantry tenants withdraw-consent`: what a tenant's data went into, withdrawn at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from include import use_cases
from include.cli.shared import (
    Json,
    TenantId,
    activate,
    console,
    fleet,
    platform,
    print_json,
)
from include.errors import UnknownNameError
from include.tenants.loader import tenants_folder
from include.tenants.namespace import GLOBAL

if TYPE_CHECKING:
    from include.registry.blast_radius import ChampionChange


def withdraw_consent(
    tenant: TenantId,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a tenant's consent to pooling back in its file, and withdraw at once whatever its data
    went into; exit code 1 where that could not be reached everywhere."""
    from include.cli.identity import operator
    from include.pipeline.consent import withdraw
    from include.storage import audit
    from include.tenants import withdrawing

    tenants = fleet()
    path = withdrawing.file_of(tenants_folder(), tenant, use_cases.names())
    activate()
    changed = False
    if path is not None and not dry_run:
        changed = withdrawing.withdraw_consent(path, use_cases.names())
        audit.record(GLOBAL, "withdraw consent", {"tenant": tenant}, operator())
    effects = withdraw(
        tenant,
        platform=platform(),
        by=operator(),
        dry_run=dry_run,
    )
    if path is None and not effects:
        raise UnknownNameError("tenant", tenant, tenants.tenants)
    unread = [line for lines in tenants.problems.values() for line in lines]
    if as_json:
        rows = [{**asdict(effect), "complete": effect.complete} for effect in effects]
        print_json({"tenant": tenant, "file_changed": changed, "effects": rows, "problems": unread})
    else:
        _print_withdrawal(tenant, path, changed, effects, dry_run)
        for line in unread:
            console.print(f"[yellow]not looked at:[/yellow] {escape(line)}", soft_wrap=True)
    if unread or not all(effect.complete for effect in effects):
        raise typer.Exit(1)


def _print_withdrawal(
    tenant: str, path: Path | None, changed: bool, effects: Sequence[ChampionChange], dry_run: bool
) -> None:
    if changed:
        console.print(f"{path}: consent: false", markup=False, soft_wrap=True)
    for effect in effects:
        console.print(str(effect), markup=False, highlight=False, soft_wrap=True)
    moved = sum(effect.outcome in ("rolled back", "nothing serves") for effect in effects)
    what = "would give way" if dry_run else "gave way"
    console.print(f"{tenant}: {moved} versions that serve {what}", highlight=False)
