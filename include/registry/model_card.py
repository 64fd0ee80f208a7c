"""A model card as one page of HTML: no script, and nothing from elsewhere.

What a card tells follows M. Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from include.pages import render
from include.registry.history import copied
from include.registry.interval_chart import Chart, ChartedInterval, chart
from include.wall_clock import PLATFORM, reread, reread_day

_ORDER: Final = ("rows", "entities", "value", "low", "high")
_INTENDED: Final = {
    "baseline": "A rule of thumb, which every model has to beat.",
    "global": "Learnt from the tenants that consented to pooling.",
    "own": "Learnt from, or fitted to, this tenant's own events.",
}

Row = Sequence[Any]


class _Table(NamedTuple):
    head: Sequence[str]
    rows: list[list[str]]
    numbers: int  #: the first column that stands to the right


def page(card: Mapping[str, Any], timezone: str | None = None) -> str:
    """The page of a card.

    Args:
        card: as `registry.card.card` writes it, optionally with `served` and `decisions` from the
            ledger.
        timezone: which days and instants are told in; if None the zone at its training.
    """
    zone = timezone or _trained_in(card)
    model = f"{card['tenant']}.{card['use_case']}"
    judged, lineage = card.get("judged") or {}, card["lineage"]
    windows = lineage.get("windows") or {}
    compared = ("difference", "low", "high")
    return render(
        "model_card.html.jinja",
        title=f"{model}@{card['version']}" if card.get("version") else model,
        model=_model(card),
        day=reread_day(card["as_of"], zone),
        intended=_INTENDED.get(card["rung"], ""),
        measured=_measured(card, zone),
        charts=list(_charts(card)),
        comparisons=_table(
            ("metric", "against", *compared),
            [
                (
                    comparison["metric"],
                    comparison["against"],
                    *(_signed(comparison[name]) for name in compared),
                )
                for comparison in judged.get("comparisons", ())
            ],
            numbers=2,
        ),
        tenants=_table(
            ("tenant", *compared),
            [
                (effect["tenant"], *(_signed(effect[name]) for name in compared))
                for effect in judged.get("tenants", ())
            ],
            numbers=1,
        ),
        segments=_segments(lineage),
        gaps=_table(
            ("best group", "worst group", "gap", "low", "high", "allowed"),
            [
                (
                    group["best"],
                    group["worst"],
                    group["gap"],
                    group["low"],
                    group["high"],
                    group["largest"],
                )
                for group in judged.get("groups", ())
            ],
            numbers=2,
        ),
        served=_table(
            ("since", "until", "decided by"),
            [
                (
                    reread(period["since"], zone),
                    reread(period["until"], zone) if period["until"] else "now",
                    period["actor"],
                )
                for period in card.get("served") or ()
            ],
        ),
        decisions=_decisions(card, zone),
        copy_of=card["parent_version"] if copied(card) else "",
        windows=windows,
        tables=_table(
            ("tenant", "table", "schema", "version", "rows"),
            [
                tuple(map(table.get, ("tenant", "table", "schema_fingerprint", "version", "rows")))
                for table in _mappings(lineage.get("tables"))
            ],
            numbers=3,
        ),
        counts=_facts(_counts(windows, lineage.get("rows") or {}, judged, zone)),
        limits=_limits(judged, windows),
        lineage=_facts(_lineage(card)),
    )


def _trained_in(card: Mapping[str, Any]) -> str:
    """The time zone that the owner had at the training; UTC of many, and where none is recorded."""
    with suppress(KeyError, ValueError, OSError):  # no zone, as of a version made elsewhere
        return ZoneInfo(str(card["lineage"]["timezone"])).key
    return PLATFORM


def _measured(card: Mapping[str, Any], timezone: str) -> str:
    if not (card.get("judged") or {}).get("metrics"):
        return "Nothing was measured."
    span = _span((card["lineage"].get("windows") or {}).get("holdout") or (), timezone)
    where = f"Measured on snapshots of {span}." if span else "There was no later window to measure."
    return f"{where} Intervals are of 95 %."


def _charts(card: Mapping[str, Any]) -> Iterator[Chart]:
    """A chart for each metric, the deciding one first: this model above the others."""
    judged = card.get("judged") or {}
    metrics = judged.get("metrics") or {}
    for metric in sorted(metrics, key=lambda name: (name != judged["metric"], name)):
        others = {
            **{f"baseline/{name}": figures for name, figures in judged["baselines"].items()},
            **judged.get("others", {}),
        }
        others.pop(_model(card), None)
        estimates = [
            ChartedInterval(
                f"this model ({_model(card)})", **_estimate(metrics[metric]), ours=True
            ),
            *(
                ChartedInterval(n, **_estimate(figures[metric]))
                for n, figures in others.items()
                if metric in figures
            ),
        ]
        label = f"{metric}, which decides" if metric == judged["metric"] else metric
        yield chart(label, [estimate for estimate in estimates if estimate.value is not None])


def _segments(lineage: Mapping[str, Any]) -> _Table:
    segments = lineage.get("segments") or {}
    parts = {name: figures for name, figures in segments.items() if isinstance(figures, Mapping)}
    keys = {key for figures in parts.values() for key in figures}
    names = sorted(keys, key=lambda n: (n not in _ORDER, (*_ORDER, n).index(n), n))
    rows = [(name, *(figures.get(key) for key in names)) for name, figures in parts.items()]
    return _table(("of the deciding metric", *names), rows, numbers=1)


def _decisions(card: Mapping[str, Any], timezone: str) -> list[str]:
    if "decisions" not in card:
        return list((card.get("judged") or {}).get("decision", ()))
    return [
        f"{reread_day(decision['as_of'], timezone)}, {decision['trigger']}, "
        f"by {decision['actor']}: {' '.join(decision['reasons'])}"
        for decision in card["decisions"]
    ]


def _counts(
    windows: Mapping[str, Any],
    rows: Mapping[str, Any],
    judged: Mapping[str, Any],
    timezone: str,
) -> Iterator[Row]:
    yield "training snapshots", _span(windows.get("training") or (), timezone)
    yield "holdout snapshots", _span(windows.get("holdout") or (), timezone)
    yield "label horizon, days", f"{windows.get('horizon_days', 0):g}"
    for name, count in sorted(rows.items()):
        yield f"{name.replace('_', ' ')}, rows", count
    yield "entities judged", judged.get("entities")


def _limits(judged: Mapping[str, Any], windows: Mapping[str, Any]) -> list[str]:
    limits = [
        "It answers for entities like those of its training window; monitoring compares each "
        "scored window with that one and says where they part.",
    ]
    if windows.get("holdout"):
        limits.append(
            "Its figures are of the holdout snapshots above and of nothing later; live figures "
            "stand in `tenantry why`."
        )
    if judged and judged["entities"] < judged["minimum_entities"]:
        limits.append(
            f"The holdout has {judged['entities']} entities, fewer than the "
            f"{judged['minimum_entities']} it takes to decide anything by its figures."
        )
    return limits + [reason for reason in judged.get("decision", ()) if "not measured" in reason]


def _lineage(card: Mapping[str, Any]) -> Iterator[Row]:
    lineage = card["lineage"]
    yield "parent", card["parent_version"] or "none"
    yield "feature service", card["feature_fingerprint"]
    yield "code revision", lineage.get("code_revision", "unknown")
    yield "seed", str(lineage.get("seed", ""))
    yield "trigger", lineage.get("trigger")
    yield "libraries", _json(lineage.get("libraries"))
    yield "parameters", _json(card["parameters"])
    for training_set in _mappings(lineage.get("training_sets")):
        yield f"training set of {training_set['recipe']['tenant']}", training_set["digest"]
    yield "key", card["key"]


def _model(card: Mapping[str, Any]) -> str:
    return f"{card['rung']}/{card['name']}"


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; none where the value is no list, as in a version made elsewhere."""
    listed = value if isinstance(value, (list, tuple)) else ()
    return [element for element in listed if isinstance(element, Mapping)]


def _span(instants: Sequence[str], timezone: str) -> str:
    days = [reread_day(instant, timezone) for instant in instants]
    if len(days) < 2:
        return "".join(days)
    return f"{days[0]} to {days[-1]} ({len(days)})"


def _estimate(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures.get(name) for name in ("value", "low", "high")}


def _facts(facts: Iterable[Row]) -> _Table:
    """A table without a head, of the facts that have a value."""
    return _table((), [fact for fact in facts if fact[1] not in (None, "")])


def _table(head: Sequence[str], rows: Iterable[Row], numbers: int = 99) -> _Table:
    return _Table(head, [[_text(value) for value in row] for row in rows], numbers)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else _json(value)


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, sort_keys=True, default=str)
