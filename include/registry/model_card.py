"""A model card as one page of HTML: no script, and nothing from elsewhere.

What a card tells follows M. Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from include.pages import render
from include.registry.history import copied
from include.registry.interval_chart import Chart, ChartedInterval, chart

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


def page(card: Mapping[str, Any]) -> str:
    """The page of a card.

    Args:
        card: as `registry.card.card` writes it; with `served` and `decisions`, where the ledger
            was asked, too.
    """
    model = f"{card['tenant']}.{card['use_case']}"
    judged, lineage = card.get("judged") or {}, card["lineage"]
    windows = lineage.get("windows") or {}
    compared = ("difference", "low", "high")
    return render(
        "model_card.html.jinja",
        title=f"{model}@{card['version']}" if card.get("version") else model,
        model=_model(card),
        day=card["as_of"][:10],
        intended=_INTENDED.get(card["rung"], ""),
        measured=_measured(card),
        charts=list(_charts(card)),
        comparisons=_table(
            ("metric", "against", *compared),
            [
                (one["metric"], one["against"], *(_signed(one[name]) for name in compared))
                for one in judged.get("comparisons", ())
            ],
            numbers=2,
        ),
        tenants=_table(
            ("tenant", *compared),
            [
                (one["tenant"], *(_signed(one[name]) for name in compared))
                for one in judged.get("tenants", ())
            ],
            numbers=1,
        ),
        segments=_segments(lineage),
        gaps=_table(
            ("best group", "worst group", "gap", "low", "high", "allowed"),
            [
                (one["best"], one["worst"], one["gap"], one["low"], one["high"], one["largest"])
                for one in judged.get("groups", ())
            ],
            numbers=2,
        ),
        served=_table(
            ("since", "until", "decided by"),
            [
                (one["since"][:16], (one["until"] or "now")[:16], one["actor"])
                for one in card.get("served") or ()
            ],
        ),
        decisions=_decisions(card),
        copy_of=card["parent_version"] if copied(card) else "",
        windows=windows,
        tables=_table(
            ("tenant", "table", "schema", "version", "rows"),
            [
                tuple(map(one.get, ("tenant", "table", "schema_fingerprint", "version", "rows")))
                for one in _mappings(lineage.get("tables"))
            ],
            numbers=3,
        ),
        counts=_facts(_counts(windows, lineage.get("rows") or {}, judged)),
        limits=_limits(judged, windows),
        lineage=_facts(_lineage(card)),
    )


def _measured(card: Mapping[str, Any]) -> str:
    if not (card.get("judged") or {}).get("metrics"):
        return "Nothing was measured."
    span = _span((card["lineage"].get("windows") or {}).get("holdout") or ())
    where = f"Measured on snapshots of {span}." if span else "There was no later window to measure."
    return f"{where} Intervals are of 95 %."


def _charts(card: Mapping[str, Any]) -> Iterator[Chart]:
    """A chart for each metric, the deciding one first: this model above the others."""
    judged = card.get("judged") or {}
    metrics = judged.get("metrics") or {}
    for metric in sorted(metrics, key=lambda name: (name != judged["metric"], name)):
        others = {
            **{f"baseline/{name}": found for name, found in judged["baselines"].items()},
            **judged.get("others", {}),
        }
        others.pop(_model(card), None)
        estimates = [
            ChartedInterval(
                f"this model ({_model(card)})", **_estimate(metrics[metric]), ours=True
            ),
            *(
                ChartedInterval(n, **_estimate(one[metric]))
                for n, one in others.items()
                if metric in one
            ),
        ]
        label = f"{metric}, which decides" if metric == judged["metric"] else metric
        yield chart(label, [one for one in estimates if one.value is not None])


def _segments(lineage: Mapping[str, Any]) -> _Table:
    found = lineage.get("segments") or {}
    parts = {name: one for name, one in found.items() if isinstance(one, Mapping)}
    keys = {key for one in parts.values() for key in one}
    names = sorted(keys, key=lambda n: (n not in _ORDER, (*_ORDER, n).index(n), n))
    rows = [(name, *(one.get(key) for key in names)) for name, one in parts.items()]
    return _table(("of the deciding metric", *names), rows, numbers=1)


def _decisions(card: Mapping[str, Any]) -> list[str]:
    if "decisions" not in card:
        return list((card.get("judged") or {}).get("decision", ()))
    return [
        f"{one['as_of'][:10]}, {one['trigger']}, by {one['actor']}: {' '.join(one['reasons'])}"
        for one in card["decisions"]
    ]


def _counts(
    windows: Mapping[str, Any], rows: Mapping[str, Any], judged: Mapping[str, Any]
) -> Iterator[Row]:
    yield "training snapshots", _span(windows.get("training") or ())
    yield "holdout snapshots", _span(windows.get("holdout") or ())
    yield "label horizon, days", f"{windows.get('horizon_days', 0):g}"
    for name, count in sorted(rows.items()):
        yield f"{name.replace('_', ' ')}, rows", count
    yield "entities judged", judged.get("entities")


def _limits(judged: Mapping[str, Any], windows: Mapping[str, Any]) -> list[str]:
    found = [
        "It answers for entities like those of its training window; monitoring compares each "
        "scored window with that one and says where they part.",
    ]
    if windows.get("holdout"):
        found.append(
            "Its figures are of the holdout snapshots above and of nothing later; live figures "
            "stand in `tenantry why`."
        )
    if judged and judged["entities"] < judged["minimum_entities"]:
        found.append(
            f"The holdout has {judged['entities']} entities, fewer than the "
            f"{judged['minimum_entities']} it takes to decide anything by its figures."
        )
    return found + [one for one in judged.get("decision", ()) if "not measured" in one]


def _lineage(card: Mapping[str, Any]) -> Iterator[Row]:
    lineage = card["lineage"]
    yield "parent", card["parent_version"] or "none"
    yield "feature service", card["feature_fingerprint"]
    yield "code revision", lineage.get("code_revision", "unknown")
    yield "seed", str(lineage.get("seed", ""))
    yield "trigger", lineage.get("trigger")
    yield "libraries", _json(lineage.get("libraries"))
    yield "parameters", _json(card["parameters"])
    for one in _mappings(lineage.get("training_sets")):
        yield f"training set of {one['recipe']['tenant']}", one["digest"]
    yield "key", card["key"]


def _model(card: Mapping[str, Any]) -> str:
    return f"{card['rung']}/{card['name']}"


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; none where it is something else, as in a version made elsewhere."""
    listed = value if isinstance(value, (list, tuple)) else ()
    return [one for one in listed if isinstance(one, Mapping)]


def _span(instants: Sequence[str]) -> str:
    days = [one[:10] for one in instants]
    if len(days) < 2:
        return "".join(days)
    return f"{days[0]} to {days[-1]} ({len(days)})"


def _estimate(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found.get(name) for name in ("value", "low", "high")}


def _facts(facts: Iterable[Row]) -> _Table:
    """A table without a head, of the facts that are known."""
    return _table((), [one for one in facts if one[1] not in (None, "")])


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
