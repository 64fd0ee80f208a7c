"""The ladder's outcomes as figures with 95 % intervals, and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy import stats

Outcome = Mapping[str, Any]
#: An own model that is worse than the global one by more than this much AUC does harm.
HARM: Final = 0.01
#: What is to be reached: most false promotions, most harm among those that serve, least gain.
FALSE, HARMED, CAPTURED = 0.05, 0.02, 0.8
REPLICATES: Final = 1_000


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures by rows, by level of deviation, and over retrainings without any."""
    first = [one for one in outcomes if one["retraining"] == 0]
    sizes = sorted({one["rows"] for one in first})
    levels = sorted({one["level"] for one in first})
    return {
        "rows": {str(rows): of(_where(first, rows=rows)) for rows in sizes},
        "levels": {
            f"{rows} rows, deviation {level:g}": of(_where(first, rows=rows, level=level))
            for rows in sizes
            for level in levels
        },
        "retrained": retrained([one for one in outcomes if one["retraining"]]),
    }


def of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What was promoted among these tenants, and what it brought."""
    served = [one for one in outcomes if one["chosen"]]
    gain, best = (np.array([one[name] for one in outcomes]) for name in ("gain", "best"))
    captured = ratio(outcomes) if best.sum() > 0 else None
    names = sorted({name for one in outcomes for name in one["gains"]})
    return {
        "tenants": len(outcomes),
        "promoted": share(len(served), len(outcomes)),
        "promoted_though_no_better": share(sum(o["gain"] <= 0 for o in served), len(outcomes)),
        "serving_and_worse": share(sum(o["gain"] < -HARM for o in served), len(served)),
        "mean_gain": float(gain.mean()),
        "mean_best": float(best.mean()),
        "captured": captured,
        "captured_by_entity": None if captured is None else ratio(outcomes, "gain_by_entity"),
        "by_candidate": {
            name: {
                "promoted": sum(one["chosen"] == name for one in outcomes),
                "mean_gain_if_all_had_it": float(
                    np.mean([one["gains"].get(name, 0.0) for one in outcomes])
                ),
            }
            for name in names
        },
    }


def retrained(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Of tenants without a deviation, how many ever promoted something over all retrainings."""
    tenants = {(one["seed"], one["tenant"]) for one in outcomes}
    ever = {(one["seed"], one["tenant"]): one for one in outcomes if one["chosen"]}
    return {
        "tenants": len(tenants),
        "retrainings": max((one["retraining"] for one in outcomes), default=0),
        "ever_promoted": share(len(ever), len(tenants)),
        "ever_promoted_though_no_better": share(
            sum(one["gain"] <= 0 for one in ever.values()), len(tenants)
        ),
        "ever_promoted_and_worse": share(
            sum(one["gain"] < -HARM for one in ever.values()), len(tenants)
        ),
    }


def share(count: int, total: int) -> list[float] | None:
    """A share with its interval (Wilson 1927); None of nothing."""
    if not total:
        return None
    found = stats.binomtest(count, total).proportion_ci(method="wilson")
    return [count / total, float(found.low), float(found.high)]


def ratio(outcomes: Sequence[Outcome], gained: str = "gain") -> list[float]:
    """Gain served over gain possible, seeds resampled: tenants of one share their global model."""
    seeds = sorted({one["seed"] for one in outcomes})
    sums = np.array(
        [
            [
                sum(o.get(name, 0.0) for o in outcomes if o["seed"] == seed)
                for name in (gained, "best")
            ]
            for seed in seeds
        ]
    )
    draws = np.random.default_rng(0).integers(0, len(seeds), (REPLICATES, len(seeds)))
    gain, best = sums[draws].sum(axis=1).T
    some = best > 0
    low, high = np.quantile(gain[some] / best[some], (0.025, 0.975)) if some.any() else (0.0, 0.0)
    whole = sums.sum(axis=0)
    return [float(whole[0] / whole[1]), float(low), float(high)]


def missed(report: Mapping[str, Any], rows: int) -> list[str]:
    """What the ladder was to reach and did not, in sentences.

    Args:
        rows: at which the gain is judged.
    """
    most, least = f"more than {FALSE:.0%}", f"less than {CAPTURED:.0%}"
    found = []
    for name, one in report["levels"].items():
        if name.endswith("deviation 0") and _above(one["promoted_though_no_better"], FALSE):
            found.append(f"{name}: {most} of tenants were promoted though no better")
    if _above(report["retrained"]["ever_promoted_though_no_better"], FALSE):
        found.append(f"over all retrainings {most} of tenants were promoted though no better")
    for name, one in report["rows"].items():
        if _above(one["serving_and_worse"], HARMED):
            found.append(f"{name} rows: more than {HARMED:.0%} of own models that serve do harm")
    captured = report["rows"].get(str(rows), {}).get("captured")
    if captured is not None and captured[0] < CAPTURED:
        found.append(f"{rows} rows: {least} of the possible gain was had")
    return found


def _above(found: Sequence[float] | None, bound: float) -> bool:
    return found is not None and found[0] > bound


def shown(report: Mapping[str, Any]) -> str:
    """The report as text."""
    columns = (
        *("tenants", "promoted", "no better", "worse by > 0.01", "gain", "possible", "share"),
        "share by entity",
    )
    lines = ["", f"{'':30}" + "".join(f"{name:>22}" for name in columns)]
    for part, prefix in (("rows", "{} rows"), ("levels", "{}")):
        for name, one in report[part].items():
            cells = [
                f"{one['tenants']:,}",
                _percent(one["promoted"]),
                _percent(one["promoted_though_no_better"]),
                _percent(one["serving_and_worse"]),
                f"{one['mean_gain']:+.4f}",
                f"{one['mean_best']:+.4f}",
                _percent(one["captured"]),
                _percent(one["captured_by_entity"]),
            ]
            lines.append(f"{prefix.format(name):30}" + "".join(f"{cell:>22}" for cell in cells))
        lines.append("")
    lines.append("mean gain if every tenant had it, and how many got it:")
    for rows, one in report["rows"].items():
        parts = (
            f"{name} {c['mean_gain_if_all_had_it']:+.4f} ({c['promoted']:,})"
            for name, c in one["by_candidate"].items()
        )
        lines.append(f"{rows + ' rows':30}{', '.join(parts)}")
    many = report["retrained"]
    lines += [
        "",
        f"{many['tenants']:,} tenants without a deviation, retrained {many['retrainings']} times: "
        f"ever promoted {_percent(many['ever_promoted'])}, though no better "
        f"{_percent(many['ever_promoted_though_no_better'])}, worse by > 0.01 "
        f"{_percent(many['ever_promoted_and_worse'])}",
        f"{report['seconds']:.0f} s" if "seconds" in report else "",
    ]
    return "\n".join(lines)


def _percent(found: Sequence[float] | None) -> str:
    if found is None:
        return "–"
    value, low, high = (100 * one for one in found)
    return f"{value:.1f} % ({low:.1f}–{high:.1f})"


def _where(outcomes: Sequence[Outcome], **values: Any) -> list[Outcome]:
    wanted: Callable[[Outcome], bool] = lambda one: all(one[k] == v for k, v in values.items())  # noqa: E731
    return [one for one in outcomes if wanted(one)]
