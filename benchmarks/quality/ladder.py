"""What the ladder does to simulated tenants, whose truth is known: whom it promotes, and what for.

Every tenant deviates from the mechanism that all share by a known share of its variance, some not
at all. A global model is trained on rows of all of them; each tenant then trains its own models and
decides, by the very functions that the platform uses, and what was decided is held against a fresh
window, on which the true probabilities are known (so that its AUC is the expected one, without the
noise of labels).

    python -m benchmarks.quality.ladder [--tenants 200] [--seeds 20] [--every 1] [--json FILE]

`rows` are training rows, of ten snapshots; the holdout adds two snapshots of the same size. At
1,000 rows all tenants and seeds are gone through, at other sizes every fifth tenant, and every
tenth one retrains again and again. With `--every 5` only every fifth tenant is, at 1,000 rows.
Beside each decision stands what the same evidence would have come to by entity alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.quality.common_shocks import by_entity
from benchmarks.quality.ladder_figures import missed, shown, summary
from benchmarks.quality.tables import Table, TablePlan, draw_table
from include import use_cases
from include.models.baselines import baseline_model
from include.models.model import Model, Scores
from include.registry.decision import decide_promotion
from include.registry.evidence import Comparison, Evidence, Measured
from include.training.candidates import OwnModel, Parent, compare, own_models
from include.training.fitting import GLOBAL_SETTINGS, fit_best
from include.training.metrics import measure
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import Gates, UseCase

#: Share of the mechanism's variance that is the tenant's own; tenants take turns.
LEVELS: Final = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)
SIZES: Final = (300, 1_000, 5_000)
MAIN: Final = 1_000
#: Of how many tenants one is gone through at other sizes, and retrained.
SPARSE, RETRAINED = 5, 10
TRAINING, HOLDOUT = 10, 2
STEP: Final = timedelta(days=18)
START: Final = datetime(2025, 1, 1, tzinfo=UTC)
#: Rows of a tenant that the global model learns from, and of the fresh window.
POOLED_ROWS, FRESH_ROWS = 200, 4_000
RETRAININGS: Final = 8
FEATURES: Final = tuple(f"f{i}" for i in range(12))


class TableCase(UseCase):
    """Churn, as far as training is concerned, over the columns of a simulated table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What estimators read."""
        return FEATURES


@dataclass(frozen=True)
class Outcome:
    """One tenant's decision, and the truth about it. Gains are of AUC, over the global model."""

    seed: int
    tenant: int
    level: float
    rows: int
    retraining: int
    chosen: str  #: key of the own model that was promoted; empty where the global one stays
    gain: float  #: of what serves then; 0 for the global model
    best: float  #: of the best candidate, had one known; the global model is one of them
    gains: dict[str, float]  #: by own candidate
    gain_by_entity: float = 0.0  #: of what would serve if windows did not swing


def main() -> int:
    """Run everything and print the figures; 1 where a bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="of how many tenants one, at MAIN")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers) as workers:
        seeds = range(options.seeds)
        found = [
            outcome
            for part in workers.map(
                play, seeds, [options.tenants] * len(seeds), [options.every] * len(seeds)
            )
            for outcome in part
        ]
    report = summary([asdict(one) for one in found])
    report["seconds"] = round(time.monotonic() - began, 1)
    print(shown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, sort_keys=True))
    lacking = missed(report, MAIN)
    print(*lacking, sep="\n", file=sys.stderr)
    return 1 if lacking else 0


def play(seed: int, tenants: int, every: int = 1) -> list[Outcome]:
    """All tenants of one seed, or every so many at the main size."""
    case = table_case()
    shared = global_model(case, seed, tenants)
    if every > 1:
        some = range(seed % every, tenants, every)
        return [decide(case, shared, seed, tenant, MAIN, 1) for tenant in some]
    sparse = range(0, tenants, SPARSE)
    plans = [(tenant, MAIN, 1) for tenant in range(tenants)]
    plans += [(tenant, rows, 1) for rows in SIZES if rows != MAIN for tenant in sparse]
    found = [decide(case, shared, seed, *plan) for plan in plans]
    for tenant in range(0, tenants, RETRAINED):
        found += retrained(case, shared, seed, tenant)
    return found


def table_case() -> TableCase:
    """The use case that all simulated tenants have."""
    churn = use_cases.get("churn")
    given = {one.name: getattr(churn, one.name) for one in fields(churn)}
    gates = Gates(minimum_rows=300, minimum_positives=30, minimum_entities=20)
    label = type(churn.label)(churn.label.when, STEP)
    return TableCase(**{**given, "gates": gates, "label": label})


def global_model(case: UseCase, seed: int, tenants: int) -> Model:
    """Trained on rows of every tenant, as the platform trains it."""
    parts = [
        rows_of(draw_table(plan(seed, tenant, POOLED_ROWS, sample=2)), tenant)
        for tenant in range(tenants)
    ]
    rows = LabelledRows.stacked(parts)
    instants = tuple(START + STEP * window for window in range(TRAINING + HOLDOUT))
    windows = TrainingWindows(instants, (), instants[-1] + STEP)
    return fit_best(case, rows, windows, STEP, GLOBAL_SETTINGS).model


def plan(
    seed: int, tenant: int, rows: int, *, sample: int, level: float | None = None
) -> TablePlan:
    """A draw from a tenant, as many days long as training and holdout are."""
    days = (TRAINING + HOLDOUT) * STEP.days
    deviation = LEVELS[tenant % len(LEVELS)] if level is None else level
    return TablePlan(seed, rows, deviation, len(FEATURES), tenant=tenant, sample=sample, days=days)


def rows_of(table: Table, tenant: int) -> LabelledRows:
    """A table's rows as training reads them: one entity each, of snapshots 18 days apart."""
    count = len(table.label)
    start = np.datetime64(START.replace(tzinfo=None), "us")
    as_of = start + (table.day // STEP.days) * np.timedelta64(STEP)
    entity = np.array([f"{tenant}/{number}" for number in range(count)])
    text = np.full(count, "")
    return LabelledRows(
        features=table.features,
        label=table.label.astype(np.float64),
        weight=np.ones(count),
        entity=entity,
        item=text,
        group=entity,
        relevant=np.zeros(count, np.int64),
        tenant=np.full(count, str(tenant)),
        as_of=as_of,
        wanted=np.full(count, None, object),
        sensitive=text,
    )


def decide(
    case: UseCase, shared: Model, seed: int, tenant: int, rows: int, challenge: int
) -> Outcome:
    """One tenant's first decision, with the global model serving."""
    whole = rows * (TRAINING + HOLDOUT) // TRAINING
    drawn = rows_of(draw_table(plan(seed, tenant, whole, sample=0)), tenant)
    fresh = draw_table(plan(seed, tenant, FRESH_ROWS, sample=1))
    instants = [START + STEP * window for window in range(TRAINING + HOLDOUT)]
    level = LEVELS[tenant % len(LEVELS)]
    where = (seed, tenant, level, rows)
    return judge(case, shared, drawn, instants, fresh, where, challenge)


def retrained(case: UseCase, shared: Model, seed: int, tenant: int) -> Iterator[Outcome]:
    """A tenant without any deviation that retrains every 18 days, until something is promoted."""
    windows = TRAINING + HOLDOUT + RETRAININGS - 1
    one = TablePlan(
        seed, MAIN * windows // TRAINING, 0.0, len(FEATURES), tenant=tenant, sample=3,
        days=windows * STEP.days,
    )  # fmt: skip
    drawn = rows_of(draw_table(one), tenant)
    fresh = draw_table(plan(seed, tenant, FRESH_ROWS, sample=1, level=0.0))
    for number in range(RETRAININGS):
        instants = [START + STEP * (number + at) for at in range(TRAINING + HOLDOUT)]
        where = (seed, tenant, 0.0, MAIN)
        outcome = judge(case, shared, drawn.at(instants), instants, fresh, where, number + 1, True)
        yield outcome
        if outcome.chosen:
            return


def judge(
    case: UseCase,
    shared: Model,
    rows: LabelledRows,
    instants: Sequence[datetime],
    fresh: Table,
    where: tuple[int, int, float, int],
    challenge: int,
    repeated: bool = False,
) -> Outcome:
    """Train, decide, and hold the decision against the fresh window."""
    training, holdout = rows.at(instants[:TRAINING]), rows.at(instants[TRAINING:])
    windows = TrainingWindows(
        tuple(instants[:TRAINING]), tuple(instants[TRAINING:]), instants[-1] + STEP
    )
    own = own_models(case, training, windows, Parent(shared, "global/churn@1"))
    told = evidence(case, shared, own, holdout, challenge)
    alone = replace(told, comparisons=tuple(map(by_entity, told.comparisons)))
    chosen, before = (
        decision.chosen.key if decision.chosen else ""
        for decision in map(decide_promotion, (told, alone))
    )
    gains = {}
    if chosen or not repeated:
        base = expected_auc(fresh, shared.predict(fresh.features))
        for one in own:
            reached = expected_auc(fresh, one.model.predict(fresh.features))
            gains[f"own/{one.name}"] = reached - base
    return Outcome(
        *where,
        challenge if repeated else 0,
        chosen,
        gains.get(chosen, 0.0),
        max([0.0, *gains.values()]),
        gains,
        gains.get(before, 0.0),
    )


def evidence(
    case: UseCase, shared: Model, own: Sequence[OwnModel], holdout: LabelledRows, challenge: int
) -> Evidence:
    """What training hands over, without the intervals that decide nothing."""

    def measured(rung: str, name: str, model: Model) -> Measured:
        value = measure(case.metric, holdout, model.predict(holdout.features))
        return Measured(rung, name, str(id(model)), value)

    rule = baseline_model({"column": FEATURES[0], "descending": False, "then": ""})
    incumbent = measured("incumbent", shared.kind, shared)
    comparisons: list[Comparison] = []
    for one in own:
        comparisons.append(compare(case, one, shared, incumbent.key, holdout))
        comparisons.append(compare(case, one, shared, f"global/{shared.kind}", holdout))
    return Evidence(
        metric=case.metric,
        entities=len(holdout),
        minimum_entities=case.gates.minimum_entities,
        candidates=(
            measured("baseline", "rule", rule),
            measured("global", shared.kind, shared),
            *(measured("own", one.name, one.model) for one in own),
        ),
        incumbent=incumbent,
        comparisons=tuple(comparisons),
        false_promotions=case.gates.false_promotions,
        challenges=challenge - 1,
    )


def expected_auc(table: Table, scores: Scores) -> float:
    """The AUC that these rows have on average over their labels, given the true probabilities."""
    up, down = table.probability, 1 - table.probability
    ranks = stats.rankdata(scores)
    order = np.argsort(scores, kind="stable")
    below = np.empty(len(scores))
    below[order] = np.cumsum(down[order]) - down[order]
    tied = np.unique(ranks, return_inverse=True)[1]
    inside = np.bincount(tied, weights=down)[tied]
    first = np.full(tied.max() + 1, np.inf)
    np.minimum.at(first, tied, below)
    # A row is no pair with itself.
    pairs = up.sum() * down.sum() - (up * down).sum()
    return float((up * (first[tied] + (inside - down) / 2)).sum() / pairs)


if __name__ == "__main__":
    sys.exit(main())
