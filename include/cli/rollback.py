"""`tenantry rollback`: back to an earlier champion, of one tenant or wherever a model went."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

import typer
from rich.markup import escape

from include.cli.identity import operator
from include.cli.shared import (
    Json,
    activate,
    changing,
    console,
    fleet,
    one,
    owner_of,
    platform,
    print_json,
    stores,
)
from include.errors import ConfigError
from include.storage.failures import TENANT_ERRORS
from include.tenants.namespace import GLOBAL, TenantRef, global_owner, is_global
from include.wall_clock import local_day


def rollback(
    tenant: Annotated[
        str | None,
        typer.Argument(metavar="TENANT", help="A tenant's id, `global` or `global-REGION`."),
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let an earlier champion serve again, from the newest interval on.

    The ledger says who asked for it: the user that the operating system knows.
    """
    if derived_from is not None:
        if tenant is not None or to is not None:
            raise ConfigError("--derived-from stands alone: without TENANT, USE_CASE and --to")
        _roll_back_derived(derived_from, dry_run, as_json)
        return
    if tenant is None or use_case is None:
        raise ConfigError("name TENANT and USE_CASE, or --derived-from MODEL@VERSION")
    from include.registry.rollback import roll_back

    owner, timezone, (case,) = owner_of(tenant, use_case)
    activate()
    here, newest = platform(), newest_interval(owner)
    promotions = here.stores.promotions
    with changing(owner):
        serving = promotions.champion_at(owner, case)
        done = roll_back(
            owner,
            case,
            to=to,
            as_of=newest,
            registry=here.registry,
            promotions=promotions,
            by=operator(),
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
    else:
        since = local_day(newest if dry_run else done.as_of, timezone)
        serves = "would serve" if dry_run else "serves"
        print(f"{tenant}/{case}: version {done.version} {serves} from {since} on")


def _roll_back_derived(text: str, dry_run: bool, as_json: bool) -> None:
    from rich.progress import track

    from include.pipeline.consents import Consents
    from include.pipeline.fallback import best_baseline
    from include.registry.ancestry import ModelName
    from include.registry.blast_radius import roll_back_derived

    source = ModelName.parse(text)
    tenants = fleet()
    activate()
    here = platform()
    effects = roll_back_derived(
        source,
        [tenant.ref for tenant in Consents.now().placed.values()],  # where their data lies
        as_of=newest_interval,
        registry=here.registry,
        promotions=here.stores.promotions,
        fallback=partial(best_baseline, here),
        by=operator(),
        dry_run=dry_run,
    )
    done = []
    shown = track(
        effects,
        description=f"From {source}",
        total=len(tenants.tenants) + 1,
        console=console,
        disable=as_json or not console.is_terminal,
        transient=True,
    )
    for effect in shown:
        done.append(effect)
        if not as_json and effect.outcome != "not affected":
            console.print(str(effect), markup=False, highlight=False, soft_wrap=True)
    unread = [line for lines in tenants.problems.values() for line in lines]
    if as_json:
        rows = [{**effect.__dict__, "complete": effect.complete} for effect in done]
        print_json({"derived_from": str(source), "effects": rows, "problems": unread})
    else:
        moved = sum(effect.outcome == "rolled back" for effect in done)
        console.print(
            f"{moved} of {len(done)} {'would be ' if dry_run else ''}rolled back", highlight=False
        )
        for line in unread:
            console.print(f"[yellow]not looked at:[/yellow] {escape(line)}", soft_wrap=True)
    if unread or not all(effect.complete for effect in done):
        raise typer.Exit(1)


def newest_interval(owner: TenantRef) -> datetime:
    """End of the newest interval that the owner has; of global models, that any tenant has that
    they can be offered to."""
    from include.pipeline.runs import last_checked

    if not is_global(owner.id):
        there = {"region": owner.region, "isolation": owner.isolation}
        return last_checked(one(owner.id).model_copy(update=there), stores().stage_runs)
    ends = []
    for tenant in fleet().tenants.values():
        if owner not in (GLOBAL, global_owner(tenant.region)):
            continue
        try:
            ends.append(last_checked(tenant, stores().stage_runs))
        except TENANT_ERRORS:  # no data yet, or out of reach: others say how far time has come
            continue
    if not ends:
        raise ConfigError(f"no tenant of {owner.id} has data yet; run a pipeline first")
    return max(ends)
