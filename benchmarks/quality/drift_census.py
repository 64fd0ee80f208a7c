"""The control: census employment in Massachusetts, on which no alarm should fire.

People of 2015 with a model's prediction are the reference, those of 2016 to 2018 the windows. The
accuracy of the prediction stays at 0.825 to 0.829, so nothing is there for a retrain to repair. Who
is asked is drawn anew every year and the population hardly changes, hence the features and the
prediction should raise no alarm either, although they are not the same to the last digit. The file
has no time finer than the year: windows are a twelfth of a year's people each, dealt by seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality.wheels import data_file
from include.models.measures import EntityMetric, measure_rows
from include.monitoring.decisions import DriftEvidence, Performance, judge_drift
from include.monitoring.gate import WindowComparison, compare_windows
from include.monitoring.matured import calibration
from include.monitoring.profiles import profile_window
from include.monitoring.windows import bounded
from include.use_cases.drift_policy import DriftPolicy

WHEEL: Final = ("nannyml", "0.13.1")
FOLDER: Final = "nannyml/datasets/data"
WINDOWS: Final = 12  #: per year
_NOT_FEATURES: Final = ("id", "year", "employed", "prediction", "predicted_probability")


@dataclass(frozen=True)
class Control:
    """What the gate said about the windows."""

    windows: int
    alarms: tuple[str, ...]  #: their reasons
    largest_psi: float
    column: str  #: that it was seen in
    lowest_auc: float
    promoted_auc: float


def watch(seed: int = 1) -> Control:
    """Judge every window."""
    folder = data_file(*WHEEL, FOLDER)
    before = pq.read_table(f"{folder}/employment_MA_reference.pq")
    after = pq.read_table(f"{folder}/employment_MA_analysis.pq")
    target = pq.read_table(f"{folder}/employment_MA_analysis_target.pq")
    after = after.append_column("employed", target["employed"])
    policy = DriftPolicy(seed=seed)
    reference = profile_window(bounded(_window(before, 2015), policy.sample_rows, seed), ("id",))
    promoted = _auc(before)
    compared: list[WindowComparison] = []
    alarms, areas = [], []
    draw = np.random.default_rng(seed)
    for year in (2016, 2017, 2018):
        people = np.flatnonzero(after["year"].to_numpy() == year)
        for part in np.array_split(draw.permutation(people), WINDOWS):
            rows = after.take(pa.array(np.sort(part)))
            window = bounded(_window(rows, year), policy.sample_rows, seed)
            found = compare_windows(reference, profile_window(window, ("id",)), policy)
            live = _auc(rows)
            verdict = judge_drift(_evidence(found, promoted, live, reference.entities), policy)
            if verdict.name == "drift":
                alarms.append(f"{year}: {verdict.reason}")
            compared.append(found)
            areas.append(live.value)
    worst = max((c for found in compared for c in found.judged), key=lambda c: c.psi)
    return Control(
        len(compared), tuple(alarms), worst.psi, worst.column, min(areas), promoted.value
    )


def _evidence(
    found: WindowComparison, promoted: EntityMetric, live: EntityMetric, entities: int
) -> DriftEvidence:
    at = datetime(2016, 1, 1, tzinfo=UTC)
    rates = promoted.rates
    if rates is None or live.rates is None:
        raise AssertionError("the prediction is a probability, and the outcome yes or no")
    return DriftEvidence(
        "1",
        False,
        found.reference_entities,
        found.current_entities,
        found.columns,
        found.prediction,
        Performance(
            "auc",
            promoted.value,
            promoted.value - 1.96 * promoted.error,
            promoted.value + 1.96 * promoted.error,
            live.value,
            live.error,
            at,
        ),
        calibration(rates.outcome, rates.expected, entities, live.rates, at),
    )


def _window(rows: pa.Table, year: int) -> pa.Table:
    features = [name for name in rows.column_names if name not in _NOT_FEATURES]
    at = pa.scalar(datetime(year, 12, 31, tzinfo=UTC), pa.timestamp("us", tz="UTC"))
    table = rows.select(["id", *features]).append_column("as_of", pa.repeat(at, rows.num_rows))
    return table.append_column("prediction", rows["predicted_probability"])


def _auc(rows: pa.Table) -> EntityMetric:
    names = rows["id"].cast(pa.string()).to_pylist()
    outcome = rows["employed"].to_numpy().astype(np.float64)
    found = measure_rows("auc", names, outcome, rows["predicted_probability"].to_numpy())
    if found is None:
        raise AssertionError("some are employed and some are not")
    return found
