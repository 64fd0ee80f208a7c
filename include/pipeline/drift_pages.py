"""Pages of drift that nobody had looked at yet: drawn from what their figures name.

A run draws a page where its window drifted or its model was promoted. Of any other window the page
is made when somebody asks, and kept: the figures name the rows that were judged, the version and
the policy, so that it is the page that the run would have drawn.
"""

from __future__ import annotations

import json
import sys
from datetime import date

from include import use_cases, wiring
from include.errors import ConfigError
from include.handoffs import Interval
from include.models.model import row_scores
from include.monitoring.drift_page import draw, page_of
from include.monitoring.drift_records import DriftVerdict
from include.monitoring.judgement import judged
from include.monitoring.windows import with_prediction
from include.pipeline import live_evidence, serving
from include.pipeline.runs import Run
from include.storage import ownership
from include.stores import Stores
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant, tenants_folder
from include.wall_clock import local, local_day


def verdict_on(
    tenant: TenantConfig, use_case: str, stores: Stores, day: date | None
) -> DriftVerdict:
    """The newest verdict, or the newest of a day on the tenant's clocks.

    Raises:
        ConfigError: there is none, or nothing was compared for it.
    """
    verdicts = stores.drift.verdicts(tenant.ref, use_case)
    found = [
        verdict
        for verdict in verdicts
        if day is None or local_day(verdict.as_of, tenant.timezone) == day.isoformat()
    ]
    if not found:
        days = dict.fromkeys(local_day(one.as_of, tenant.timezone) for one in verdicts)
        known = f"the newest are of {', '.join([*days][-5:])}" if days else "there is none yet"
        on = f" on {day}" if day else ""
        raise ConfigError(f"no drift verdict about {tenant.id}/{use_case}{on}; {known}")
    newest = found[-1]
    if not newest.report_path:
        at = local(newest.as_of, tenant.timezone)
        raise ConfigError(
            f"{tenant.id}/{use_case} at {at}: {newest.verdict.replace('_', ' ')}, so that nothing "
            f"was compared and there is no page ({'; '.join(newest.reasons)})"
        )
    return newest


def drawn(platform: wiring.Platform, tenant: TenantConfig, use_case: str, figures: str) -> str:
    """Path of the page that belongs to a file of figures; drawn and kept where it is not there.

    Args:
        figures: `report_path` of a verdict, relative to the tenant's part of the lake.

    Raises:
        ConfigError: retention has taken the figures.
        IntegrityError: rows or a version are not what the figures name.
    """
    lake, page = platform.lake, page_of(figures)
    if lake.file_path(tenant.ref, page).is_file():
        return page
    kept = lake.file_path(tenant.ref, figures)
    if not kept.is_file():
        raise ConfigError(
            f"{tenant.id}/{use_case}: {figures} is gone, as predictions are kept for "
            f"{tenant.retention.predictions.days} days; draw pages of later windows"
        )
    judgement = judged(json.loads(kept.read_text(encoding="utf-8")))
    since = judgement.since or judgement.until
    run = Run(platform, tenant, Interval(since, judgement.until)).about(use_case)
    case = run.the_use_case()
    version, model = serving.version(platform, tenant.ref, use_case, judgement.version)
    rows = lake.get_table(tenant.ref, judgement.features)
    window = with_prediction(rows, row_scores(model, rows, case.entity))
    reference = live_evidence.champion(run, version).read()
    content = draw(tenant, use_case, judgement, reference, window, case.keys)
    return lake.put(tenant.ref, page, content.encode()).path


def main(tenant_id: str, use_case: str, figures: str) -> None:
    """Draw one page in a process of its own: Evidently is too large for a server to hold."""
    tenant = find_tenant(tenants_folder(), tenant_id, use_cases.names())
    with ownership.at_work(tenant.id):
        ownership.check(tenant)  # it may have been moved or removed since the page was asked for
        drawn(wiring.platform(wiring.connect_from_environment), tenant, use_case, figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
