"""`tenantry report`: the page of a drift verdict, drawn where nobody has looked at it yet."""

from __future__ import annotations

from typing import Annotated

import typer

from include.cli.shared import (
    Json,
    TenantId,
    activate,
    changing,
    console,
    parse_day,
    print_json,
    readable,
    stores,
)
from include.errors import UnknownNameError
from include.wall_clock import local


def report(
    tenant: TenantId,
    use_case: str,
    on: Annotated[
        str | None, typer.Option(help="The newest window of this day, such as 2017-03-14.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Evidently's page of the newest drift verdict, with the verdict and its reasons on top."""
    config = readable(tenant)
    if use_case not in config.use_cases:
        raise UnknownNameError("use case", use_case, config.use_cases, f"tenant {config.id}")
    day = None if on is None else parse_day(on)
    activate()
    from include import wiring
    from include.pipeline.drift_pages import drawn, verdict_on

    verdict = verdict_on(config, use_case, stores(), day)
    with changing(config.ref):
        platform = wiring.platform(wiring.connect_from_environment)
        page = drawn(platform, config, use_case, verdict.report_path)
    path = platform.lake.file_path(config.ref, page)
    if as_json:
        print_json(
            {
                "as_of": verdict.as_of,
                "model_version": verdict.model_version,
                "verdict": verdict.verdict,
                "page": path,
            }
        )
        return
    at = local(verdict.as_of, config.timezone)
    console.print(f"{verdict.verdict.replace('_', ' ')} at {at}: {path}", markup=False)
