"""`tenantry rollback`: back to an earlier champion, of one tenant or wherever a model went."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from include.cli.shared import (
    Json,
    activate,
    console,
    fleet,
    one,
    owner_of,
    print_json,
    registry,
)
from include.errors import ConfigError, TenantryError
from include.tenants.namespace import GLOBAL, TenantRef


def rollback(
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="A tenant's id, or `global`.")
    ] = None,
    use_case: Annotated[str | None, typer.Argument(metavar="USE_CASE")] = None,
    to: Annotated[
        str | None, typer.Option(help="Version; the newest earlier one that can take over if none.")
    ] = None,
    derived_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL@VERSION",
            help="Instead: every champion, anywhere, that came from this global version.",
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Who decides, for the ledger; this machine's user if none.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let an earlier champion serve again, from the newest interval on."""
    if derived_from is not None:
        if tenant is not None or to is not None:
            raise ConfigError("--derived-from stands alone: without TENANT, USE_CASE and --to")
        _roll_back_derived(derived_from, by, dry_run, as_json)
        return
    if tenant is None or use_case is None:
        raise ConfigError("name TENANT and USE_CASE, or --derived-from MODEL@VERSION")
    from include.registry import ledger
    from include.registry.rollback import roll_back

    owner, _, (case,) = owner_of(tenant, use_case)
    activate()
    serving, newest = ledger.champion_at(owner, case), _newest(owner)
    done = roll_back(
        owner,
        case,
        to=to,
        as_of=newest,
        registry=registry(),
        by=by or getpass.getuser(),
        dry_run=dry_run,
    )
    changed = serving is None or serving.version != done.version
    if as_json:
        print_json(
            {
                "version": done.version,
                "from": done.incumbent_version,
                "as_of": done.as_of,
                "by": done.actor,
                "reasons": done.reasons,
                "changed": changed and not dry_run,
            }
        )
    elif not changed:
        print(f"{tenant}/{case}: version {done.version} serves already; nothing changed")
    elif dry_run:
        print(f"{tenant}/{case}: version {done.version} would serve from {newest:%Y-%m-%d} on")
    else:
        print(f"{tenant}/{case}: version {done.version} serves from {done.as_of:%Y-%m-%d} on")


def _roll_back_derived(text: str, by: str | None, dry_run: bool, as_json: bool) -> None:
    from rich.progress import track

    from include.pipeline.fallback import best_baseline
    from include.registry.ancestry import ModelName
    from include.registry.blast_radius import roll_back_derived

    source = ModelName.parse(text)
    tenants = fleet()
    activate()
    effects = roll_back_derived(
        source,
        [tenant.ref for tenant in tenants.tenants.values()],
        as_of=_newest,
        registry=registry(),
        fallback=best_baseline,
        by=by or getpass.getuser(),
        dry_run=dry_run,
    )
    found = []
    shown = track(
        effects,
        description=f"From {source}",
        total=len(tenants.tenants) + 1,
        console=console,
        disable=as_json or not console.is_terminal,
        transient=True,
    )
    for effect in shown:
        found.append(effect)
        if not as_json and effect.outcome != "not affected":
            console.print(
                f"{effect.tenant}/{effect.use_case}: {effect.outcome}, "
                f"{effect.version or 'none'} → {effect.to or 'none'}. {effect.reason}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    unread = [line for lines in tenants.problems.values() for line in lines]
    if as_json:
        rows = [{**effect.__dict__, "complete": effect.complete} for effect in found]
        print_json({"derived_from": str(source), "effects": rows, "problems": unread})
    else:
        moved = sum(effect.outcome == "rolled back" for effect in found)
        console.print(
            f"{moved} of {len(found)} {'would be ' if dry_run else ''}rolled back", highlight=False
        )
        for line in unread:
            console.print(f"[yellow]not looked at:[/yellow] {escape(line)}", soft_wrap=True)
    if unread or not all(effect.complete for effect in found):
        raise typer.Exit(1)


def _newest(owner: TenantRef) -> datetime:
    """End of the newest interval that the owner has; for `global`, that any tenant has."""
    from include.pipeline.runs import last_checked

    if owner != GLOBAL:
        return last_checked(one(owner.id))
    ends = []
    for tenant in fleet().tenants.values():
        try:
            ends.append(last_checked(tenant))
        except TenantryError:  # no data yet, or out of reach: others say how far time has come
            continue
    if not ends:
        raise ConfigError("no tenant has data yet; run a pipeline first")
    return max(ends)
