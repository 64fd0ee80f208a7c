"""`tenantry tenants`: the tenants and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from include import use_cases
from include.cli.shared import (
    Json,
    TenantId,
    activate,
    console,
    fleet,
    one,
    print_json,
    print_problems,
)
from include.errors import ConfigError, IsolationError, SourceError
from include.runtime.tables import print_table
from include.tenants.config import TenantConfig
from include.tenants.loader import load_tenant, tenants_folder

app = typer.Typer(no_args_is_help=True, help="The tenants and their files.")


@app.command("list")
def list_tenants(as_json: Json = False) -> None:
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


@app.command("show")
def show(tenant: TenantId, as_json: Json = False) -> None:
    """One tenant's configuration, defaults included."""
    import yaml

    content = one(tenant).model_dump(mode="json")
    if as_json:
        print_json(content)
    else:
        print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")


@app.command("check")
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Files; all tenants if none.")] = None,
    sources: Annotated[
        bool,
        typer.Option("--sources", help="Look into the sources too: how their first rows map."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check tenant files, and whether the use cases can do what they ask; exit code 1 when one is
    bad."""
    good: dict[str, TenantConfig] = {}
    if files:
        problems: dict[str, Sequence[str]] = {}
        for path in files:
            try:
                good[str(path)] = load_tenant(path, use_cases.names())
            except ConfigError as error:
                problems[str(path)] = str(error).splitlines()
    else:
        found = fleet()
        problems = dict(found.problems)
        good = dict(found.tenants)
    for name, tenant in good.items():
        if asked := _problems(tenant):
            problems[name] = asked
    looks: list[dict[str, Any]] = []
    for name, tenant in good.items() if sources else ():
        found_here, failed = _looks(tenant)
        looks += found_here
        if failed:
            problems[name] = [*problems.get(name, ()), *failed]
    if as_json:
        print_json({"problems": problems} | ({"sources": looks} if sources else {}))
    else:
        if looks:
            print_table(console, [_shown(one) for one in looks], title="sources")
        for lines in problems.values():
            for line in lines:
                print(line)
        if not problems:
            print("all good")
    if problems:
        raise typer.Exit(1)


def _problems(tenant: TenantConfig) -> list[str]:
    """What the tenant asks of its use cases, and they cannot do: one line each."""
    from include.features.inputs import retention_problems

    found = []
    for name, override in tenant.use_cases.items():
        use_case = use_cases.get(name)
        found += retention_problems(tenant, use_case.features)
        try:
            use_case.with_seen(override.seen_items)
        except ConfigError as error:
            found.append(f"tenant {tenant.id}: {error}")
    return found


def _looks(tenant: TenantConfig) -> tuple[list[dict[str, Any]], list[str]]:
    """What the tenant's sources begin with, and which give nothing."""
    from include import wiring
    from include.ingestion.trial import look_into
    from include.storage.lake import Lake

    activate()
    lake = Lake.from_environment().root
    found, problems = [], []
    for source in tenant.sources:
        where = f"tenant {tenant.id}, source {source.name}"
        try:
            trial = look_into(
                tenant, source, forbidden=lake, connect=wiring.connect_from_environment
            )
        except (SourceError, IsolationError) as error:
            problems.append(f"{where}: {error}")
            continue
        found.append({"tenant": tenant.id} | asdict(trial) | {"good": trial.good})
        if not trial.rows:
            problems.append(
                f"{where}: no row since {tenant.history_from} that `where` lets through"
            )
        elif not trial.good:
            most = next(iter(trial.set_aside))
            problems.append(
                f"{where}: all of the first {trial.rows:,} rows would be set aside, most because: "
                f"{most}"
            )
    return found, problems


def _shown(look: dict[str, Any]) -> dict[str, str]:
    def counted(part: str) -> str:
        return "\n".join(f"{count:,} {name}" for name, count in look[part].items())

    first, last = (f"{look[name]:%Y-%m-%d}" if look[name] else "" for name in ("first", "last"))
    return {
        "tenant": look["tenant"],
        "source": look["source"],
        "rows looked at": f"{look['rows']:,}",
        "taken in": counted("kinds"),
        "from": first,
        "to": last,
        "set aside": counted("set_aside"),
    }


@app.command("add")
def add(
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
