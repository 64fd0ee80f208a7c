"""How often decisions are wrong where all series of a tenant swing together.

A chain's weeks have promotions and weather, and all of its series share them. Simulated chains live
a year: they are trained and challenged every four weeks, and what serves is measured every week on
labels that have matured, by the functions that the platform decides by (`paired.compare`,
`decide_promotion`, `swing_before`, `decide_rollback`, `judge_drift`). Nothing is fitted: a model is
what it says, so that the truth is known.

- *equal*: challenger and champion are exchangeable, and the week decides which of them looks
  better. Every promotion is a false one.
- *better*: the challenger is better in every week, on average. A promotion is right.
- *unchanged*: what serves is as good as it was when it was promoted. Every rollback and every
  verdict of decay is false.
- *decayed*: from its 13th week on it is worse for good.

Four kinds of evidence: a forecast per week (`demand`: accuracy, 16 windows), a risk over 30 days
(`churn`: AUC, 11 windows a fortnight apart whose labels overlap, so that they are about 5), lists
over four weeks judged by the holdout alone (`recommendation`: hits, one window per training, its
swing known from earlier trainings), and the same two-weekly with two windows (`matching`). Beside
each stands what evidence by entity alone would have decided, as it was before.

    python -m benchmarks.quality.common_shocks [--chains 100] [--seed N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.quality.ladder_figures import share
from include.models.measures import EntityMetric as Figures
from include.models.measures import measure_lists, measure_rows
from include.monitoring.decisions import DriftEvidence as DriftEvidence
from include.monitoring.decisions import Performance, judge_drift
from include.monitoring.live_metrics import LiveMetric
from include.monitoring.matured import earlier
from include.registry.decay import RollbackFacts, decide_rollback
from include.registry.decision import decide_promotion
from include.registry.decline import PromisedFigure, Window
from include.registry.error_rates import HALF_WIDTH
from include.registry.evidence import Comparison, Evidence, Measured
from include.registry.lifecycle import swing_before
from include.registry.promotions import Promotion
from include.registry.two_way import Swing, blocks_of
from include.training.metrics import Answers, Estimate, Intervals, Lists
from include.training.paired import PairedRows, compare
from include.training.rows import LabelledRows, repeated
from include.use_cases.drift_policy import DriftPolicy

Kind = Literal["equal", "better", "unchanged", "decayed"]
Vector = npt.NDArray[np.float64]

START: Final = datetime(2025, 1, 6, tzinfo=UTC)
DAY: Final = timedelta(days=1)
#: When the year begins in which a chain is watched, in days; what is before is its history.
FIRST: Final = 364
YEAR: Final = 364
#: Weeks of the year after which what decays has decayed.
DECAY: Final = 12
RETRAIN: Final = 28
#: How much a week swings, as a multiple of the standard error by entity of one week.
SWINGS: Final = (0.0, 3.0, 10.0)
#: Of the first chain. The levels of decay and rollback were chosen on chains from 0 on.
SEED: Final = 10_000
#: Evidence that knows of entities alone knows every window to be like the others.
BY_ENTITY: Final = Swing(0.0, 1e6)


@dataclass(frozen=True)
class Template:
    """What is predicted, and by which windows it is judged."""

    name: str
    metric: str
    entities: int  #: per window
    reach: int  #: days
    judged: tuple[int, ...]  #: windows of a training, in days before the last one's label begins
    noise: float  #: standard error by entity of a window's difference, about
    gain: float  #: of a challenger that is better, and what is lost in decay

    @property
    def metric_is_of_lists(self) -> bool:
        """Whether models answer with lists."""
        return self.metric == "hit@10"


TEMPLATES: Final = (
    Template("demand", "forecast_accuracy", 300, 7, tuple(range(105, -1, -7)), 0.01, 0.03),
    Template("churn", "auc", 300, 30, (*range(156, 43, -14), 14, 0), 0.035, 0.06),
    Template("recommendation", "hit@10", 400, 28, (14, 0), 0.035, 0.08),
    Template("matching", "hit@10", 400, 14, (14, 0), 0.035, 0.08),
)


@dataclass(frozen=True)
class Chain:
    """One tenant; days are counted from the start of its history."""

    template: Template
    seed: int
    swing: float  #: see `SWINGS`
    kind: Kind

    @cached_property
    def _daily(self) -> Vector:
        """What all series share on a day, for either model: normal, one a day."""
        return np.random.default_rng([self.seed, 1]).normal(size=(2, FIRST + YEAR + 120))

    @cached_property
    def _lasting(self) -> Vector:
        """What an entity has in all windows."""
        return np.random.default_rng([self.seed, 2]).normal(size=(3, self.template.entities))

    def shared(self, day: int) -> Vector:
        """What a window's label span shares: of unit variance, overlapping as the spans do."""
        span = self._daily[:, day : day + self.template.reach]
        return np.asarray(span.sum(axis=1) / np.sqrt(self.template.reach))

    @cached_property
    def _windows(self) -> dict[int, tuple[LabelledRows, Answers, Answers]]:
        return {}

    def window(self, day: int) -> tuple[LabelledRows, Answers, Answers]:
        """Rows of a snapshot, and what champion and challenger say."""
        if day not in self._windows:
            self._windows[day] = self._drawn(day)
        return self._windows[day]

    def _drawn(self, day: int) -> tuple[LabelledRows, Answers, Answers]:
        one, count = self.template, self.template.entities
        draw = np.random.default_rng([self.seed, 3, day])
        shock = self.swing * one.noise * self.shared(day)
        lost = one.gain * (self.kind == "decayed" and day >= FIRST + 7 * DECAY)
        gained = one.gain * (self.kind == "better")
        if one.metric == "forecast_accuracy":
            level = np.exp(self._lasting[0])
            label = level * np.exp(draw.normal(0, 0.3, count) + 0.1 * self._daily[0, day])
            # an error of the whole week's level costs about as much accuracy as it is large
            off = 0.15 + shock
            said = [
                label * np.exp(0.25 * draw.normal(size=count) + away)
                for away in (off[0] + 2.0 * (lost + gained), off[1])
            ]
        elif one.metric == "auc":
            x = draw.normal(size=(2, count)) * 0.6 + 0.8 * self._lasting[1:]
            # how much either of two things tells; a model knows one of them, a better one of both
            weight = np.array([0.9, 0.9]) + 3.5 * shock - [7.0 * lost, 0.0]
            chance = 1 / (1 + np.exp(0.8 - weight @ x))
            label = (draw.random(count) < chance).astype(np.float64)
            said = [x[0], x[1] + 8.0 * gained * x[0]]
        else:
            usual = np.clip(0.45 + 0.1 * self._lasting[0], 0.05, 0.95)
            label = np.ones(count)
            said = [
                (draw.random(count) < usual + away).astype(np.float64)
                for away in (shock[0] - lost, shock[1] + gained)
            ]
        rows = self._rows(day, label)
        if not one.metric_is_of_lists:
            return rows, said[0], said[1]
        names = rows.group.tolist()
        lists = [
            Lists({name: ["i"] if hit else ["x"] for name, hit in zip(names, hits, strict=True)})
            for hits in said
        ]
        return rows, lists[0], lists[1]

    def _rows(self, day: int, label: Vector) -> LabelledRows:
        count = len(label)
        text, entity = np.full(count, ""), np.arange(count).astype(str)
        at = np.datetime64((START + day * DAY).replace(tzinfo=None), "us")
        return LabelledRows(
            pa.table({"x": np.zeros(count)}),
            label,
            np.ones(count),
            entity,
            text,
            np.char.add(entity, f"@{day}"),
            np.ones(count, np.int64),
            text,
            np.full(count, at),
            repeated(("i",), count),
            text,
        )

    def judged(self, known: int) -> list[tuple[LabelledRows, Answers, Answers]]:
        """The windows of a training on a day: the newest label ends then."""
        last = known - self.template.reach
        return [self.window(last - back) for back in self.template.judged]


def difference(chain: Chain, known: int) -> Comparison:
    """The challenger against the champion, as a training measures it."""
    one, parts = chain.template, chain.judged(known)
    reach = one.reach * DAY
    if one.metric_is_of_lists:
        stacked = LabelledRows.stacked([rows for rows, _, _ in parts])
        found = Intervals(stacked, reach).difference(
            one.metric, *(_merged([part[side] for part in parts]) for side in (2, 1))
        )
        windows = len(np.unique(blocks_of(stacked.as_of, reach)))
    else:
        told = [PairedRows(rows, theirs, ours) for rows, ours, theirs in parts]  # type: ignore[arg-type]
        paired = compare(one.metric, told, reach)
        found, windows = paired.estimate, paired.windows
    figures = (found.value, found.low, found.high)
    return Comparison(
        "own/new", "incumbent/old", *figures, one.entities, windows, found.uncertainty
    )


def _merged(parts: Sequence[Answers]) -> Lists:
    return Lists({g: i for part in parts if isinstance(part, Lists) for g, i in part.items.items()})


def by_entity(found: Comparison) -> Comparison:
    """The same as if windows did not swing."""
    if found.uncertainty is None:
        return found
    alone = replace(found.uncertainty, returning=0.0, freedom=0.0, elsewhere=BY_ENTITY)
    return replace(found, uncertainty=alone)


def promoted(chain: Chain) -> dict[str, bool]:
    """Whether the challenger is promoted within a year, by both kinds of evidence."""
    done = {"two-way": False, "by entity": False}
    decided: list[Promotion] = []
    for challenge, known in enumerate(range(FIRST, FIRST + YEAR + 1, RETRAIN)):
        raw, as_of = difference(chain, known), START + known * DAY
        swing = swing_before(decided, "1", raw, as_of, chain.template.reach * DAY)
        for name, found in (("two-way", raw.with_swing(swing)), ("by entity", by_entity(raw))):
            done[name] = done[name] or decide_promotion(_evidence(found, challenge)).promoted
        decided.append(_kept(as_of, raw))
        if all(done.values()):
            break
    return done


def _evidence(found: Comparison, challenge: int) -> Evidence:
    return Evidence(
        metric="m",
        entities=found.entities or 0,
        minimum_entities=20,
        candidates=(Measured("baseline", "rule", "b", -9.0), Measured("own", "new", "n", 1.0)),
        incumbent=Measured("incumbent", "old", "o", 0.5),
        comparisons=(found,),
        challenges=challenge,
    )


def _kept(as_of: datetime, found: Comparison) -> Promotion:
    """The decision that kept the champion, as the ledger tells of it."""
    evidence = {"comparisons": [asdict(found)]}
    told: Mapping[str, Any] = {"reasons": (), "evidence": evidence}
    return Promotion("c", "u", as_of, "scheduled", False, "1", "global", "d", "1", **told)


def watched(chain: Chain) -> dict[str, dict[str, int]]:
    """In which week of the year a rollback, or a verdict of decay, comes first; 0: never."""
    one, reach, policy = chain.template, chain.template.reach * DAY, DriftPolicy()
    parts = chain.judged(FIRST)
    rows, said = LabelledRows.stacked([part[0] for part in parts]), [part[1] for part in parts]
    answers: Answers = _merged(said) if one.metric_is_of_lists else np.concatenate(said)  # type: ignore[arg-type]
    promise = Intervals(rows, reach).estimate(one.metric, answers)
    found = {name: {"rollback": 0, "decay": 0} for name in ("two-way", "by entity")}
    figures: list[LiveMetric] = []
    for week, live in enumerate(_lived(chain), start=1):
        figures.append(live)
        performance = _performance(one.metric, promise, figures, reach)
        evidence = DriftEvidence("1", False, 100, 100, performance=performance)
        fallen = {
            "two-way": {
                "rollback": decide_rollback(_facts(promise, figures, reach, policy)).back,
                "decay": judge_drift(evidence, policy).name == "drift",
            },
            "by entity": _by_entity(promise, live, policy),
        }
        for name, what in ((n, w) for n, told in fallen.items() for w in told):
            if fallen[name][what] and not found[name][what]:
                found[name][what] = week
    return found


def _by_entity(promise: Estimate, live: LiveMetric, policy: DriftPolicy) -> dict[str, bool]:
    """What one window came to as long as it was judged by its entities."""
    assert promise.value is not None
    assert promise.uncertainty is not None
    normal, error = NormalDist(), promise.uncertainty.by_entity
    floor = promise.value - HALF_WIDTH * error
    fall, spread = promise.value - live.value, math.hypot(error, live.error)
    chance = 1 - normal.cdf(fall / spread) if spread else float(fall <= 0)
    rollback = floor - live.value > normal.inv_cdf(1 - policy.error_rate) * live.error
    return {
        "rollback": rollback,
        "decay": live.value < floor and chance < policy.performance_level,
    }


def _lived(chain: Chain) -> Iterator[LiveMetric]:
    """The champion's figure of every week of the year."""
    for day in range(FIRST, FIRST + YEAR, 7):
        rows, said, _ = chain.window(day)
        measured: Figures | None
        if isinstance(said, Lists):
            wanted = {(e, g): {"i"} for e, g in zip(rows.entity, rows.group, strict=True)}
            measured = measure_lists(chain.template.metric, said.items, wanted)
        else:
            measured = measure_rows(chain.template.metric, rows.entity.tolist(), rows.label, said)
        assert measured is not None
        at = START + day * DAY
        figures = measured.value, measured.error, len(rows)
        yield LiveMetric(at, chain.template.metric, "1", *figures, at, measured.effective)


def _promised(promise: Estimate) -> tuple[float, PromisedFigure]:
    """The floor at promotion, and what windows are held against."""
    assert promise.value is not None
    sure = promise.uncertainty
    assert sure is not None
    expected = PromisedFigure(promise.value, sure.by_entity, sure.blocks, sure.swing)
    return promise.value - sure.half_width(), expected


def _before(figures: Sequence[LiveMetric], reach: timedelta) -> list[Window]:
    return [Window(one.value, one.error, one.effective) for one in earlier(figures, reach)]


def _facts(
    promise: Estimate, figures: Sequence[LiveMetric], reach: timedelta, policy: DriftPolicy
) -> RollbackFacts:
    live, (low, expected) = figures[-1], _promised(promise)
    return RollbackFacts(
        version="1",
        rung="own",
        metric="m",
        low=low,
        live=live.value,
        live_error=live.error,
        baseline=None,
        labels=live.labels,
        measured_at=live.as_of,
        error_rate=policy.performance_level,
        effective=live.effective,
        promised=expected,
        before=_before(figures, reach),
    )


def _performance(
    metric: str, promise: Estimate, figures: Sequence[LiveMetric], reach: timedelta
) -> Performance:
    live, (low, expected) = figures[-1], _promised(promise)
    return Performance(
        metric,
        expected.value,
        low,
        2 * expected.value - low,
        live.value,
        live.error,
        live.as_of,
        effective=live.effective,
        before=_before(figures, reach),
        swing=expected.swing,
        promoted_error=expected.error,
        promoted_blocks=expected.blocks,
    )


def rates(template: Template, chains: int, swing: float, seed: int = SEED) -> dict[str, Any]:
    """Shares of chains, with their 95 % intervals, by kind of chain and of evidence."""
    seeds = range(seed, seed + chains)
    found: dict[str, Any] = {"chains": chains}
    for kind in ("equal", "better"):
        done = [promoted(Chain(template, seed, swing, kind)) for seed in seeds]
        found[f"{kind}: promoted"] = _shares(done)
    for kind in ("unchanged", "decayed"):
        seen = [watched(Chain(template, seed, swing, kind)) for seed in seeds]
        for what in ("rollback", "decay"):
            late = DECAY if kind == "decayed" else 0
            found[f"{kind}: {what}"] = _shares(
                [{name: first[what] > late for name, first in one.items()} for one in seen]
            )
    return found


def _shares(done: Sequence[Mapping[str, bool]]) -> dict[str, list[float] | None]:
    return {name: share(sum(one[name] for one in done), len(done)) for name in done[0]}


def main() -> None:
    """Play every template with every swing, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED, help="of the first chain")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    began, report = time.process_time(), {}
    for template in TEMPLATES:
        for swing in SWINGS:
            found = rates(template, options.chains, swing, options.seed)
            report[f"{template.name}, swing {swing:g}"] = found
            print(f"\n{template.name}, weeks swing by {swing:g} standard errors")
            for name, shares in found.items():
                if name != "chains":
                    cells = (f"{kind} {_percent(one)}" for kind, one in shares.items())
                    print(f"  {name:24}{'   '.join(cells)}", flush=True)
    print(f"\n{time.process_time() - began:.0f} s of one core")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, sort_keys=True))


def _percent(found: Sequence[float]) -> str:
    value, low, high = (100 * one for one in found)
    return f"{value:5.1f} % ({low:.1f}–{high:.1f})"


if __name__ == "__main__":
    main()
