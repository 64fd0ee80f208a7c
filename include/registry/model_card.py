"""A model card as one page of HTML: no script, nothing from elsewhere, every value escaped.

What a card tells follows M. Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from include.registry.history import copied
from include.registry.interval_chart import Interval, chart

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;
color:#1c2733;background:#fff}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.05rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #ccd}
p{margin:.3rem 0}.sub{color:#566}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top;overflow-wrap:anywhere}
th{color:#566;font-weight:600;border-bottom:1px solid #ccd}td.n,th.n{text-align:right}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:.85em}
ul{margin:.3rem 0;padding-left:1.2rem}svg{max-width:100%;height:auto}
""".replace("\n", "")
_ORDER: Final = ("rows", "entities", "value", "low", "high")
_INTENDED: Final = {
    "baseline": "A rule of thumb, which every model has to beat.",
    "global": "Learnt from the tenants that consented to pooling.",
    "own": "Learnt from, or fitted to, this tenant's own events.",
}

Row = Sequence[Any]


def page(card: Mapping[str, Any]) -> str:
    """The page of a card.

    Args:
        card: as `registry.card.card` writes it; with `served` and `decisions`, where the ledger
            was asked, too.
    """
    model = f"{card['tenant']}.{card['use_case']}"
    title = f"{model}@{card['version']}" if card.get("version") else model
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="sub">{_text(card["rung"])}/{_text(card["name"])}, trained as of '
        f"{_text(card['as_of'][:10])}. {_text(_INTENDED.get(card['rung'], ''))}</p>",
        *_figures(card),
        *_beside(card),
        *_segments(card),
        *_decisions(card),
        *_data(card),
        *_limits(card),
        *_lineage(card),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _figures(card: Mapping[str, Any]) -> Iterator[str]:
    judged = card.get("judged") or {}
    if not judged.get("metrics"):
        yield "<h2>Metrics</h2><p>Nothing was measured.</p>"
        return
    deciding = judged["metric"]
    ours = f"this model ({card['rung']}/{card['name']})"
    others = {
        **{f"baseline/{name}": found for name, found in judged["baselines"].items()},
        **judged.get("others", {}),
    }
    yield f"<h2>Metrics</h2><p>{_text(_window(card))} Intervals are of 95 %.</p>"
    for metric in sorted(judged["metrics"], key=lambda name: (name != deciding, name)):
        bars = [Interval(ours, **_estimate(judged["metrics"][metric]), ours=True)]
        bars += [
            Interval(name, **_estimate(found[metric]))
            for name, found in others.items()
            if metric in found and f"{card['rung']}/{card['name']}" != name
        ]
        known = [bar for bar in bars if bar.value is not None]
        label = f"{metric}, which decides" if metric == deciding else metric
        yield f"<p><b>{_text(label)}</b></p>"
        yield chart(label, known) if known else "<p>Not measured.</p>"


def _beside(card: Mapping[str, Any]) -> Iterator[str]:
    judged = card.get("judged") or {}
    rows = [
        (one["metric"], one["against"], *map(_signed, (one["difference"], one["low"], one["high"])))
        for one in judged.get("comparisons", ())
    ]
    if rows:
        yield "<h2>Paired comparisons</h2>"
        yield _table(("metric", "against", "difference", "low", "high"), rows, numbers=2)
    rows = [
        (one["tenant"], *map(_signed, (one["difference"], one["low"], one["high"])))
        for one in judged.get("tenants", ())
    ]
    if rows:
        yield "<h2>Tenants, against who served before</h2>"
        yield _table(("tenant", "difference", "low", "high"), rows, numbers=1)


def _segments(card: Mapping[str, Any]) -> Iterator[str]:
    found = card["lineage"].get("segments") or {}
    parts = {name: one for name, one in found.items() if isinstance(one, Mapping)}
    if parts:
        there = {key for one in parts.values() for key in one}
        names = sorted(there, key=lambda n: (n not in _ORDER, (*_ORDER, n).index(n), n))
        rows = [(name, *(one.get(k) for k in names)) for name, one in parts.items()]
        yield "<h2>Segments and groups</h2>"
        yield _table(("of the deciding metric", *names), rows, numbers=1)
    gaps = [
        (one["best"], one["worst"], one["gap"], one["low"], one["high"], one["largest"])
        for one in (card.get("judged") or {}).get("groups", ())
    ]
    if gaps:
        yield _table(
            ("best group", "worst group", "gap", "low", "high", "allowed"), gaps, numbers=2
        )


def _decisions(card: Mapping[str, Any]) -> Iterator[str]:
    if card.get("served"):
        yield "<h2>Served</h2>"
        rows = [
            (one["since"][:16], (one["until"] or "now")[:16], one["actor"])
            for one in card["served"]
        ]
        yield _table(("since", "until", "decided by"), rows)
    if "decisions" in card:
        told = [
            f"{one['as_of'][:10]}, {one['trigger']}, by {one['actor']}: {' '.join(one['reasons'])}"
            for one in card["decisions"]
        ]
    else:
        told = list((card.get("judged") or {}).get("decision", ()))
    if told:
        yield f"<h2>Decisions</h2><ul>{''.join(f'<li>{_text(one)}</li>' for one in told)}</ul>"


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    lineage = card["lineage"]
    rows = [
        tuple(map(one.get, ("tenant", "table", "schema_fingerprint", "version", "rows")))
        for one in _mappings(lineage.get("tables"))
    ]
    if not rows and not lineage.get("windows"):
        return
    if copied(card):
        yield "<h2>Data it was judged on</h2>"
        parent = (
            f"It is {card['parent_version']} as it is, and learnt from nothing of the tenant's."
        )
        yield f"<p>{_text(parent)}</p>"
    else:
        yield "<h2>Data</h2>"
    if rows:
        yield _table(("tenant", "table", "schema", "version", "rows"), rows, numbers=3)
    windows, counts = lineage.get("windows") or {}, lineage.get("rows") or {}
    facts = [
        ("training snapshots", _span(windows.get("training") or ())),
        ("holdout snapshots", _span(windows.get("holdout") or ())),
        ("label horizon, days", f"{windows.get('horizon_days', 0):g}"),
        *((f"{name.replace('_', ' ')}, rows", count) for name, count in sorted(counts.items())),
        ("entities judged", (card.get("judged") or {}).get("entities")),
    ]
    yield _table(("", ""), [one for one in facts if one[1] not in (None, "")])


def _limits(card: Mapping[str, Any]) -> Iterator[str]:
    judged, lineage = card.get("judged") or {}, card["lineage"]
    found = [
        "It answers for entities like those of its training window; monitoring compares each "
        "scored window with that one and says where they part.",
    ]
    windows = lineage.get("windows") or {}
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
    notes = [one for one in judged.get("decision", ()) if "not measured" in one]
    listed = "".join(f"<li>{_text(one)}</li>" for one in (*found, *notes))
    yield f"<h2>Limits</h2><ul>{listed}</ul>"


def _lineage(card: Mapping[str, Any]) -> Iterator[str]:
    lineage = card["lineage"]
    facts: list[Row] = [
        ("parent", card["parent_version"] or "none"),
        ("feature service", card["feature_fingerprint"]),
        ("code revision", lineage.get("code_revision", "unknown")),
        ("seed", str(lineage.get("seed", ""))),
        ("trigger", lineage.get("trigger")),
        ("libraries", _json(lineage.get("libraries"))),
        ("parameters", _json(card["parameters"])),
        *(
            (f"training set of {one['recipe']['tenant']}", one["digest"])
            for one in _mappings(lineage.get("training_sets"))
        ),
        ("key", card["key"]),
    ]
    yield "<h2>Lineage</h2>"
    yield _table(("", ""), [one for one in facts if one[1] not in (None, "")])


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; none where it is something else, as in a version made elsewhere."""
    listed = value if isinstance(value, (list, tuple)) else ()
    return [one for one in listed if isinstance(one, Mapping)]


def _window(card: Mapping[str, Any]) -> str:
    holdout = (card["lineage"].get("windows") or {}).get("holdout") or ()
    span = _span(holdout)
    return f"Measured on snapshots of {span}." if span else "There was no later window to measure."


def _span(instants: Sequence[str]) -> str:
    days = [one[:10] for one in instants]
    if len(days) < 2:
        return "".join(days)
    return f"{days[0]} to {days[-1]} ({len(days)})"


def _estimate(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found.get(name) for name in ("value", "low", "high")}


def _table(head: Row, rows: Sequence[Row], numbers: int = 99) -> str:
    """Columns from `numbers` on stand to the right."""

    def line(tag: str, row: Row) -> str:
        cells = (
            f"<{tag}{' class=n' if at >= numbers else ''}>{_text(value)}</{tag}>"
            for at, value in enumerate(row)
        )
        return f"<tr>{''.join(cells)}</tr>"

    top = line("th", head) if any(head) else ""
    return f"<table>{top}{''.join(line('td', row) for row in rows)}</table>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(value if isinstance(value, str) else _json(value))


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, sort_keys=True, default=str)
