"""`tenantry audit`: whether ledgers and operators' actions are still what was written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from include.cli.shared import (
    Json,
    activate,
    console,
    fleet,
    one,
    owner_of,
    print_json,
    print_problems,
)
from include.runtime.tables import print_table
from include.tenants.namespace import is_global
from include.wall_clock import localised

Owner = Annotated[str, typer.Argument(metavar="TENANT", help="A tenant's id, or `global`.")]
app = typer.Typer(no_args_is_help=True, help="The chain of ledgers and operators' actions.")


@app.command("verify")
def verify(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this one, or `global`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the chains again and compare with ledgers and checkpoints; exit code 1 on a finding.

    Without a key (TENANTRY_AUDIT_KEY), whoever can write both the database and the folder of the
    checkpoints could have written all of it anew.
    """
    from include.pipeline.audit import verify_chains
    from include.storage import checkpoints

    problems: list[str] = []
    if tenant is None:
        loaded = fleet()
        tenants = list(loaded.tenants.values())
        problems = [line for lines in loaded.problems.values() for line in lines]
    else:
        tenants = [] if is_global(tenant) else [one(tenant)]
    activate()
    platform = tenant is None or is_global(tenant)
    report = verify_chains(tenants, everybody=tenant is None, platform=platform)
    signed = checkpoints.keys() is not None
    rows: list[dict[str, Any]] = []
    for chain in report.chains:
        point = report.covered.get(chain.owner)
        rows.append(
            {
                "owner": chain.owner,
                "entries": chain.entries,
                "rows": chain.rows,
                "head": chain.head.digest,
                "checkpoint": point[0].name if point else None,
                "since": chain.entries - (point[1].length if point else 0),
                "findings": [vars(finding) for finding in chain.findings],
            }
        )
    good = report.good and not problems
    if as_json:
        about = [vars(finding) for finding in report.about_checkpoints]
        print_json(
            {
                "good": good,
                "signed": signed,
                "chains": rows,
                "checkpoints": about,
                "unread": report.unread,
                "problems": problems,
            }
        )
    else:
        shown = [
            row | {"head": row["head"][:12], "findings": len(row["findings"]) or ""} for row in rows
        ]
        print_table(console, shown, title="Audit chains")
        for finding in report.findings:
            print(finding)
        for owner, why in report.unread.items():
            print(f"{owner}: not looked at: {why}")
        for line in problems:
            print(f"not looked at: {line}")
        print(_limits(signed, [row for row in rows if row["since"]]))
    if not good:
        raise typer.Exit(1)


def _limits(signed: bool, uncovered: list[dict[str, Any]]) -> str:
    """What could have happened all the same."""
    limits = []
    if not signed:
        limits.append(
            "checkpoints are taken as they are, as TENANTRY_AUDIT_KEY names no key: who can write "
            "their folder and the database could have written both anew"
        )
    if uncovered:
        entries = sum(row["since"] for row in uncovered)
        limits.append(
            f"{entries} entries are newer than any checkpoint: who owns the tables could have "
            "changed or cut these (`tenantry audit checkpoint` covers them)"
        )
    return "Not found would be: " + "; ".join(limits) if limits else "Everything is covered."


@app.command("checkpoint")
def checkpoint(as_json: Json = False) -> None:
    """Write down how far every chain has come; keep a copy of the line where nobody else writes."""
    from include.pipeline import audit

    loaded = fleet()
    activate()
    written, unread = audit.checkpoint(loaded.tenants.values(), datetime.now(UTC))
    if as_json:
        print_json(written.content | {"signature": written.signature, "unread": unread})
    else:
        print(f"{written.name}, {audit.line_of(written)}")
        for owner, why in unread.items():
            print(f"not in it: {owner}: {why}")
        print_problems(loaded)
    if unread or loaded.problems:
        raise typer.Exit(1)


@app.command("show")
def show(tenant: Owner, as_json: Json = False) -> None:
    """Every entry of a chain: what happened, when it was entered, and by whom."""
    from include.pipeline.audit import owners
    from include.storage.audit import entries

    if is_global(tenant):
        owner, timezone, _ = owner_of(tenant, None)
    else:  # where the record has it, whatever the file says by now
        config = one(tenant)
        activate()
        owner, timezone = owners([config], everybody=False)[-1], config.timezone
    rows = [
        {
            "number": entry.number,
            "recorded_at": entry.recorded_at,
            "actor": entry.actor,
            "action": entry.action,
            "details": entry.told,
            "digest": entry.digest,
        }
        for entry in entries(owner)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(console, [_shown(row, timezone) for row in rows], title=f"Audit chain of {tenant}")


def _shown(row: dict[str, Any], timezone: str) -> dict[str, Any]:
    told = [f"{name}: {value}" for name, value in row["details"].items() if value not in (None, "")]
    shown: dict[str, Any] = localised(row, timezone)
    return {**shown, "digest": row["digest"][:12], "details": told}
