"""`tenantry reproduce`: versions made again and compared with what they were."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from include import use_cases
from include.cli.shared import (
    Json,
    activate,
    console,
    fleet,
    owner_of,
    platform,
    print_json,
)
from include.errors import TenantryError


def reproduce(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL@VERSION...", help="Without @VERSION: all of the model's."),
    ],
    as_json: Json = False,
) -> None:
    """Train versions again from what is recorded of them and compare; exit code 1 on a difference.

    A model is TENANT.USE_CASE, such as store-367.churn@3 or global.churn@2.
    """
    from include import wiring
    from include.registry.ancestry import ModelName
    from include.training.reproduction import reproduce as make_again

    names = [ModelName.parse(text) for text in models]
    owners = [owner_of(name.tenant, name.use_case)[0] for name in names]
    activate()
    here = platform()
    versions = here.registry
    rows: list[dict[str, Any]] = []
    for owner, name in zip(owners, names, strict=True):
        every = versions.versions(owner, name.use_case)
        wanted = [versions.get(owner, name.use_case, name.version)] if name.version else every
        for version in wanted:
            row: dict[str, Any] = {"model": str(ModelName.of(version)), "rung": version.rung}
            try:
                made = make_again(
                    owner,
                    version,
                    use_cases.get(name.use_case),
                    fleet=fleet().tenants,
                    registry=versions,
                    promotions=here.stores.promotions,
                    lake=here.lake,
                    code_revision=wiring.code_revision(),
                )
            except TenantryError as error:
                row |= {"identical": False, "how": f"not possible: {error}"}
            else:
                row |= {"identical": made.identical, "how": made.how}
                for kind, checks in (
                    ("checks", made.checks),
                    ("circumstances", made.circumstances),
                ):
                    row[kind] = [
                        {"what": c.what, "same": c.same, "recorded": c.recorded, "found": c.found}
                        for c in checks
                    ]
            rows.append(row)
            if not as_json:
                _print(row)
    if as_json:
        print_json(rows)
    else:
        same = sum(row["identical"] for row in rows)
        console.print(f"{same} of {len(rows)} versions are identical", highlight=False)
    if not all(row["identical"] for row in rows):
        raise typer.Exit(1)


def _print(row: dict[str, Any]) -> None:
    """The verdict, what was compared, and both values of whatever is not the same."""
    state = "[green]identical[/green]" if row["identical"] else "[red]differs[/red]"
    console.print(
        f"{escape(row['model'])} {state}: {escape(row['how'])}", highlight=False, soft_wrap=True
    )
    same = [check["what"] for check in row.get("checks", ()) if check["same"]]
    if same:
        console.print(f"  the same: {', '.join(same)}", markup=False, highlight=False)
    for check in (*row.get("checks", ()), *row.get("circumstances", ())):
        if not check["same"]:
            text = f"  {check['what']}: was {check['recorded']}, is {check['found']}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
