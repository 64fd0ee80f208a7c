"""`tenantry suspicion`: what may carry the outcome it is to predict, and what people say to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from include.cli.identity import operator
from include.cli.rollback import newest_interval
from include.cli.shared import (
    Json,
    activate,
    changing,
    console,
    fleet,
    global_owners,
    owner_of,
    platform,
    print_json,
    print_problems,
    stores,
)
from include.runtime.tables import print_table
from include.tenants.namespace import TenantRef
from include.wall_clock import PLATFORM, localised, reread_day

Owner = Annotated[
    str, typer.Argument(metavar="TENANT", help="A tenant's id, `global` or `global-REGION`.")
]
Because = Annotated[str, typer.Option(help="Why, for the history.")]
app = typer.Typer(
    no_args_is_help=True,
    help="Suspected target leakage: columns that may carry the outcome they are to predict.",
)


@app.command("list")
def list_suspicions(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this owner's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every suspicion: about what, why, which version it holds back, what was said to it."""
    loaded = None if tenant else fleet()
    activate()
    if tenant:
        owner, zone, cases = owner_of(tenant, None)
        owners = [(owner, zone, cases)]
    else:
        assert loaded is not None  # read where no owner is named
        known = sorted({case for config in loaded.tenants.values() for case in config.use_cases})
        owners = [(owner, PLATFORM, known) for owner in global_owners()]
        owners += [
            (config.ref, config.timezone, list(config.use_cases))
            for config in loaded.tenants.values()
        ]
    rows = [
        (row, zone)
        for owner, zone, cases in owners
        for case in cases
        for row in _rows(owner, case, zone)
    ]
    if as_json:
        print_json([row for row, _ in rows])
        return
    shown = [localised(row, zone) for row, zone in rows]
    print_table(console, shown, title="Suspected target leakage")
    if loaded:
        print_problems(loaded)


@app.command("dismiss")
def dismiss(tenant: Owner, use_case: str, because: Because, as_json: Json = False) -> None:
    """Say that it is none: the version that was held back serves, and it is not suspected again.

    That holds for every later training, as long as the source maps it as it does now.
    """
    from include.registry import release

    owner, _, (case,) = owner_of(tenant, use_case)
    activate()
    here = platform()
    with changing(owner):
        done = release.dismiss(
            owner,
            case,
            because=because,
            by=operator(),
            at=datetime.now(UTC),
            as_of=newest_interval(owner),
            registry=here.registry,
            promotions=here.stores.promotions,
            incidents=here.stores.incidents,
        )
    _tell(tenant, case, done, as_json)


@app.command("confirm")
def confirm(tenant: Owner, use_case: str, because: Because, as_json: Json = False) -> None:
    """Say that it is one: what reads it is held back until the source maps it otherwise."""
    from include.registry import release

    owner, _, (case,) = owner_of(tenant, use_case)
    activate()
    rows = stores()
    with changing(owner):
        done = release.confirm(
            owner,
            case,
            because=because,
            by=operator(),
            at=datetime.now(UTC),
            promotions=rows.promotions,
            incidents=rows.incidents,
        )
    _tell(tenant, case, done, as_json)


def _tell(tenant: str, use_case: str, done: Any, as_json: bool) -> None:
    if as_json:
        print_json({"tenant": tenant, "use_case": use_case, **done.__dict__})
    else:
        origins = ", ".join(done.origins)
        print(f"{tenant}/{use_case}: {done.answer} that {origins} is a leak. {done.reason}")


def _rows(owner: TenantRef, use_case: str, timezone: str) -> list[dict[str, Any]]:
    from include.registry.incidents import suspected

    return [
        {
            "tenant": owner.id,
            "use_case": use_case,
            "as_of": incident.as_of,
            "suspected": [str(suspicion) for suspicion in incident.suspicions],
            "held back": incident.version,
            "answers": [
                f"{verdict.answer} {verdict.origin} by {verdict.by} on "
                f"{reread_day(verdict.at, timezone)}: {verdict.because}"
                for verdict in incident.verdicts
            ],
            "open": incident.closed_at is None,
        }
        for incident in suspected(stores().incidents, owner, use_case)
    ]
