"""`tenants check --sources`: what the sources give, and whether that is what use cases read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from include import use_cases
from include.cli.shared import activate, console
from include.errors import IsolationError, SourceError
from include.runtime.tables import print_table
from include.tenants.config import TenantConfig
from include.wall_clock import local_day

if TYPE_CHECKING:
    from include.ingestion.trial import Trial

#: Kinds, or reasons, of a source that a table lists.
_MOST_LISTED: Final = 10


@dataclass
class Looked:
    """What there is to say of one tenant's sources."""

    tenant: TenantConfig
    trials: list[Trial] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """A mapping per source that could be read."""
        return [{"tenant": self.tenant.id} | trial.to_json() for trial in self.trials]


def look(tenant: TenantConfig) -> Looked:
    """Look into the tenant's sources, and hold what they give against what use cases read."""
    from include import wiring
    from include.ingestion.trial import LATER, look_into
    from include.pipeline.suitability import compare

    activate()
    lake = wiring.lake_files().root
    looked = Looked(tenant)
    for source in tenant.sources:
        where = f"tenant {tenant.id}, source {source.name}"
        try:
            trial = look_into(
                tenant, source, forbidden=lake, connect=wiring.connect_from_environment
            )
        except (SourceError, IsolationError) as error:
            looked.problems.append(f"{where}: {error}")
            continue
        looked.trials.append(trial)
        problem = _nothing_of(trial)
        if problem and (trial.complete or trial.eligible):
            looked.problems.append(f"{where}: {problem}")
        elif problem:
            looked.warnings.append(f"{where}: {problem}")
        elif future := trial.outside.get(LATER):
            looked.warnings.append(
                f"{where}: {future:,} of {trial.rows:,} rows arrived later than now; no run reads "
                "them before; correct the column that says when a row arrived, or its time zone"
            )
    trials = {trial.source: trial for trial in looked.trials}
    if any(trial.good for trial in looked.trials):
        wanted = [use_cases.get(name) for name in tenant.use_cases]
        findings = compare(tenant, wanted, trials, datetime.now(UTC))
        looked.problems += findings.problems
        looked.warnings += findings.warnings
    return looked


def _nothing_of(trial: Trial) -> str:
    """Why none of the rows would be taken in; empty where some would."""
    if not trial.rows:
        return "no row that `where` lets through"
    if trial.good:
        return ""
    which = "all" if trial.complete else "all of the first"
    if not trial.eligible:
        ways = ", ".join(f"{count:,} {name}" for name, count in trial.outside.items())
        return (
            f"{which} {trial.rows:,} rows are outside: {ways}; correct `history_from` or `until`, "
            "or the column that says when a row arrived"
        )
    most = next(iter(trial.set_aside))
    return f"all of the first {trial.eligible:,} rows would be set aside, most because: {most}"


def print_looks(looks: list[Looked]) -> None:
    """A table with a row for each source."""
    rows = [_shown(trial, looked.tenant) for looked in looks for trial in looked.trials]
    if rows:
        print_table(console, rows, title="sources")


def _shown(trial: Trial, tenant: TenantConfig) -> dict[str, str]:
    kinds = dict(trial.kinds)
    if trial.nameless:
        kinds["(no name)"] = trial.nameless
    first, last = (local_day(at, tenant.timezone) if at else "" for at in (trial.first, trial.last))
    return {
        "tenant, source": f"{tenant.id}\n{trial.source}",
        "rows": f"{'all' if trial.complete else 'the first'} {trial.rows:,}",
        "taken in": _counted({"row" if trial.good == 1 else "rows": trial.good} | kinds),
        "from, to": f"{first}\n{last}".strip(),
        "set aside": _counted(trial.set_aside),
        "outside": _counted(trial.outside),
    }


def _counted(counts: Mapping[str, int]) -> str:
    lines = [f"{count:,} {name}".rstrip() for name, count in counts.items()]
    more = len(lines) - _MOST_LISTED
    return "\n".join([*lines[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])])
