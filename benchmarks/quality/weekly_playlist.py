"""Weekly playlists of simulated listeners: which of ten new things will be played in the week.

Two tenants of the simulator's business `media` under three seeds each; they share how tastes work
and differ in a fifth of it. The template as declared: fitted on what was known at the cut, then
asked on four later weeks, each time with what the listener had put on by then. Nothing that was put
on before can be listed, nor counts as wanted. Items come out all the time, so that about a sixth of
what is wanted was not there at the cut.

Beside the popularity of the last training week: EASE alone, lists as scored, and what each part of
their variety does, by leaving it out. Novelty is the mean of −log2 of the share of listeners that
have had an item (Zhou et al., PNAS 2010). Figures are over all tenants and seeds; intervals of 95 %
resample listeners. They say that the template works where the world is as simulated, and nothing
about any real audience.

    python -m benchmarks.quality.weekly_playlist [--json FILE]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from benchmarks.quality.judging import Figures, load, main, pin, tenant_of
from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.handoffs import Interval
from include.models.diversity import AS_SCORED
from include.models.list_models import EasePredictor
from include.models.model import Model
from include.models.playlist import BLENDS
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.training.dataset import labelled_rows
from include.training.evaluation import answers
from include.training.fitting import fit_best
from include.training.lists import list_baselines
from include.training.metrics import Intervals, Lists
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows

PLAYLIST: Final = use_cases.get("weekly_playlist")
SEEDS: Final = (1, 2, 3)
SIZES: Final = {"radio": 300, "tube": 900}  #: tenant → users over all its time
DAYS, CUT, WEEK = 210, 175, timedelta(days=7)
OURS: Final = "ease"


@dataclass(frozen=True)
class Judged:
    """Later weeks of one tenant, and the lists of every model."""

    rows: LabelledRows  #: one per list that was asked for
    lists: dict[str, Lists]
    categories: dict[str, str]  #: item → category
    novelty: dict[str, float]  #: item → bits
    blend: Any
    new: float  #: share of what was wanted that nobody had had at the cut


def measure() -> Figures:
    """Figures per tenant and seed, and over all."""
    found: Figures = {}
    parts: list[Judged] = []
    for seed in SEEDS:
        plans = [TenantPlan(f"{name}-{seed}", users, 0.2) for name, users in SIZES.items()]
        world = World(seed, "media", tuple(plans), days=DAYS)
        for plan in plans:
            with tempfile.TemporaryDirectory() as scratch:
                parts.append(_judged(world, plan, Lake(Path(scratch))))
            found[plan.id] = _figures(plan.id, parts[-1:])
    found["all"] = _figures("all", parts)
    return found


def _judged(world: World, plan: TenantPlan, lake: Lake) -> Judged:
    made, tenant = simulate_tenant(world, plan.id), tenant_of(plan.id, PLAYLIST)
    whole = Interval(world.instant(-1), world.instant(world.days + 30))
    load(lake, tenant, made.events, made.attributes, whole)
    cut, rules = world.instant(CUT), PLAYLIST.snapshots
    earlier = [cut - PLAYLIST.reach - rules.every * step for step in range(rules.training)][::-1]
    later = [cut + WEEK * step for step in range(4)]
    training = labelled_rows(PLAYLIST, pin(tenant, lake), earlier, cut, lake)
    rows = labelled_rows(PLAYLIST, pin(tenant, lake), later, world.instant(DAYS), lake)
    if training is None or rows is None:
        raise ValueError(f"{tenant.id}: no row has a label")
    windows = TrainingWindows(tuple(earlier), tuple(later), cut)
    model = fit_best(PLAYLIST, training, windows, PLAYLIST.reach).model
    ours = cast(EasePredictor, model.predictor)
    models: dict[str, Model] = {
        OURS: model,
        **list_baselines(PLAYLIST, training, windows),
        "EASE alone": replace(model, predictor=replace(ours, blend=BLENDS[0], variety=AS_SCORED)),
        "as scored": replace(model, predictor=replace(ours, variety=AS_SCORED)),
        **{
            f"without {name}": replace(
                model, predictor=replace(ours, variety=replace(ours.variety, **{name: none}))
            )
            for name, none in (("relevance", 1.0), ("novelty", 0.0), ("chance", 0.0))
        },
    }
    items = made.truth.items
    known = dict(zip(items["item_id"].to_pylist(), items["category"].to_pylist(), strict=True))
    out = dict(zip(items["item_id"].to_pylist(), items["released_day"].to_pylist(), strict=True))
    wanted = [item for one in _once(rows) for item in rows.wanted[one]]
    new = float(np.mean([out[item] >= CUT for item in wanted]))
    lists = {name: cast(Lists, answers(one, rows)) for name, one in models.items()}
    first = np.zeros(len(rows), dtype=bool)
    first[_once(rows)] = True  # one row says what was wanted
    had = rows.history.group_by("item_id").aggregate([("entity_id", "count")])
    share = had["entity_id_count"].to_numpy() / first.sum()
    novelty = dict(zip(had["item_id"].to_pylist(), -np.log2(share), strict=True))
    return Judged(rows.where(first), lists, known, novelty, ours.blend, new)


def _figures(title: str, parts: list[Judged]) -> Figures:
    """Metrics of every model over the parts, printed and returned."""
    rows = LabelledRows.stacked([one.rows for one in parts])
    names = list(parts[0].lists)
    lists = {
        name: Lists({group: x for one in parts for group, x in one.lists[name].items.items()})
        for name in names
    }
    intervals = Intervals(rows, PLAYLIST.reach)
    new = float(np.mean([one.new for one in parts]))
    figures: Figures = {
        "lists": len(rows),
        "listeners": intervals.entities,
        "new": new,
        "blends": [vars(one.blend) for one in parts],
    }
    print(
        f"\n{title}: {figures['lists']:,} lists of {intervals.entities:,} listeners, "
        f"{100 * new:.0f} % of the wanted came out after the cut"
    )
    for metric in PLAYLIST.metrics:
        for name in names:
            one = intervals.estimate(metric, lists[name])
            gap = intervals.difference(metric, lists[OURS], lists[name])
            figures[f"{metric} {name}"] = [one.value, one.low, one.high]
            figures[f"{metric} {OURS} − {name}"] = [gap.value, gap.low, gap.high]
            print(
                f"  {metric:10}{name:20}{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"
                + (f"   {gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})" * (name != OURS))
            )
    for name in names:
        found = np.mean([_variety(one, name) for one in parts], axis=0).tolist()
        figures[f"variety {name}"] = found
        kinds, spread, novelty = found
        print(
            f"  {name:20}{kinds:.2f} categories a list, {100 * spread:.0f} % of the items listed, "
            f"{novelty:.2f} bits of novelty"
        )
    return figures


def _variety(part: Judged, name: str) -> tuple[float, float, float]:
    """Categories per list, the share of the items that stand on any list, and novelty."""
    shown = part.lists[name].items.values()
    kinds = [len({part.categories[item] for item in one}) for one in shown]
    novelty = [part.novelty[item] for one in shown for item in one]
    spread = len({i for one in shown for i in one}) / len(part.categories)
    return float(np.mean(kinds)), spread, float(np.mean(novelty))


def _once(rows: LabelledRows) -> list[int]:
    """The first row of each list that was asked for."""
    found: list[int] = np.unique(rows.group, return_index=True)[1].tolist()
    return found


if __name__ == "__main__":
    main(measure, __doc__)
