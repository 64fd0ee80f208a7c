"""Groups of entities: figures, the gap between them, and a promotion it stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.registry.decision import decide_promotion
from include.registry.evidence import Comparison, Evidence, GroupGap, Measured
from include.training.fairness import figures, gap
from include.training.rows import LabelledRows, repeated

SEED = 5
REACH = timedelta(days=1)


def rows(sizes: dict[str, int], skill: dict[str, float]) -> tuple[LabelledRows, np.ndarray]:
    """Rows of each group, whose scores tell the classes apart as well as `skill` says."""
    draw = np.random.default_rng(SEED)
    group = np.array([name for name, size in sizes.items() for _ in range(size)])
    count = len(group)
    label = draw.integers(0, 2, count).astype(np.float64)
    scores = label * np.array([skill[name] for name in group]) + draw.normal(size=count)
    names = np.array([f"u{number}" for number in range(count)])
    made = LabelledRows(
        features=pa.table({"x": np.zeros(count)}),
        label=label,
        weight=np.ones(count),
        entity=names,
        item=np.full(count, ""),
        group=names,
        relevant=np.zeros(count, np.int64),
        tenant=np.full(count, "acme"),
        as_of=np.full(count, np.datetime64("2024-01-01", "us")),
        wanted=repeated((), count),
        sensitive=group,
    )
    return made, scores


def test_each_group_has_its_figures_and_small_ones_decide_nothing() -> None:
    """A handful of entities is told of, but neither best nor worst; nor are those of no group."""
    data, scores = rows(
        {"a": 400, "b": 400, "few": 10, "unknown": 400},
        {"a": 3.0, "b": 1.0, "few": 0.0, "unknown": 9.0},
    )
    found = figures("auc", data, scores, REACH, 30)
    assert [(one.group, one.entities, one.decides) for one in found] == [
        ("a", 400, True),
        ("b", 400, True),
        ("few", 10, False),
        ("unknown", 400, False),
    ]
    between = gap("own/x", "auc", data, scores, found, 0.05, REACH)
    assert between is not None
    assert (between.best, between.worst) == ("a", "b")
    assert between.low is not None
    assert 0 < between.low < between.gap
    assert between.refused


def test_the_share_of_a_group_among_the_picked_is_told() -> None:
    """Of equal groups, one with scores twice as high fills the best tenth."""
    data, _ = rows({"a": 100, "b": 100}, {"a": 0.0, "b": 0.0})
    scores = np.concatenate([np.arange(100.0), np.arange(100.0) / 2])
    picked = {one.group: one.picked for one in figures("auc", data, scores, REACH, 30)}
    assert picked == {"a": 0.2, "b": 0.0}


def test_a_model_that_is_equally_good_for_all_is_seldom_refused() -> None:
    """A gap of chance has a lower bound below what is allowed."""
    data, scores = rows({"a": 300, "b": 300}, {"a": 1.0, "b": 1.0})
    between = gap(
        "own/x", "auc", data, scores, figures("auc", data, scores, REACH, 30), 0.05, REACH
    )
    assert between is not None
    assert not between.refused


def test_one_group_alone_has_no_gap() -> None:
    """There is nothing to compare it with."""
    data, scores = rows({"a": 300}, {"a": 1.0})
    assert (
        gap("x", "auc", data, scores, figures("auc", data, scores, REACH, 30), None, SEED) is None
    )


def evidence(largest: float | None) -> Evidence:
    own, shared = (
        Measured("own", "lightgbm", "d1", 0.8),
        Measured("global", "lightgbm", "d2", 0.7),
    )
    return Evidence(
        metric="auc",
        entities=500,
        minimum_entities=20,
        candidates=(Measured("baseline", "recency", "d3", 0.6), shared, own),
        incumbent=Measured("incumbent", "lightgbm", "d2", 0.7),
        comparisons=tuple(
            Comparison("own/lightgbm", against, 0.1, 0.08, 0.12)
            for against in ("incumbent/lightgbm", "global/lightgbm")
        ),
        groups=(GroupGap("own/lightgbm", "a", "b", 0.2, 0.1, 0.3, largest),),
    )


@pytest.mark.parametrize(("largest", "promoted"), [(0.05, False), (0.15, True), (None, True)])
def test_a_gap_reliably_larger_than_allowed_stops_a_promotion(
    largest: float | None, promoted: bool
) -> None:
    """Only where the tenant sets a limit, and the reason names both groups."""
    decided = decide_promotion(evidence(largest))
    assert decided.promoted is promoted
    assert promoted or "group 'b' is 0.2000 behind 'a'" in decided.reason


def test_the_evidence_keeps_the_gaps() -> None:
    """What was decided on can be read from the evaluation again."""
    from dataclasses import asdict

    found = evidence(0.05)
    assert Evidence.from_document({"evidence": asdict(found)}).groups == found.groups
    assert replace(found, groups=()).groups == ()
