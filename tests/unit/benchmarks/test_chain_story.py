"""A chain's own forecast is not promoted, rolled back on one week and promoted again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.quality import common_shocks as shocks
from benchmarks.quality.common_shocks import DAY, FIRST, START, TEMPLATES, Chain
from include.models.measures import measure_rows
from include.monitoring.live_metrics import LiveMetric
from include.registry.decay import decide_rollback
from include.registry.decision import decide_promotion
from include.training.metrics import Intervals
from include.training.rows import LabelledRows
from include.use_cases.drift_policy import DriftPolicy

CHAIN = replace(TEMPLATES[0], entities=891)
POLICY = DriftPolicy()


def story(chain: Chain, *, by_entity: bool) -> list[str]:
    """What happens to the own forecast in half a year: trained monthly, measured weekly."""
    told: list[str] = []
    promise, figures, challenge = None, list[LiveMetric](), 0
    for week in range(26):
        known = FIRST + 7 * week
        if promise is None and week % 4 == 0:
            raw = shocks.difference(chain, known)
            found = shocks.by_entity(raw) if by_entity else raw
            if decide_promotion(shocks._evidence(found, challenge)).promoted:
                told.append("promoted")
                parts = chain.judged(known)
                rows, said = (
                    LabelledRows.stacked([p[0] for p in parts]),
                    np.concatenate(
                        [p[2] for p in parts]  # type: ignore[misc]
                    ),
                )
                promise = Intervals(rows, 7 * DAY).estimate(chain.template.metric, said)
                figures, challenge = [], 0
            challenge += 1
        elif promise is not None:
            rows, _, said = chain.window(known - 7)
            assert isinstance(said, np.ndarray)
            one = measure_rows(chain.template.metric, rows.entity.tolist(), rows.label, said)
            assert one is not None
            at = START + (known - 7) * DAY
            measured = (one.value, one.error, len(rows), at, one.effective)
            figures.append(LiveMetric(at, chain.template.metric, "2", *measured))
            if by_entity:
                back = shocks._by_entity(promise, figures[-1], POLICY)["rollback"]
            else:
                facts = shocks._facts(promise, figures, 7 * DAY, POLICY)
                back = decide_rollback(facts).back
            if back:
                told.append("rolled back")
                promise = None
    return told


def test_one_week_neither_promotes_nor_rolls_back() -> None:
    """Forecasts of 891 series that are equally good, in weeks that swing by ten times the interval:
    by entity one is promoted, rolled back and promoted again; by both nothing ever happens."""
    chains = [Chain(CHAIN, seed, 10.0, "equal") for seed in range(4)]
    before = [story(chain, by_entity=True) for chain in chains]
    assert any(told[:3] == ["promoted", "rolled back", "promoted"] for told in before), before
    assert [story(chain, by_entity=False) for chain in chains] == [[]] * 4


def test_a_forecast_that_is_better_in_every_week_stays() -> None:
    """Weeks that swing less than what it gains: it is promoted once, and serves on."""
    better = Chain(replace(CHAIN, gain=0.1), 1, 3.0, "better")
    assert story(better, by_entity=False) == ["promoted"]
