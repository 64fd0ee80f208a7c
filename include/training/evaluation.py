"""Measures candidates side by side on the holdout and writes down everything about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.models.estimators import matrix
from include.models.model import Model
from include.models.serialise import to_bytes
from include.registry.evidence import Comparison, Evidence, GroupGap, Measured, TenantEffect
from include.tenants.config import Fairness
from include.training.fairness import figures, gap
from include.training.metrics import NOTHING, Answers, Estimate, Intervals, Lists, pick
from include.training.rows import LabelledRows
from include.use_cases.declaration import TOP, UseCase

_LIBRARIES: Final = ("lightgbm", "numpy", "pyarrow", "scikit-learn", "skops")
_SEGMENTS: Final = ("low", "medium", "high")


@dataclass(frozen=True)
class Contender:
    """A model that is measured: its rung (or `incumbent`), name, bytes and ancestor."""

    rung: str
    name: str
    model: Model
    content: bytes
    parent_version: str = ""
    fresh: bool = True  #: False where it has learnt from the holdout's own time

    @classmethod
    def of(
        cls, rung: str, name: str, model: Model, parent_version: str = "", *, fresh: bool = True
    ) -> Contender:
        """A contender with its serialised bytes; `fresh` where it may be measured."""
        return cls(rung, name, model, to_bytes(model), parent_version, fresh)

    @property
    def key(self) -> str:
        """`rung/name`."""
        return f"{self.rung}/{self.name}"

    @property
    def digest(self) -> str:
        """Of the serialised bytes."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Evaluation:
    """Figures of every contender, and the evidence that a promotion is decided on."""

    estimates: Mapping[str, Mapping[str, Estimate]]  #: key → metric → estimate
    segments: Mapping[str, Mapping[str, Mapping[str, Any]]]  #: key → segment → figures
    secondary: Sequence[Mapping[str, Any]]  #: comparisons by the metrics that do not decide
    evidence: Evidence
    #: key → what later figures of the model are judged with, see `swings.Swings`
    swings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def evaluate(
    use_case: UseCase,
    holdout: LabelledRows,
    contenders: Sequence[Contender],
    incumbent: Contender | None,
    notes: Sequence[str],
    per_tenant: bool,
    fairness: Fairness | None = None,
    among: Collection[str] | None = None,
) -> Evaluation:
    """Measure every contender, and the incumbent, on the same rows.

    Args:
        fairness: which groups the tenant compares; `holdout.sensitive` holds them.
        among: items that lists may hold; those that somebody has had where None.
    """
    everyone = [*contenders, *([incumbent] if incumbent else [])]
    scores = {one.key: answers(one.model, holdout, among) for one in everyone if one.fresh}
    intervals = Intervals(holdout, use_case.reach)
    nothing = dict.fromkeys(use_case.metrics, NOTHING)
    estimates = {one.key: dict(nothing) for one in everyone}
    for key, found in scores.items():
        estimates[key] = {m: intervals.estimate(m, found) for m in use_case.metrics}

    pairs = list(_pairs([*contenders], incumbent))
    compared = {
        metric: [
            _compared(_difference(intervals, metric, scores, one, other), one, other)
            for one, other in pairs
        ]
        for metric in use_case.metrics
    }
    evidence = Evidence(
        metric=use_case.metric,
        entities=_judged_entities(use_case, holdout),
        minimum_entities=use_case.gates.minimum_entities,
        candidates=tuple(_measured(use_case, one, estimates) for one in contenders),
        incumbent=_measured(use_case, incumbent, estimates) if incumbent else None,
        comparisons=tuple(compared[use_case.metric]),
        tenants=tuple(_tenant_effects(use_case, holdout, scores, contenders, incumbent))
        if per_tenant
        else (),
        notes=tuple(notes),
        unmeasured=unmeasured(use_case, holdout),
    )
    segments = _segments(use_case, holdout, scores, per_tenant)
    if fairness is not None and len(holdout):
        groups, gaps = _groups(use_case, holdout, scores, fairness)
        segments = {key: {**segments[key], **groups[key]} for key in segments}
        evidence = replace(evidence, groups=tuple(gaps))
    return Evaluation(
        estimates,
        segments,
        [
            {"metric": metric, **asdict(replace(one, uncertainty=None))}
            for metric in use_case.metrics[1:]
            for one in compared[metric]
        ],
        evidence,
    )


def answers(model: Model, rows: LabelledRows, among: Collection[str] | None = None) -> Answers:
    """What the model says: a score per row, or a list per group, of items `among` these."""
    if not model.lists:
        return model.predict(rows.features)
    found = model.recommend(rows.history, TOP, among)
    lists: dict[str, list[str]] = {}
    columns = (found[name].to_pylist() for name in ("entity_id", "item_id"))
    for group, item in zip(*columns, strict=True):
        lists.setdefault(group, []).append(item)
    return Lists(lists)


def document(
    evaluation: Evaluation, everyone: Sequence[Contender], facts: Mapping[str, Any]
) -> bytes:
    """The evaluation as JSON that is the same for the same inputs."""
    models = {
        one.key: {
            "rung": one.rung,
            "name": one.name,
            "kind": one.model.kind,
            "digest": one.digest,
            "parent_version": one.parent_version,
            "parameters": dict(one.model.parameters),
            "metrics": {m: e.figures for m, e in evaluation.estimates[one.key].items()},
            "swing": evaluation.swings.get(one.key),
            "segments": evaluation.segments.get(one.key, {}),
        }
        for one in everyone
    }
    whole = {
        **facts,
        "models": models,
        "evidence": asdict(evaluation.evidence),
        "secondary_comparisons": list(evaluation.secondary),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    return json.dumps(whole, sort_keys=True, indent=1, allow_nan=False).encode()


def _pairs(
    contenders: Sequence[Contender], incumbent: Contender | None
) -> Iterator[tuple[Contender, Contender]]:
    """Every candidate against the incumbent, the baselines and the global model."""
    for one in contenders:
        if incumbent:
            yield one, incumbent
        for other in contenders:
            if other is not one and other.rung != "own" and one.rung != "baseline":
                yield one, other


def _difference(
    intervals: Intervals,
    metric: str,
    scores: Mapping[str, Answers],
    one: Contender,
    other: Contender,
) -> Estimate:
    if one.key not in scores or other.key not in scores:
        return NOTHING
    return intervals.difference(metric, scores[one.key], scores[other.key])


def _compared(found: Estimate, one: Contender, other: Contender) -> Comparison:
    figures = (found.value, found.low, found.high)
    return Comparison(one.key, other.key, *figures, uncertainty=found.uncertainty)


def unmeasured(use_case: UseCase, holdout: LabelledRows) -> str:
    """Why the deciding metric means nothing on these rows; empty where it does."""
    if not len(holdout):
        return "the holdout has no rows"
    if use_case.items or use_case.lists:
        return "" if (holdout.relevant > 0).any() else "nobody in the holdout wanted anything"
    if use_case.task == "regression":
        return "" if holdout.label.any() else "there was nothing to forecast in the holdout"
    positive = int((holdout.label == 1).sum())
    if 0 < positive < len(holdout):
        return ""
    all_are = "positive" if positive else "negative"
    return f"all {len(holdout):,} outcomes of the holdout are of one class ({all_are})"


def _measured(
    use_case: UseCase, one: Contender, estimates: Mapping[str, Mapping[str, Estimate]]
) -> Measured:
    return Measured(one.rung, one.name, one.digest, estimates[one.key][use_case.metric].value)


def _judged_entities(use_case: UseCase, holdout: LabelledRows) -> int:
    judged = (
        holdout.relevant > 0
        if use_case.items or use_case.lists
        else np.ones(len(holdout), dtype=bool)
    )
    return len(np.unique(holdout.entity[judged]))


def _tenant_effects(
    use_case: UseCase,
    holdout: LabelledRows,
    scores: Mapping[str, Answers],
    contenders: Sequence[Contender],
    incumbent: Contender | None,
) -> Iterator[TenantEffect]:
    if incumbent is None or incumbent.key not in scores:
        return
    for tenant in np.unique(holdout.tenant).tolist():
        mask = holdout.tenant == tenant
        intervals = Intervals(holdout.where(mask), use_case.reach)
        for one in contenders:
            if one.key in scores:
                found = intervals.difference(
                    use_case.metric, pick(scores[one.key], mask), pick(scores[incumbent.key], mask)
                )
                bounds = (found.value, found.low, found.high)
                yield TenantEffect(tenant, one.key, *bounds, intervals.entities, found.uncertainty)


def _segments(
    use_case: UseCase, holdout: LabelledRows, scores: Mapping[str, Answers], per_tenant: bool
) -> dict[str, dict[str, dict[str, Any]]]:
    """The deciding metric per tercile of activity, and per tenant of a global model."""
    if len(holdout) == 0:
        return {}
    parts = dict(_terciles(use_case, holdout))
    if per_tenant:
        for tenant in np.unique(holdout.tenant).tolist():
            parts[f"tenant={tenant}"] = holdout.tenant == tenant
    found: dict[str, dict[str, dict[str, Any]]] = {key: {} for key in scores}
    for name, mask in parts.items():
        rows = holdout.where(mask)
        intervals = Intervals(rows, use_case.reach)
        for key, values in scores.items():
            estimate = intervals.estimate(use_case.metric, pick(values, mask)).figures
            found[key][name] = {"rows": len(rows), "entities": intervals.entities, **estimate}
    return found


def _groups(
    use_case: UseCase, holdout: LabelledRows, scores: Mapping[str, Answers], fairness: Fairness
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[GroupGap]]:
    """Per model its figures by group, as segments, and the gap between best and worst."""
    segments: dict[str, dict[str, dict[str, Any]]] = {}
    gaps = []
    for key, found in scores.items():
        measure = (use_case.metric, holdout, found)
        groups = figures(*measure, use_case.reach, fairness.minimum_entities)
        segments[key] = {
            f"{fairness.attribute}={one.group}": {
                name: value for name, value in asdict(one).items() if name != "group"
            }
            for one in groups
        }
        between = gap(key, *measure, groups, fairness.largest_gap, use_case.reach)
        gaps += [between] if between else []
    return segments, gaps


def _terciles(
    use_case: UseCase, holdout: LabelledRows
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    value = np.nan_to_num(matrix(holdout.features, (use_case.segments_by,))[:, 0])
    _, first = np.unique(holdout.group, return_index=True)
    cuts = np.quantile(value[first], (1 / 3, 2 / 3))
    place = np.searchsorted(cuts, value, side="left")
    for position, name in enumerate(_SEGMENTS):
        if (place == position).any():
            yield f"{use_case.segments_by}={name}", place == position
