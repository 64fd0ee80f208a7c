"""`tenantry simulate`: a folder of simulated tenants, ready to be run."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from include import use_cases
from include.cli.shared import Json, console, print_json
from include.errors import ConfigError, UnknownNameError
from include.runtime.tables import print_table
from include.simulate.templates import TEMPLATES


class Format(StrEnum):
    """File formats of the sources."""

    parquet = "parquet"
    csv = "csv"


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where tenant files and data are written.")],
    business: Annotated[str, typer.Option(help=f"One of {', '.join(TEMPLATES)}.")] = "shop",
    tenants: Annotated[int, typer.Option(help="How many.")] = 2,
    users: Annotated[int, typer.Option(help="Per tenant.")] = 300,
    days: Annotated[int, typer.Option(help="Of history.")] = 200,
    seed: Annotated[int, typer.Option(help="The same one gives the same data.")] = 7,
    start: Annotated[str, typer.Option(help="First day.")] = "2024-01-01",
    deviation: Annotated[
        float, typer.Option(help="Share of a tenant's mechanism that is its own, 0 to 1.")
    ] = 0.2,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Such as concept,at=120,size=0.5 or late,share=0.1; may be repeated."),
    ] = None,
    use_case: Annotated[
        list[str] | None, typer.Option(help="May be repeated; those of the business if none.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Of the sources.")] = Format.parquet,
    force: Annotated[
        bool, typer.Option("--force", help="Write tenant files anew that are there already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write simulated tenants: their sources, their tenant files, and the truth about them."""
    from include.simulate.faults import parse_fault
    from include.simulate.simulation import open_tenant
    from include.simulate.sources import write_sources
    from include.simulate.world import TenantPlan, World

    if tenants < 1:
        raise ConfigError(f"--tenants {tenants}: a world has at least one tenant")
    world = World(
        seed=seed,
        business=business,
        tenants=tuple(
            TenantPlan(f"{business}-{number + 1}", users, deviation) for number in range(tenants)
        ),
        start=_day(start),
        days=days,
        faults=tuple(parse_fault(text) for text in fault or ()),
    )
    cases = _cases(business, tuple(use_case or ()))
    there = [plan.id for plan in world.tenants if (folder / f"{plan.id}.yaml").exists()]
    if there and not force:
        raise ConfigError(
            f"{folder} has files of {', '.join(there)}; --force writes them anew, and what was "
            "changed in them is lost"
        )
    rows = []
    for plan in world.tenants:
        opened = open_tenant(world, plan.id)

        def progress(done: int, total: int, tenant: str = plan.id) -> None:
            if not as_json:
                console.print(f"{tenant}: {done:,} of {total:,} users", markup=False)

        written = write_sources(opened, folder, cases, format.value, progress=progress)
        rows.append(
            {
                "tenant": written.tenant,
                "file": str(written.file),
                "users": opened.population.users,
                "events": written.events,
                "facts": written.facts,
                "use_cases": ", ".join(cases),
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(console, rows, title=str(folder))
    console.print(
        f"Run them with: export TENANTRY_TENANTS={folder.absolute()}; make up; then unpause "
        "{tenant}.pipeline in Airflow, or backfill it (docs/operations.md)",
        markup=False,
        soft_wrap=True,
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start {text!r} is not a day such as 2024-01-01") from None


def _cases(business: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    known = use_cases.names()
    for name in asked:
        if name not in known:
            raise UnknownNameError("use case", name, known)
    cases = asked or tuple(name for name in TEMPLATES[business] if name in known)
    if not cases:
        raise ConfigError(
            f"no use case of a {business} is known; name one with --use-case: "
            f"{', '.join(sorted(known))}"
        )
    return cases
