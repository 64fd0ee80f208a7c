"""`tenantry features skew`: what replays of scored vectors have found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.cli.shared import Json, TenantId, console, print_json, readable
from include.errors import UnknownNameError
from include.runtime.tables import print_table
from include.wall_clock import localised

if TYPE_CHECKING:
    from include.monitoring.skew_findings import SkewFinding
    from include.stage_runs import StageRun


def skew(
    tenant: TenantId,
    use_case: Annotated[
        str | None, typer.Argument(metavar="[USE_CASE]", help="Only this use case.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Features that, computed again, differ from the vectors a model used, and why."""
    from include import wiring
    from include.monitoring.skew_findings import CAUSES

    config = readable(tenant)
    if use_case is not None and use_case not in config.use_cases:
        raise UnknownNameError("use case", use_case, config.use_cases, f"tenant {tenant}")
    stores = wiring.stores()
    replays = [_replay(run) for run in stores.stage_runs.all_of(config.ref, "skew", use_case)]
    findings = stores.skew.all_of(config.ref, use_case)
    if as_json:
        print_json({"replays": replays, "mismatches": [_mismatch(finding) for finding in findings]})
        return
    print_table(console, localised(replays, config.timezone), title="Replays")
    mismatches = [
        {
            **_mismatch(finding),
            "cause": CAUSES[finding.cause],
            "difference": f"{size:.1e}"
            if (size := finding.mismatch.difference) is not None
            else "",
        }
        for finding in findings
    ]
    if mismatches:
        print_table(console, localised(mismatches, config.timezone), title="Features that differ")
    else:
        console.print("no feature differs", highlight=False)


def _replay(run: StageRun) -> dict[str, Any]:
    done = run.handoff
    return {
        "use_case": run.use_case,
        "as_of": run.end,
        "instants": len(done.instants),
        "rows": done.rows,
        "online_rows": done.online_rows,
        "features": done.features,
        "mismatched": len(done.mismatched),
    }


def _mismatch(finding: SkewFinding) -> dict[str, Any]:
    differs = finding.mismatch
    return {
        "use_case": finding.use_case,
        "as_of": finding.as_of,
        "feature": differs.feature,
        "path": finding.path,
        "cause": finding.cause,
        "mismatched": differs.mismatched,
        "compared": differs.compared,
        "difference": differs.difference,
        "first_row": differs.first,
        "model_version": finding.model_version,
    }
