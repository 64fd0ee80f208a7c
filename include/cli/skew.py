"""`tenantry features skew`: what replays of scored vectors have found."""

from __future__ import annotations

from typing import Annotated

import typer

from include.cli.shared import Json, TenantId, activate, console, one, print_json
from include.errors import UnknownNameError
from include.runtime.tables import print_table


def skew(
    tenant: TenantId,
    use_case: Annotated[
        str | None, typer.Argument(metavar="[USE_CASE]", help="Only this use case.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Features that, computed again, differ from the vectors a model used, and why."""
    from include.monitoring.skew_ledger import CAUSES, history

    config = one(tenant)
    if use_case is not None and use_case not in config.use_cases:
        raise UnknownNameError("use case", use_case, config.use_cases, f"tenant {tenant}")
    activate()
    found = history(config.ref, use_case)
    if as_json:
        print_json(found)
        return
    print_table(console, found["replays"], title="Replays")
    mismatches = [
        {
            **row,
            "cause": CAUSES[row["cause"]],
            "difference": "" if row["difference"] is None else f"{row['difference']:.1e}",
        }
        for row in found["mismatches"]
    ]
    if mismatches:
        print_table(console, mismatches, title="Features that differ")
    else:
        console.print("no feature differs", highlight=False)
