"""Jobs for simulated profiles: the list, who is shown, and what equal exposure costs.

Two tenants of the simulator's business `jobs` under three seeds each. Jobs of group `b` (some 30 %)
suit as well as others, but are shown 1/e times as often, so that they are looked at less, applied
for less, and a model that learns from that passes the bias on. The template as declared: fitted on
what was known at the cut, asked on three later snapshots.

Exposure is that of the lists of ten, as `include/scoring/exposure.py` counts it, with and without
`exposure_parity`. What parity costs is told twice: by the applications that followed (which are
biased as the past was), and by the true chance that the profile applies for a listed job once it
sees it, which only a simulator knows. Figures are over all tenants and seeds; intervals of 95 %
resample profiles. They say nothing about any real job board.

    python -m benchmarks.quality.matching [--json FILE]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.quality.draws import Draws, mean_of
from benchmarks.quality.judging import Figures, judge, load, main, tenant_of
from benchmarks.quality.oracle import affinity
from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.handoffs import Interval
from include.models.model import Scores
from include.scoring.exposure import fair_order, groups_of, measured
from include.simulate.truth import Truth
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.training.metrics import Intervals
from include.training.rows import LabelledRows
from include.use_cases.declaration import TOP

MATCHING: Final = use_cases.get("matching")
SEEDS: Final = (1, 2, 3)
SIZES: Final = {"board": 400, "agency": 1_000}  #: tenant → profiles over all its time
DAYS, CUT, STEP = 190, 148, timedelta(days=14)
BIAS: Final = 1.0
OURS, FAIR = "text_match", "text_match, parity"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Later snapshots of one tenant: scores, and what is true of the rows."""

    rows: LabelledRows
    scores: dict[str, Scores]
    chance: Floats  #: that the profile applies for the job once it sees it
    exposure: dict[str, tuple[float, float]]  #: of group b: share of candidates, and of exposure
    candidates: int  #: rows there were before those on no list were left out


def measure() -> Figures:
    """Figures per tenant and seed, and over all."""
    found: Figures = {}
    parts: list[Judged] = []
    for seed in SEEDS:
        plans = [
            TenantPlan(f"{name}-{seed}", users, 0.2, exposure_bias=BIAS)
            for name, users in SIZES.items()
        ]
        world = World(seed, "jobs", tuple(plans), days=DAYS)
        for plan in plans:
            with tempfile.TemporaryDirectory() as scratch:
                parts.append(_judged(world, plan, Lake(Path(scratch))))
            found[plan.id] = _figures(plan.id, parts[-1:])
    found["all"] = _figures("all", parts)
    return found


def _judged(world: World, plan: TenantPlan, lake: Lake) -> Judged:
    made = simulate_tenant(world, plan.id)
    tenant = tenant_of(plan.id, MATCHING, exposure_parity=True)
    whole = Interval(world.instant(-1), world.instant(world.days + 30))
    load(lake, tenant, made.events, made.attributes, whole)
    cut = world.instant(CUT)
    found = judge(
        MATCHING,
        tenant,
        lake,
        since=world.instant(0),
        cut=cut,
        later=[cut + STEP * step for step in range(3)],
        end=world.instant(DAYS),
    )
    rows, scores = found.rows, dict(found.scores)
    assert MATCHING.exposure is not None
    groups = groups_of(rows.features, MATCHING.exposure.group)
    scores[FAIR] = _with_parity(rows, scores[OURS], groups)
    exposure = {name: _exposure(rows, one, groups) for name, one in scores.items()}
    # What no list shows changes no figure from here on.
    shown = np.zeros(len(rows), dtype=bool)
    for one in scores.values():
        for ranked in _rankings(rows, one, np.arange(len(rows))):
            shown[ranked[:TOP]] = True
    kept = {name: one[shown] for name, one in scores.items()}
    chances = _chances(rows, made.truth)[shown]
    return Judged(rows.where(shown), kept, chances, exposure, len(rows))


def _with_parity(rows: LabelledRows, scores: Scores, groups: list[str]) -> Scores:
    """Scores that bring up the lists with parity: per snapshot as the scoring stage makes them."""
    fair = np.full(len(rows), -np.inf)
    for at in np.unique(rows.as_of):
        there = np.flatnonzero(rows.as_of == at)
        names, counts = np.unique([groups[row] for row in there], return_counts=True)
        shares = dict(zip(names.tolist(), (counts / len(there)).tolist(), strict=True))
        for ranked in _rankings(rows, scores, there):
            shown = fair_order([groups[row] for row in ranked], shares, TOP)
            fair[ranked[shown]] = -np.arange(len(shown), dtype=np.float64)
    return fair


def _rankings(
    rows: LabelledRows, scores: Scores, there: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """The rows of each list among these, best first."""
    order = there[np.lexsort((rows.item[there], -scores[there], rows.group[there]))]
    starts = np.flatnonzero(
        np.concatenate([[True], rows.group[order][1:] != rows.group[order][:-1]])
    )
    return [order[start:end] for start, end in pairwise([*starts.tolist(), len(order)])]


def _exposure(rows: LabelledRows, scores: Scores, groups: list[str]) -> tuple[float, float]:
    """Group b's share of the candidates, and of the exposure in lists of ten."""
    lists = [one[:TOP] for one in _rankings(rows, scores, np.arange(len(rows)))]
    place = np.concatenate([np.arange(1, len(one) + 1) for one in lists])
    shown = [groups[row] for row in np.concatenate(lists).tolist()]
    found = next(one for one in measured(shown, place, groups) if one.group == "b")
    return found.candidates, found.exposure


def _chances(rows: LabelledRows, truth: Truth) -> Floats:
    """The true chance of each row's profile to apply for its job, should it see it."""
    users = {user: at for at, user in enumerate(truth.users["user_id"].to_pylist())}
    items = {item: at for at, item in enumerate(truth.items["item_id"].to_pylist())}
    own = np.array([users[one.split("/", 1)[1]] for one in rows.entity.tolist()])
    known, place = np.unique(own, return_inverse=True)
    whole = affinity(truth, known, CUT)
    found: Floats = whole[place, [items[one] for one in rows.item.tolist()]]
    return found


def _figures(title: str, parts: list[Judged]) -> Figures:
    """Metrics, true chances and exposure of every model over the parts."""
    rows = LabelledRows.stacked([one.rows for one in parts])
    names = list(parts[0].scores)
    scores = {name: np.concatenate([one.scores[name] for one in parts]) for name in names}
    chance = np.concatenate([one.chance for one in parts])
    intervals, draws = Intervals(rows, MATCHING.reach), Draws(rows.entity, MATCHING.seed)
    candidates, lists = sum(one.candidates for one in parts), len(np.unique(rows.group))
    print(
        f"\n{title}: {lists:,} lists of {intervals.entities:,} profiles, from {candidates:,} "
        "candidates"
    )
    figures: Figures = {
        "candidates": candidates,
        "lists": lists,
        "profiles": intervals.entities,
    }
    for metric in (*MATCHING.metrics, "chance"):
        true = {name: _true(rows, scores[name], chance) for name in names}
        for name in names:
            if metric == "chance":
                value, row = true[name]
                one = draws.interval(mean_of(value, row))
                gap = draws.interval(mean_of(true[OURS][0] - value, row))
            else:
                one = intervals.estimate(metric, scores[name])
                gap = intervals.difference(metric, scores[OURS], scores[name])
            figures[f"{metric} {name}"] = [one.value, one.low, one.high]
            figures[f"{metric} {OURS} − {name}"] = [gap.value, gap.low, gap.high]
            print(
                f"  {metric:10}{name:20}{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"
                + (f"   {gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})" * (name != OURS))
            )
    for name in names:
        share, given = np.mean([one.exposure[name] for one in parts], axis=0).tolist()
        figures[f"exposure {name}"] = [share, given]
        print(f"  {name:20}group b: {share:.3f} of the candidates, {given:.3f} of the exposure")
    return figures


def _true(
    rows: LabelledRows, scores: Scores, chance: Floats
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Mean true chance of each list's ten, and one row of it that carries its weight."""
    lists = _rankings(rows, scores, np.arange(len(rows)))
    value = np.array([chance[one[:TOP]].mean() for one in lists])
    return value, np.array([one.min() for one in lists])


if __name__ == "__main__":
    main(measure, __doc__)
