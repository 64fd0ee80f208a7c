"""Fraud on simulated payments, and the anomaly score alone on Shuttle.

Payments are simulated (`include/simulate`: 4,000 users, 330 days, about 1.1 % frauds in bursts, at
night and by takeovers, of which 85 % are disputed, 18 days later on average; 0.05 % of the honest
payments are disputed too). Protocol:

- Supervised: trained on every snapshot whose disputes were known at the cut, tested on the payments
  of the six weeks after it. The label is a dispute within 45 days; beside it the same scores are
  measured against what truly was a fraud, which no model is ever shown.
- Without labels: the same payments of a tenant that never reports a dispute; ECOD is all there is.
- Shuttle (49,097 rows, 7.2 % anomalies, real): fitted without labels on 60 % of the rows, measured
  on the others (as Li et al. 2022 split), beside scikit-learn's isolation forest and the largest
  deviation from the median.

Intervals of 95 % come from a bootstrap of users, on Shuttle of rows. The time of one event is that
of `Model.predict` on one row of features in process, the median of many.

    python -m benchmarks.quality.fraud [--json FILE]
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import IsolationForest

from benchmarks.quality.judging import Figures, Judged, judge, load, main, report, tenant_of
from benchmarks.quality.simulated import Simulated, simulate_tenant
from benchmarks.quality.wheels import data_file
from include import use_cases
from include.handoffs import Interval
from include.models import ecod
from include.models.model import Model
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.training.contenders import baselines
from include.training.rows import LabelledRows, repeated
from include.use_cases.spines import request_spine

DECLARED = use_cases.get("fraud")
#: Of everybody, not of a sample.
FRAUD = replace(DECLARED, snapshots=replace(DECLARED.snapshots, entities=1_000_000))
SEED = 11
START = datetime(2024, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=240)
LATER = [CUT + timedelta(days=14 * step) for step in range(3)]
END = START + timedelta(days=330)
WORLD = World(SEED, "payments", (TenantPlan("payer", users=4_000),), start=START.date(), days=330)
#: A budget of one payment in a hundred.
BUDGET = 0.01


def measure() -> Figures:
    """Figures of both data sets."""
    simulated = simulate_tenant(WORLD, "payer")
    with tempfile.TemporaryDirectory() as scratch:
        payments = _payments(Lake(Path(scratch)), simulated)
    return {**payments, "Shuttle": shuttle()}


def _payments(lake: Lake, simulated: Simulated) -> Figures:
    tenant = tenant_of("payer", FRAUD)
    whole = Interval(START - timedelta(days=1), END + timedelta(days=30))
    load(lake, tenant, simulated.events, simulated.attributes, whole)
    found = judge(FRAUD, tenant, lake, since=START, cut=CUT, later=LATER, end=END)
    disputes = report("Simulated payments, disputes", FRAUD, found.rows, found.scores)
    figures = {
        "disputes": disputes,
        "frauds": _frauds(found, simulated),
        "one event, ms": {name: one_event(model, found) for name, model in _models(found).items()},
    }
    print(f"  one event, ms: {figures['one event, ms']}")
    return figures


def _frauds(found: Judged, simulated: Simulated) -> Figures:
    """The same scores against what truly was a fraud, and what the alert budget caught."""
    payments = simulated.events.filter(pc.equal(simulated.events["event"], "Payment Made"))
    of = dict(zip(payments["event_id"].to_pylist(), payments["group_id"].to_pylist(), strict=True))
    truth = simulated.truth.outcomes
    frauds = {
        of[event]
        for event, fraud in zip(
            *(truth[c].to_pylist() for c in ("event_id", "outcome")), strict=True
        )
        if fraud and event in of
    }
    spines = [
        request_spine(FRAUD, simulated.events, at, at + FRAUD.snapshots.every, END) for at in LATER
    ]
    groups = pa.concat_tables(spines)["group_id"].to_pylist()
    label = np.array([group in frauds for group in groups], dtype=np.float64)
    rows = replace(found.rows, label=label)
    figures = report("Simulated payments, all frauds", FRAUD, rows, found.scores)
    best = found.scores[found.model.kind]
    caught = label[np.argsort(-best, kind="stable")[: int(np.ceil(BUDGET * len(label)))]].sum()
    print(f"  a budget of {BUDGET:.0%} catches {caught / label.sum():.1%} of all frauds")
    return figures | {"caught within the budget": caught / label.sum()}


def _models(found: Judged) -> dict[str, Model]:
    unlabelled = next(one for one in baselines(FRAUD, found.data) if one.name == "ecod")
    return {found.model.kind: found.model, "ecod": unlabelled.model}


def one_event(model: Model, found: Judged, repeats: int = 2_000) -> float:
    """Median time of one prediction in milliseconds."""
    rows = [found.rows.features.slice(at, 1).combine_chunks() for at in range(50)]
    times = []
    for number in range(repeats):
        began = time.perf_counter()
        model.predict(rows[number % len(rows)])
        times.append(time.perf_counter() - began)
    return round(1_000 * float(np.median(times)), 3)


def shuttle() -> Figures:
    """ECOD, an isolation forest and a rule of thumb on rows without time."""
    path = data_file("river", "0.26.1", "river/datasets/shuttle.csv.gz")
    frame = pd.read_csv(path)
    names = list(frame.columns[:-1])
    values, label = frame[names].to_numpy(float), frame.iloc[:, -1].to_numpy(float)
    draw = np.random.default_rng(SEED)
    order = draw.permutation(len(frame))
    fitted, tested = np.split(order, [round(0.6 * len(order))])
    model = ecod.fit(values[fitted], tuple(names), {})
    features = pa.table({name: values[tested, at] for at, name in enumerate(names)})
    forest = IsolationForest(random_state=SEED, n_jobs=1).fit(values[fitted])
    middle = np.median(values[fitted], axis=0)
    spread = np.median(np.abs(values[fitted] - middle), axis=0)
    far = np.abs(values[tested] - middle) / np.where(spread > 0, spread, 1.0)
    scores = {
        "ecod": model.predict(features),
        "isolation forest": -forest.score_samples(values[tested]),
        "largest deviation": far.max(axis=1),
    }
    return report("Shuttle", FRAUD, _unrelated(features, label[tested]), scores)


def _unrelated(features: pa.Table, label: np.ndarray) -> LabelledRows:
    count = len(label)
    names = np.arange(count).astype(np.str_)
    nothing = np.full(count, "")
    return LabelledRows(
        features,
        label,
        np.ones(count),
        names,
        nothing,
        names,
        np.zeros(count, np.int64),
        nothing,
        np.full(count, np.datetime64(date(2000, 1, 1), "us")),
        repeated((), count),
        nothing,
    )


if __name__ == "__main__":
    main(measure, __doc__)
