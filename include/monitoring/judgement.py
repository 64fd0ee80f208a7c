"""A judgement: a verdict with all that it rests on, as its page tells it and as JSON keeps it.

What is kept is enough to draw the page at any later time, as it would have been drawn at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from include.errors import ConfigError
from include.handoffs import Scored, StoredObject, pack, unpack
from include.monitoring.decisions import Verdict
from include.monitoring.gate import WindowComparison
from include.monitoring.matured import Matured
from include.monitoring.statistics import ColumnDrift
from include.use_cases.drift_policy import DriftPolicy

#: What a page depends on of a policy, whose other numbers are in the comparison already.
_OF_THE_POLICY: Final = ("threshold", "prediction_threshold", "sample_rows", "seed")


@dataclass(frozen=True)
class Judgement:
    """The verdict about one window of one model."""

    version: str
    since: datetime | None  #: start of the window; None where only its end is known
    until: datetime
    features: StoredObject  #: the window's rows
    verdict: Verdict
    comparison: WindowComparison
    policy: DriftPolicy
    unjudged: Mapping[str, str]  #: what besides columns was not judged, with the reason


def figures(
    verdict: Verdict, judgement: Judgement | None, known: Matured | None = None
) -> dict[str, Any]:
    """Everything that a verdict rests on, as JSON knows it: no infinity, no NaN.

    Args:
        judgement: None where nothing was compared.
    """
    kept: dict[str, Any] = {"verdict": verdict.name, "reasons": list(verdict.reasons)}
    if known is not None and known.unjudged:
        kept["unjudged"] = dict(known.unjudged)
    for name in ("performance", "calibration"):
        if (measured := getattr(known, name, None)) is not None:
            as_of = measured.as_of.astimezone(UTC).isoformat()
            kept[name] = _finite({**asdict(measured), "as_of": as_of})
    if judgement is not None:
        comparison = judgement.comparison
        kept |= {
            "score": verdict.score,
            "reference_entities": comparison.reference_entities,
            "current_entities": comparison.current_entities,
            "features": [_finite(asdict(column)) for column in comparison.columns],
            "prediction": None
            if comparison.prediction is None
            else _finite(asdict(comparison.prediction)),
            "skipped": dict(sorted(comparison.skipped.items())),
            "policy": {name: getattr(judgement.policy, name) for name in _OF_THE_POLICY},
            "window": {
                "version": judgement.version,
                "since": judgement.since and judgement.since.astimezone(UTC).isoformat(),
                "until": judgement.until.astimezone(UTC).isoformat(),
                "features": pack(judgement.features),
            },
        }
    return kept


def judged(kept: Mapping[str, Any]) -> Judgement:
    """The judgement that `figures` kept.

    Raises:
        ConfigError: they are of a time when figures did not name the rows that were judged.
    """
    if "window" not in kept:
        raise ConfigError(
            "these figures were kept before pages could be drawn from them; run the interval again"
        )
    prediction, window = kept["prediction"], kept["window"]
    return Judgement(
        version=window["version"],
        since=window["since"] and datetime.fromisoformat(window["since"]),
        until=datetime.fromisoformat(window["until"]),
        features=unpack(window["features"]),
        verdict=Verdict(kept["verdict"], kept["score"], tuple(kept["reasons"])),
        comparison=WindowComparison(
            columns=tuple(_column(column) for column in kept["features"]),
            prediction=None if prediction is None else _column(prediction),
            skipped=kept["skipped"],
            reference_entities=kept["reference_entities"],
            current_entities=kept["current_entities"],
        ),
        policy=DriftPolicy(**kept["policy"]),
        unjudged=kept.get("unjudged", {}),
    )


def path_of(scored: Scored) -> str:
    """Where the figures are, relative to the tenant's part of the lake."""
    at = scored.as_of.astimezone(UTC)
    instant = f"{at:%Y-%m-%d}" if at.hour == at.minute == 0 else f"{at:%Y-%m-%dT%H%M}"
    return f"reports/drift/{scored.use_case}/{instant}-v{scored.version}.json"


def text_of(kept: Mapping[str, Any]) -> bytes:
    """The figures as the file at `path_of` holds them."""
    return json.dumps(kept, indent=1, sort_keys=True).encode()


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with null for infinity, such as the limit of a column with a single bin."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def _column(kept: Mapping[str, Any]) -> ColumnDrift:
    values: dict[str, Any] = {
        one.name: math.inf if kept[one.name] is None else kept[one.name]
        for one in fields(ColumnDrift)
    }
    return ColumnDrift(**values)
