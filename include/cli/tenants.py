"""`tenantry tenants`: the tenants and their files."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from include import use_cases
from include.cli.consent import withdraw_consent
from include.cli.gone_sources import gone_sources
from include.cli.looks import look, print_looks
from include.cli.shared import (
    Json,
    TenantId,
    activate,
    console,
    fleet,
    installation_there,
    one,
    print_json,
    print_problems,
)
from include.errors import (
    ConfigError,
    IsolationError,
    UnavailableError,
)
from include.redaction import shown_address, without_secrets
from include.runtime.tables import print_table
from include.tenants import yaml_text
from include.tenants.config import TenantConfig
from include.tenants.loader import load_tenant, tenants_folder

if TYPE_CHECKING:
    from include.pipeline.removal import Inventory

app = typer.Typer(no_args_is_help=True, help="The tenants and their files.")
app.command()(withdraw_consent)
log = logging.getLogger(__name__)


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
            "pooling": _pooling(t),
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


def _pooling(tenant: TenantConfig) -> str:
    if not tenant.pooling.consent:
        return "no"
    return "across regions" if tenant.pooling.across_regions else "yes"


@app.command("show")
def show(tenant: TenantId, as_json: Json = False) -> None:
    """One tenant's configuration, defaults included; logins in its URLs are masked."""
    content = one(tenant).model_dump(mode="json", by_alias=True)
    for source in content["sources"]:
        source["connector"] = _masked(source["connector"])
    if as_json:
        print_json(content)
    else:
        print(yaml_text.write(content), end="")


def _masked(value: Any) -> Any:
    """A connector's configuration; a text in it that holds a secret is shown as an address is."""
    if isinstance(value, dict):
        return {key: _masked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_masked(part) for part in value]
    hides = isinstance(value, str) and without_secrets(value) != value
    return shown_address(value) if hides else value


@app.command("check")
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Files; all tenants if none.")] = None,
    sources: Annotated[
        bool,
        typer.Option("--sources", help="Look into the sources too: is there what use cases read?"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check tenant files, and whether the use cases can do what they ask; exit code 1 when one is
    bad. What follows from a good file and may not be meant is said, too."""
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
    notices: dict[str, list[str]] = {}
    for name, tenant in good.items():
        refused = _ownership_problems(tenant)
        if asked := [*_problems(tenant), *_expression_problems(tenant), *refused]:
            problems[name] = asked
        if not refused and (told := gone_sources(tenant)):
            notices[name] = told
    looks = [look(tenant) for tenant in good.values()] if sources else []
    warnings: dict[str, Sequence[str]] = {}
    for name, looked in zip(good, looks, strict=False):
        if looked.problems:
            known = problems.get(name, ())
            problems[name] = list(dict.fromkeys([*known, *looked.problems]))
        if looked.warnings:
            warnings[name] = looked.warnings
    if as_json:
        said: dict[str, Any] = {"problems": problems, "warnings": warnings, "notices": notices}
        shown = [one for looked in looks for one in looked.to_json()]
        print_json(said | ({"sources": shown} if sources else {}))
    else:
        print_looks(looks)
        for line in (*chain(*problems.values()), *chain(*notices.values())):
            print(line)
        for line in chain(*warnings.values()):
            print(f"warning: {line}")
        if not problems and not warnings:
            print("all good")
    if problems:
        raise typer.Exit(1)


def _problems(tenant: TenantConfig) -> list[str]:
    """What the tenant asks of its use cases, and they cannot do: one line each."""
    from include.features.reach import retention_problems

    found = []
    for name, override in tenant.use_cases.items():
        use_case = use_cases.get(name)
        found += retention_problems(tenant, use_case.features)
        horizon, kept = use_case.label.horizon, tenant.retention.predictions
        if kept <= horizon:
            found.append(
                f"tenant {tenant.id}: labels of {name} are known after {horizon.days} days, and "
                f"`retention.predictions` keeps predictions for {kept.days}, so no live metric is "
                "ever measured; keep them for longer than that and an interval of the schedule"
            )
        try:
            use_case.with_seen(override.seen_items)
        except ConfigError as error:
            found.append(f"tenant {tenant.id}: {error}")
    return found


def _expression_problems(tenant: TenantConfig) -> list[str]:
    """What DuckDB says about the tenant's expressions, where it has some."""
    if not any(True for source in tenant.sources for _ in source.expressions()):
        return []
    from include.ingestion.expressions import expression_problems

    return expression_problems(tenant)


def _ownership_problems(tenant: TenantConfig) -> list[str]:
    """Why the tenant may not have its id; nothing where there is no installation to ask."""
    if not installation_there():
        return []
    from include.storage import ownership

    activate()
    try:
        ownership.owner_of(tenant.id)
    except UnavailableError as error:
        log.warning("whose the id %s is was not looked up: %s", tenant.id, error)
        return []
    try:
        ownership.check(tenant)
    except (ConfigError, IsolationError, UnavailableError) as error:
        return [f"tenant {tenant.id}: {error}"]
    return []


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="The tenant's YAML file.")], as_json: Json = False
) -> None:
    """Check a tenant file, give it a key, put it with the others and make the tenant's database.

    The key tells this tenant from another one that is given the same id later. An id with data of
    somebody else is refused.
    """
    from include import wiring
    from include.cli.identity import operator
    from include.storage import ownership, rows

    tenant = load_tenant(file, use_cases.names())
    if tenant.id in fleet().tenants:
        raise ConfigError(
            f"tenant {tenant.id!r} exists; edit its file in {tenants_folder()} instead"
        )
    if problems := _expression_problems(tenant):
        raise ConfigError("\n".join(problems))
    activate()
    target = tenants_folder() / f"{tenant.id}.yaml"
    part = target.with_suffix(".part")
    keyed = _with_key(file, part, tenant)
    try:
        ownership.check(keyed)
        wiring.provision(keyed.ref)
        if keyed.isolation == "silo" and ownership.owner_of(keyed.id) is not None:
            rows.continue_chain(keyed.ref)
        part.replace(target)
        ownership.claim(keyed, actor=operator())  # killed before: its first run claims the id
    except UnavailableError as error:
        if keyed.isolation == "silo" or not part.exists():
            raise
        part.replace(target)
        log.warning("its first run claims the id, or is refused: %s", error)
    finally:
        part.unlink(missing_ok=True)
    notices = gone_sources(keyed)
    if as_json:
        print_json({"tenant": tenant.id, "file": target, "notices": notices})
    else:
        for line in notices:
            print(line)
        print(f"added {tenant.id}: {target}; its DAGs appear within a minute")


def _with_key(file: Path, part: Path, tenant: TenantConfig) -> TenantConfig:
    """Write the file to `part`, with a key of its own unless it has one; the tenant it then is."""
    content = file.read_bytes()
    if tenant.key is None:
        line = f"key: {secrets.token_hex(16)}  # made by `tenantry tenants add`; keep it"
        content = content.rstrip() + b"\n" + line.encode() + b"\n"
    part.write_bytes(content)
    try:
        keyed = load_tenant(part, use_cases.names())
    except ConfigError:
        keyed = tenant
    if keyed.key is None:
        part.unlink()
        raise ConfigError(
            f"{file.name}: a `key` cannot be added at its end; write the file as a plain mapping, "
            f"or add the line yourself: key: {secrets.token_hex(16)}"
        )
    return keyed


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("remove")
def remove(
    tenant: TenantId,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase everything, so that the id is free again.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Retire a tenant. Its data is sealed: nobody reads it, and retention goes on; with --erase it
    is erased everywhere."""
    from include.cli.identity import operator
    from include.pipeline import removal

    activate()
    there = removal.inventory(tenant)
    if not as_json:
        _print_inventory(there)
    if dry_run:
        if as_json:
            print_json(there.to_json() | {"dry_run": True})
        return
    question = f"{'Erase' if erase else 'Seal'} all of this"
    if not yes:
        if as_json or not console.is_terminal:
            raise ConfigError("nobody is there to be asked; look at --dry-run, then pass --yes")
        if typer.prompt(f"{question}? The tenant's id, to confirm") != tenant:
            raise ConfigError("that is not the tenant's id; nothing was done")
    owner = removal.remove(
        tenant, erase=erase, by=operator(), progress=lambda line: None if as_json else print(line)
    )
    if as_json:
        print_json(there.to_json() | {"dry_run": False, "state": owner.state})
    elif owner.state == "erased":
        print(f"{tenant} is erased; its id is free for a new tenant")
    else:
        print(
            f"{tenant} is sealed. `tenantry tenants remove {tenant} --erase` erases it, `tenantry "
            f"tenants unseal {tenant}` lets it go on"
        )


@app.command("move")
def move(tenant: TenantId, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Move a tenant's data to the region and isolation that its file says; the old copy is erased
    once the new one was compared with it. What the old region's global models learnt from the
    tenant is withdrawn."""
    from include.cli.identity import operator
    from include.pipeline import moving

    activate()
    config = one(tenant)

    def told(line: str) -> None:
        if not as_json:
            print(line)

    if dry_run:
        found = moving.plan(config)
        if found is not None:
            found = replace(found, withdrawn=moving.would_withdraw(config))
    else:
        found = moving.move(config, by=operator(), progress=told)
    if as_json:
        print_json({"dry_run": dry_run, "move": None if found is None else asdict(found)})
        return
    if found is None:
        print(f"the data of {tenant} lies where its file says; nothing to move")
        return
    for effect in found.withdrawn if dry_run else ():
        print(f"{effect.tenant}/{effect.use_case}: would be {effect.outcome}. {effect.reason}")
    places = " to ".join(f"{ref.region} ({ref.isolation})" for ref in (found.source, found.target))
    what = f"{found.files:,} files of {found.bytes:,} bytes and {found.rows:,} rows"
    print(f"{tenant}: {what} {'would be moved' if dry_run else 'moved'} from {places}")


@app.command("unseal")
def unseal(tenant: TenantId, as_json: Json = False) -> None:
    """Let a tenant go on whose data was sealed, with the file that it had."""
    from include.cli.identity import operator
    from include.pipeline import removal

    activate()
    owner = removal.unseal(tenant, by=operator())
    if as_json:
        print_json({"tenant": tenant, "state": owner.state})
    else:
        print(f"{tenant} goes on; its DAGs appear within a minute")


def _print_inventory(there: Inventory) -> None:
    found = [
        {"place": one.place, "there": f"{one.count:,} {one.unit}", "bytes": f"{one.bytes:,}"}
        for one in there.amounts
    ]
    print_table(console, found, title=f"What there is of {there.tenant}")
    for line in there.unknown:
        console.print(f"[yellow]not looked at:[/yellow] {escape(line)}", soft_wrap=True)
