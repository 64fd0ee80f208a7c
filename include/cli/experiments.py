"""`tenantry experiment`: another version for a share of a tenant's entities."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from include.cli.identity import operator
from include.cli.shared import (
    Json,
    TenantId,
    activate,
    changing,
    console,
    fleet,
    parse_instant,
    platform,
    print_json,
    print_problems,
    readable,
    stores,
)
from include.runtime.tables import print_table
from include.wall_clock import local_day, localised

AsOf = Annotated[
    str | None, typer.Option(help="ISO instant of the data; the newest interval's end if none.")
]
app = typer.Typer(no_args_is_help=True, help="A/B experiments: a version against the champion.")


@app.command("start")
def start(
    tenant: TenantId,
    use_case: str,
    challenger: Annotated[str, typer.Option(help="The version to try.")],
    share: Annotated[float, typer.Option(help="Share of the entities that see it.")],
    alpha: Annotated[
        float, typer.Option(help="Chance to end with a difference where there is none.")
    ] = 0.05,
    harm: Annotated[float, typer.Option(help="Loss that is tolerated, in outcomes of 0 to 1.")] = 0,
    most: Annotated[
        int, typer.Option(help="Entities after which it ends without a difference.")
    ] = 100_000,
    because: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Serve a version to a share of the entities, until it proves better, worse or no different."""
    from include.pipeline.experiments import begin
    from include.registry.policy import Policy

    policy = Policy(share=share, alpha=alpha, harm=harm, most=most)
    config = readable(tenant)
    with changing(config.ref):
        begun = begin(
            config,
            use_case,
            challenger,
            policy,
            as_of=parse_instant(as_of, config.timezone) if as_of else None,
            platform=platform(),
            by=operator(),
            because=because,
        )
    if as_json:
        print_json(_rows(config.ref, use_case)[-1])
    else:
        since = local_day(begun.started_as_of, config.timezone)
        print(
            f"{tenant}/{use_case}: {begun.name} serves version {begun.challenger} to "
            f"{100 * begun.policy.share:g} % from {since} on; an interval that is "
            "scored already stays as it is until its scoring is run again"
        )


@app.command("list")
def list_experiments(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this tenant's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every experiment: between whom, since when, what is known by now, why it ended."""
    loaded = None if tenant else fleet()
    tenants = [readable(tenant)] if tenant else list(loaded.tenants.values()) if loaded else []
    activate()
    rows = {
        config.id: [row for case in config.use_cases for row in _rows(config.ref, case)]
        for config in tenants
    }
    if as_json:
        print_json([row for of_tenant in rows.values() for row in of_tenant])
        return
    shown = [row for config in tenants for row in localised(rows[config.id], config.timezone)]
    print_table(console, shown, title="Experiments")
    if loaded:
        print_problems(loaded)


@app.command("stop")
def stop(
    tenant: TenantId,
    use_case: str,
    because: Annotated[str, typer.Option(help="Why, for the history.")],
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """End the running experiment: from then on everybody is served by the champion."""
    from include.pipeline import experiments

    config = readable(tenant)
    with changing(config.ref):
        done = experiments.stop(
            config,
            use_case,
            because,
            as_of=parse_instant(as_of, config.timezone) if as_of else None,
            platform=platform(),
            by=operator(),
        )
    if as_json:
        print_json(_rows(config.ref, use_case)[-1])
    else:
        print(f"{tenant}/{use_case}: {done.name} ended; version {done.champion} serves everybody")


def _rows(tenant: Any, use_case: str) -> list[dict[str, Any]]:
    from include.pipeline.experiment_results import told

    rows = told(stores(), tenant, use_case)
    return [{"tenant": tenant.id, "use_case": use_case, **row} for row in rows]
