"""Next week's demand on Complete Journey: stores as tenants, and the whole chain as one.

Protocol. Three times, four weeks apart, models are fitted on what was known at the cut, as the
template is declared, and judged on the four weekly snapshots from there on: every product that was
sold in the four weeks before (no sample of them) and the pieces of it sold in the seven days after.
Everything that is chosen, is chosen within training. `global` is one model of the stores that
consented, `recalibrated` the same trees with the store's own answers and intervals, `own` knows the
store alone; a store with fewer than 300 rows has the global one for all three. The figure that
counts is by how much less the absolute errors come to than those of the seasonal naive forecast,
which in a single year is last week's quantity. Intervals of 95 % come from a bootstrap of products.

Fuel is sold by lines of thousands of pieces and is nearly all of what the chain sells, so that a
figure over everything is one over a handful of products; it is given, and so is one without them.

    python -m benchmarks.quality.demand [--json FILE]
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from benchmarks.quality import stores
from benchmarks.quality.draws import Draws, Statistic
from benchmarks.quality.judging import Figures, main, pin
from include import use_cases
from include.models.forecast import ForecastPredictor
from include.models.model import Model, Scores
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.dataset import Pinned, labelled_rows
from include.training.estimators.forecast import naive_model, recorrected
from include.training.fitting import SETTINGS, fit
from include.training.metrics import Estimate, Weights
from include.training.rows import LabelledRows

DEMAND: Final = use_cases.get("demand")
#: The same, of every product instead of a sample.
ALL: Final = replace(DEMAND, snapshots=replace(DEMAND.snapshots, entities=10**6))
CUTS: Final = tuple(datetime(2017, *day, 4, tzinfo=UTC) for day in ((10, 2), (10, 30), (11, 27)))
WEEKS: Final = 4
START: Final = datetime(2017, 1, 1, tzinfo=UTC)
END: Final = datetime(2018, 1, 2, tzinfo=UTC)
#: Pieces per line from which a product is fuel or the like.
FUEL: Final = 100.0
NAIVE: Final = "seasonal_naive"


@dataclass(frozen=True)
class Answers:
    """Later rows of one tenant, the forecasts of each model and the intervals of the served one."""

    rows: LabelledRows
    scores: Mapping[str, Scores]
    bounds: Mapping[str, Scores]

    @classmethod
    def stacked(cls, parts: Sequence[Answers]) -> Answers:
        """The parts below each other."""
        return cls(
            LabelledRows.stacked([one.rows for one in parts]),
            {m: np.concatenate([one.scores[m] for one in parts]) for m in parts[0].scores},
            {b: np.concatenate([one.bounds[b] for one in parts]) for b in parts[0].bounds},
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> Answers:
        """The rows for which `keep` is true."""
        return Answers(
            self.rows.where(keep),
            {name: found[keep] for name, found in self.scores.items()},
            {name: found[keep] for name, found in self.bounds.items()},
        )


def measure() -> Figures:
    """Figures of the chain, of all stores together and of each."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        stores.load(lake)
        chain = pin(stores.chain(lake), lake)
        whole = [_judged(chain, cut, {"own": _fitted([chain], cut, lake)}, lake) for cut in CUTS]
        told = [one for one in whole if one is not None]
        figures = _report("the chain as one tenant", Answers.stacked(told))
        fleet = stores.tenants()
        parts: dict[str, list[Answers]] = {tenant.id: [] for tenant in fleet}
        for cut in CUTS:
            for name, found in _stores(fleet, cut, lake):
                parts[name].append(found)
        every = {name: Answers.stacked(found) for name, found in parts.items() if found}
        figures |= _report("stores, all of them", Answers.stacked(list(every.values())))
        for name, found in every.items():
            figures |= _report(name, found)
    return figures


def _stores(fleet: Sequence[TenantConfig], cut: datetime, lake: Lake) -> list[tuple[str, Answers]]:
    """What global, recalibrated and own models say of each store's later weeks."""
    shared = _fitted([pin(one, lake) for one in fleet if one.pooling.consent], cut, lake)
    found = []
    for tenant in fleet:
        pinned = pin(tenant, lake)
        rows = labelled_rows(DEMAND, pinned, _training(cut), cut, lake)
        models = dict.fromkeys(("own", "recalibrated", "global"), shared)
        if rows is not None and len(rows) >= DEMAND.gates.minimum_rows:
            models["own"] = fit(DEMAND, "forecast", SETTINGS["forecast"][0], rows)
            models["recalibrated"] = recorrected(DEMAND, shared, rows)
        judged = _judged(pinned, cut, models, lake)
        if judged is not None:
            found.append((tenant.id, judged))
    return found


def _fitted(sources: Sequence[Pinned], cut: datetime, lake: Lake) -> Model:
    parts = [labelled_rows(DEMAND, one, _training(cut), cut, lake) for one in sources]
    rows = LabelledRows.stacked([one for one in parts if one is not None])
    return fit(DEMAND, "forecast", SETTINGS["forecast"][0], rows)


def _judged(
    pinned: Pinned, cut: datetime, models: Mapping[str, Model], lake: Lake
) -> Answers | None:
    """None where the data tells no label: a store that has closed, or not opened yet."""
    rows = labelled_rows(ALL, pinned, _later(cut), END, lake)
    if rows is None or not len(rows):
        return None
    rules = {one.name: naive_model(DEMAND, one) for one in DEMAND.baselines}
    scores = {name: one.predict(rows.features) for name, one in (models | rules).items()}
    scores["nothing"] = np.zeros(len(rows))
    first = cast(ForecastPredictor, next(iter(models.values())).predictor)
    return Answers(rows, scores, first.intervals(rows.features))


def _training(cut: datetime) -> list[datetime]:
    rules = DEMAND.snapshots
    steps = [cut - DEMAND.reach - rules.every * step for step in range(rules.training)]
    return sorted(at for at in steps if at >= START + rules.minimum_history)


def _later(cut: datetime) -> list[datetime]:
    return [cut + timedelta(days=7 * week) for week in range(WEEKS)]


def _report(title: str, found: Answers) -> Figures:
    pieces = found.rows.features["item_demand__pieces_per_line_28d"].to_numpy()
    fuel = np.nan_to_num(pieces) >= FUEL
    figures = _figures(f"{title}, without fuel", found.where(~fuel))
    return figures | (_figures(f"{title}, everything", found) if fuel.any() else {})


def _figures(title: str, found: Answers) -> Figures:
    rows, draws = found.rows, Draws(found.rows.entity, DEMAND.seed)
    label = rows.label
    error = {name: np.abs(label - scores) for name, scores in found.scores.items()}
    print(
        f"\n{title}: {len(rows):,} rows, {draws.entities:,} products, "
        f"nothing sold in {100 * (label == 0).mean():.0f} % of the rows"
    )
    figures: Figures = {}
    for name, errors in error.items():
        wape = draws.interval(_share(errors, np.abs(label)))
        less = draws.interval(_less(errors, error[NAIVE]))
        print(f"  {name:16} WAPE {_cell(wape)}   less than {NAIVE} by {_cell(less)}")
        figures |= {f"{title}: {name} WAPE": _listed(wape), f"{title}: {name} less": _listed(less)}
    usual = np.nan_to_num(rows.features["item_demand__mean_week_28d"].to_numpy())
    for least in (0, 1, 10):
        there = usual >= least
        if there.sum() < 20:
            continue
        drawn = Draws(rows.entity[there], DEMAND.seed)
        for level in ("80", "95"):
            low, high = (found.bounds[f"{end}_{level}"][there] for end in ("low", "high"))
            sold = np.maximum(label[there], 0.0)
            inside = ((low <= sold) & (sold <= high)).astype(np.float64)
            covered = drawn.interval(_share(inside, np.ones(len(inside))))
            width = float(np.median(high - low))
            print(
                f"  {level} % intervals, {least:2} pieces a week and more ({int(there.sum()):,} "
                f"rows): cover {_cell(covered)}, median width {width:.1f}"
            )
            figures[f"{title}: {level} % from {least}"] = [*_listed(covered), width]
    return figures


def _share(part: Scores, whole: Scores) -> Statistic:
    def statistic(weights: Weights) -> float:
        total = (weights * whole).sum()
        return float((weights * part).sum() / total) if total > 0 else float("nan")

    return statistic


def _less(errors: Scores, naive: Scores) -> Statistic:
    share = _share(errors, naive)
    return lambda weights: 1 - share(weights)


def _listed(found: Estimate) -> list[float | None]:
    return [found.value, found.low, found.high]


def _cell(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "–"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


if __name__ == "__main__":
    main(measure, __doc__)
