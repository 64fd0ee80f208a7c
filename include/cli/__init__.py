"""The `tenantry` command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from include import use_cases
from include.cli import (
    audit,
    experiments,
    features,
    models,
    quarantine,
    report,
    roles,
    simulate,
    suspicions,
    tenants,
)
from include.cli.identity import operator
from include.cli.shared import (
    Json,
    activate,
    console,
    fleet,
    one,
    parse_instant,
    print_json,
    print_problems,
    stores,
)
from include.errors import ConfigError, TenantryError, UnavailableError, UnknownNameError
from include.runtime.private import keep_to_owner
from include.runtime.tables import print_table
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef, global_dag_id, split_dag_id
from include.tenants.pooling import shared_use_cases
from include.wall_clock import PLATFORM

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Per-tenant machine learning pipelines on Airflow.",
)
app.add_typer(tenants.app, name="tenants")
app.add_typer(features.app, name="features")
app.add_typer(roles.app, name="roles")
app.add_typer(experiments.app, name="experiment")
app.add_typer(suspicions.app, name="suspicion")
app.add_typer(audit.app, name="audit")
app.command()(simulate.simulate)
app.command()(quarantine.quarantine)
app.command()(report.report)
app.add_typer(models.app)


def main() -> None:
    """Run the command; a `TenantryError` becomes a message on stderr and exit code 1."""
    keep_to_owner()
    try:
        app()
    except TenantryError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


# the installation


@app.command()
def up() -> None:
    """Start Postgres, MLflow and Airflow on this machine."""
    from include.runtime import control
    from include.runtime.progress import reporter

    control.up(reporter(console))
    print_addresses()


@app.command()
def down() -> None:
    """Stop what `up` started; the state stays."""
    from include.runtime import control
    from include.runtime.progress import reporter

    control.down(reporter(console))


@app.command()
def demo(
    templates: Annotated[
        bool, typer.Option(help="Simulated tenants that together have every template.")
    ] = False,
) -> None:
    """Onboard the demo tenants and run a few weeks of their pipelines through Airflow."""
    from include.runtime import demo_stories
    from include.runtime.demo import run_demo

    run_demo(console, demo_stories.templates() if templates else demo_stories.stores())


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def airflow(context: typer.Context) -> None:
    """Airflow's own command line, with this installation's settings."""
    activate()
    # who triggers a run, Airflow reads from here
    environment = {**os.environ, "LOGNAME": operator()}
    command = [sys.executable, "-m", "airflow", *context.args]
    sys.exit(subprocess.call(command, env=environment))


# the fleet


@app.command()
def status(as_json: Json = False) -> None:
    """Every tenant and use case: what serves, how well, drift, retrains, incidents."""
    from include.pipeline.report import fleet_status
    from include.runtime import control
    from include.storage import ownership

    activate()
    found = fleet()
    try:
        refusals = ownership.refusals(found.tenants.values())
    except UnavailableError:  # the rows say whose database answers
        refusals = {}
    rows = fleet_status(found, stores(), control.status().airflow_url, refused=refusals)
    if as_json:
        print_json(rows)
        return
    print_table(console, rows, title="Fleet")
    for tenant_id, why in refusals.items():
        line = f"[yellow]not read:[/yellow] {escape(f'tenant {tenant_id}: {why}')}"
        console.print(line, soft_wrap=True)
    print_problems(found)


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A tenant's id, or `global.` and a use case.")
    ],
    use_case: Annotated[str | None, typer.Option(help="Only this use case of a tenant.")] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="ISO instant, or a day in the tenant's time zone. Of a tenant, the last interval "
            "over by then is run; a global model is trained with what was known then (a day is "
            "UTC's), by default as its schedule last did."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run every stage of one interval in this process, without Airflow.

    `global.churn` trains the global models of churn, of every region and of all regions, as the DAG
    of that name does. One that fails stops no other; the exit code is 1 then.
    """
    activate()
    models, now = global_models(fleet().tenants.values()), datetime.now(UTC)
    tenant = None if name in models else _tenant_to_run(name, models)
    if tenant is None and use_case is not None:
        raise ConfigError(f"{name} is of one use case; leave --use-case away")
    timezone = PLATFORM if tenant is None else tenant.timezone
    at = parse_instant(as_of, timezone) if as_of else None
    from include import wiring
    from include.pipeline import in_process

    told = None if as_json else lambda line: console.print(line, markup=False)
    connect = wiring.connect_from_environment
    if tenant is not None:
        results = in_process.run(tenant, at or now, use_case, connect, told)
    else:
        case, owners = models[name]
        results = in_process.run_global(case, owners, at, now=now, connect=connect, progress=told)
    if as_json:
        print_json(results)
    failed = [f"{one['owner'] or 'consent'}: {one['failed']}" for one in results if "failed" in one]
    if failed:
        raise TenantryError(f"{name} is not done: " + "; ".join(failed))


def global_models(
    tenants: Iterable[TenantConfig],
) -> dict[str, tuple[str, Iterable[TenantRef]]]:
    """Name of the DAG of global models → their use case, and who owns one."""
    return {global_dag_id(one): (one, owners) for one, owners in shared_use_cases(tenants).items()}


def _tenant_to_run(name: str, models: Iterable[str]) -> Any:
    """The tenant of that id; of another name, the error says what there is to run.

    Args:
        models: names of the global models that there are.
    """
    owner, case = split_dag_id(name)
    if owner == GLOBAL.id and case in use_cases.names():
        listed = ", ".join(models) or "none"
        raise ConfigError(
            f"there are no tenants to train {name} of: nobody who has {case} consents to pooling. "
            f"Say `pooling: {{consent: true}}` in the files of those who do; known: {listed}"
        )
    try:
        return one(name)
    except UnknownNameError as error:
        raise UnknownNameError("tenant or global model", name, [*error.known, *models]) from None


def print_addresses() -> None:
    """Where the user interfaces are, and the login."""
    from include.runtime import control
    from include.runtime.logins import describe

    print(*describe(control.status()), sep="\n")
