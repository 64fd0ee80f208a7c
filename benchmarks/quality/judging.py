"""One tenant's models, fitted before a cut and judged on later snapshots, beside its baselines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import Interval
from include.models.model import Model, Scores
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.contenders import baselines
from include.training.dataset import Dataset, Pinned, labelled_rows
from include.training.fitting import fit_best
from include.training.metrics import Intervals
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase

Figures = dict[str, Any]

#: Of a tenant whose tables are written into the lake as they are: nobody reads this source.
_SOURCE: Final = {
    "name": "events",
    "connector": {"type": "file", "path": "events.parquet", "format": "parquet"},
    "events": {
        "event_column": "event",
        "event_id": ["event_id"],
        "event_timestamp": "event_timestamp",
        "user_id": "user_id",
    },
}


def main(measure: Callable[[], Figures], protocol: str | None) -> None:
    """The command of a benchmark: measure, and write the figures where `--json` says."""
    parser = argparse.ArgumentParser(description=protocol)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found = measure()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True))


def tenant_of(
    name: str, use_case: UseCase, timezone: str = "UTC", **settings: object
) -> TenantConfig:
    """A tenant with one use case, whose tables `load` writes."""
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "benchmark",
            "timezone": timezone,
            "schedule": "0 4 1 * *",
            "history_from": "1997-01-01",
            "sources": [_SOURCE],
            "use_cases": {use_case.name: settings},
        }
    )


@dataclass(frozen=True)
class Judged:
    """Later rows, and what each model says of them: the fitted one first, then the baselines."""

    use_case: UseCase
    rows: LabelledRows
    scores: Mapping[str, Scores]
    model: Model
    data: Dataset


def pin(tenant: TenantConfig, lake: Lake) -> Pinned:
    """The tenant's tables as they are."""
    return Pinned(
        tenant, lake.version(tenant.ref, "events"), lake.version(tenant.ref, "attributes")
    )


def load(
    lake: Lake, tenant: TenantConfig, events: pa.Table, attributes: pa.Table, whole: Interval
) -> None:
    """Write canonical tables as the tenant's."""
    for kind, table in (("events", events), ("attributes", attributes)):
        for source in pc.unique(table["source"]).to_pylist():
            rows = table.filter(pc.equal(table["source"], source))
            lake.replace_slice(tenant.ref, kind, source, whole, rows.to_batches())


def judge(
    use_case: UseCase,
    tenant: TenantConfig,
    lake: Lake,
    *,
    since: datetime,
    cut: datetime,
    later: Sequence[datetime],
    end: datetime,
    earlier: Sequence[datetime] = (),
) -> Judged:
    """Fit on every snapshot whose labels were known at `cut`, then score the later snapshots.

    Estimator and settings are chosen within training, on its newest snapshot.

    Args:
        since: where the data begins.
        later: snapshots at or after the cut, so that training knows none of their labels.
        end: when everything about them is known.
        earlier: training snapshots; else those that the use case's steps give.
    """
    if min(later) < cut:
        raise ValueError(f"a test snapshot lies before the cut at {cut}")
    pinned, rules = pin(tenant, lake), use_case.snapshots
    steps = [cut - use_case.reach - rules.every * step for step in range(rules.training)]
    if not earlier:
        earlier = sorted(at for at in steps if at >= since + rules.minimum_history)
    training = labelled_rows(use_case, pinned, earlier, cut, lake)
    rows = labelled_rows(use_case, pinned, later, end, lake)
    if training is None or rows is None:
        raise ValueError("no row has a label")
    windows = TrainingWindows(tuple(earlier), tuple(later), cut)
    data = Dataset(training, rows, windows)
    fitted = fit_best(use_case, training, windows, use_case.reach)
    models = {fitted.model.kind: fitted.model}
    models |= {one.name: one.model for one in baselines(use_case, data)}
    scores = {name: model.predict(rows.features) for name, model in models.items()}
    return Judged(use_case, rows, scores, fitted.model, data)


def report(
    title: str,
    use_case: UseCase,
    rows: LabelledRows,
    scores: Mapping[str, Scores],
    levels: bool = False,
) -> Figures:
    """Every metric of every model and how much the first one is better, printed and returned.

    Args:
        levels: also `brier_skill` of models that are no baseline; rules of thumb have no level.
    """
    intervals = Intervals(rows, use_case.reach)
    ours = next(iter(scores))
    base = float(np.average(rows.label, weights=rows.weight))
    usual = f"mean {base:.2f}" if use_case.task == "regression" else f"{100 * base:.2f} % positive"
    print(f"\n{title}: {len(rows):,} rows, {intervals.entities:,} entities, {usual}")
    figures: Figures = {"rows": len(rows), "entities": intervals.entities, "base_rate": base}
    for metric in use_case.metrics:
        for name, found in scores.items():
            if metric == "brier_skill" and name != ours:
                continue
            estimate = intervals.estimate(metric, found)
            figures[f"{metric} {name}"] = [estimate.value, estimate.low, estimate.high]
            print(f"  {metric:18}{name:20}{_cell(estimate.value, estimate.low, estimate.high)}")
        for name in [one for one in scores if one != ours and metric != "brier_skill"]:
            gap = intervals.difference(metric, scores[ours], scores[name])
            figures[f"{metric} {ours} − {name}"] = [gap.value, gap.low, gap.high]
            print(f"  {metric:18}− {name:18}{_cell(gap.value, gap.low, gap.high)}")
    return figures


def reliability(label: npt.NDArray[np.float64], scores: Scores, bins: int = 10) -> Figures:
    """Predicted against observed, in bins of equally many rows, and their mean absolute gap (ECE).

    The expected calibration error is that of Naeini, Cooper and Hauskrecht (AAAI 2015) with bins
    of equal mass.
    """
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    table = [(float(scores[p].mean()), float(label[p].mean()), len(p)) for p in parts]
    error = sum(abs(said - seen) * n for said, seen, n in table) / len(label)
    print(f"  expected calibration error {error:.4f}")
    print("  predicted  observed  rows")
    for said, seen, n in table:
        print(f"  {said:9.3f}  {seen:8.3f}  {n:,}")
    return {"ece": error, "reliability": table}


def _cell(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return (
        f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
    )
