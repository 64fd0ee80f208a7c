"""The `tenantry` command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from include import use_cases
from include.errors import ConfigError, TenantryError, UnknownNameError
from include.handoffs import instant
from include.runtime.tables import print_table
from include.tenants.loader import Fleet, find_tenant, load_fleet, load_tenant, tenants_folder

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Per-tenant machine learning pipelines on Airflow.",
)
tenants_app = typer.Typer(no_args_is_help=True, help="The tenants and their files.")
app.add_typer(tenants_app, name="tenants")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TenantId = Annotated[str, typer.Argument(metavar="TENANT", help="A tenant's id.")]
console = Console()


def main() -> None:
    """Run the command; a `TenantryError` becomes a message on stderr and exit code 1."""
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
def demo() -> None:
    """Onboard the demo tenants and run a few weeks of their pipelines through Airflow."""
    from include.runtime.demo import run_demo

    run_demo(console)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def airflow(context: typer.Context) -> None:
    """Airflow's own command line, with this installation's settings."""
    activate()
    sys.exit(subprocess.call([sys.executable, "-m", "airflow", *context.args]))


# the fleet


@app.command()
def status(as_json: Json = False) -> None:
    """Every tenant and use case: what serves, how well, drift, retrains, incidents."""
    from include.pipeline.report import fleet_status
    from include.runtime import control

    activate()
    rows = fleet_status(fleet(), control.status().airflow_url)
    if as_json:
        print_json(rows)
    else:
        print_table(console, rows, title="Fleet")
        print_problems(fleet())


@app.command()
def why(tenant: TenantId, use_case: str, as_json: Json = False) -> None:
    """Why a version serves: every promotion, verdict and retrain with its reasons."""
    from include.pipeline.report import explain

    activate()
    found = explain(one(tenant), use_case)
    if as_json:
        print_json(found)
        return
    for kind, rows in found.items():
        print_table(console, rows, title=kind.replace("_", " "))


@app.command()
def rollback(
    tenant: TenantId,
    use_case: str,
    to: Annotated[str | None, typer.Option(help="Version; the previous champion if none.")] = None,
    as_json: Json = False,
) -> None:
    """Let an earlier champion serve again, from the newest interval on."""
    from include import wiring
    from include.pipeline.runs import last_checked
    from include.registry.rollback import roll_back

    activate()
    config = one(tenant)
    if use_case not in config.use_cases:
        raise UnknownNameError("use case", use_case, config.use_cases, f"tenant {tenant}")
    done = roll_back(
        config.ref,
        use_case,
        to=to,
        as_of=last_checked(config),
        registry=wiring.platform(wiring.connect_from_environment).registry,
    )
    if as_json:
        print_json({"version": done.version, "from": done.incumbent_version, "as_of": done.as_of})
    else:
        print(f"{tenant}/{use_case}: version {done.version} serves from {done.as_of:%Y-%m-%d} on")


@app.command()
def run(
    tenant: TenantId,
    use_case: Annotated[str | None, typer.Option(help="Only this use case.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="ISO instant; the last interval over by then is run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run every stage of one interval in this process, without Airflow."""
    from include import wiring
    from include.pipeline import in_process

    activate()
    results = in_process.run(
        one(tenant),
        parse_instant(as_of) if as_of else datetime.now(UTC),
        use_case,
        wiring.connect_from_environment,
        progress=None if as_json else lambda line: console.print(line, markup=False),
    )
    if as_json:
        print_json(results)


# tenants


@tenants_app.command("list")
def tenants_list(as_json: Json = False) -> None:
    """The tenants, good and bad."""
    found = fleet()
    rows = [
        {
            "tenant": t.id,
            "name": t.name,
            "region": t.region,
            "isolation": t.isolation,
            "pooling": "yes" if t.pooling.consent else "no",
            "schedule": t.schedule,
            "use cases": ", ".join(t.use_cases),
        }
        for t in found.tenants.values()
    ]
    if as_json:
        print_json({"tenants": rows, "problems": found.problems})
    else:
        print_table(console, rows, title=str(tenants_folder()))
        print_problems(found)


@tenants_app.command("show")
def tenants_show(tenant: TenantId, as_json: Json = False) -> None:
    """One tenant's configuration, defaults included."""
    import yaml

    content = one(tenant).model_dump(mode="json")
    if as_json:
        print_json(content)
    else:
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")


@tenants_app.command("check")
def tenants_check(
    files: Annotated[list[Path] | None, typer.Argument(help="Files; all tenants if none.")] = None,
    as_json: Json = False,
) -> None:
    """Check tenant files; exit code 1 when one is bad."""
    if files:
        problems: dict[str, Sequence[str]] = {}
        for path in files:
            try:
                load_tenant(path, use_cases.names())
            except ConfigError as error:
                problems[str(path)] = str(error).splitlines()
    else:
        problems = dict(fleet().problems)
    if as_json:
        print_json({"problems": problems})
    else:
        for lines in problems.values():
            for line in lines:
                print(line)
        if not problems:
            print("all good")
    if problems:
        raise typer.Exit(1)


@tenants_app.command("add")
def tenants_add(
    file: Annotated[Path, typer.Argument(help="The tenant's YAML file.")], as_json: Json = False
) -> None:
    """Check a tenant file, put it with the others and make the tenant's database."""
    from include import wiring

    tenant = load_tenant(file, use_cases.names())
    if tenant.id in fleet().tenants:
        raise ConfigError(
            f"tenant {tenant.id!r} exists; edit its file in {tenants_folder()} instead"
        )
    activate()
    wiring.provision(tenant.ref)
    target = tenants_folder() / f"{tenant.id}.yaml"
    part = target.with_suffix(".part")
    part.write_bytes(file.read_bytes())
    part.replace(target)
    if as_json:
        print_json({"tenant": tenant.id, "file": target})
    else:
        print(f"added {tenant.id}: {target}; its DAGs appear within a minute")


# shared by the commands


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


def parse_instant(text: str) -> datetime:
    """An ISO instant; without an offset it means UTC."""
    try:
        return instant(text)
    except ValueError:
        raise ConfigError(f"--as-of {text!r} is not an instant such as 2017-10-23") from None


def print_addresses() -> None:
    """Where the user interfaces are, and the login."""
    from include.runtime import control

    found = control.status()
    password = json.loads(found.password_file.read_text())[found.user]
    console.print(f"Airflow  {found.airflow_url}  login {found.user} / {password}", highlight=False)
    console.print(f"MLflow   {found.mlflow_url}", highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_problems(found: Fleet) -> None:
    """What is wrong with the files that were left out."""
    for lines in found.problems.values():
        for line in lines:
            console.print(f"[yellow]ignored:[/yellow] {escape(line)}", soft_wrap=True)
