"""Drift detection, measured: found in time, quiet otherwise, and of one mind with Evidently.

    python -m benchmarks.quality.drift [--json FILE]

Simulated tenants with drift of every kind at a known day; tenants on which nothing or only the
season changes; the golden set of generated columns that Evidently judges too; and the census
control, from a wheel that is fetched on first use; and stationary tenants of every age (see
`drift_young`). Intervals are Clopper and Pearson's, 95 %. Takes about half an hour on one core, of
which all but five minutes are for the ages.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

from scipy.stats import beta

from benchmarks.quality import drift_census
from benchmarks.quality.drift_cases import cases, judged
from benchmarks.quality.drift_shared import drifted
from benchmarks.quality.drift_simulation import (
    TRAINED,
    Setting,
    detections,
    false_alarms,
    weekends,
    yearly_season,
)
from benchmarks.quality.drift_young import AGES, WATCHED, changed, stationary
from benchmarks.quality.tables import Drift
from include.monitoring.gate import compare_windows
from include.monitoring.profiles import WindowProfile, profile_window
from include.use_cases.drift_policy import DriftPolicy

SEED: Final = 20_170_101
QUIET: Final = (Setting(50), Setting(100), Setting(300), Setting(1_000), Setting(300, features=40))
#: Sizes as `benchmarks.quality.tables.Drift` defines them.
DRIFTING: Final = (
    Setting(100, kind="covariate", size=1.0),
    Setting(300, kind="covariate", size=0.75),
    Setting(300, kind="covariate", size=1.0, over=14),
    Setting(1_000, kind="covariate", size=0.6),
    Setting(500, kind="concept", size=1.0),
    Setting(1_000, kind="concept", size=1.0),
    Setting(2_000, kind="concept", size=0.7),
    Setting(300, kind="prior", size=1.0),
    Setting(1_000, kind="prior", size=0.75),
)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--tenants", type=int, default=100, help="per setting")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "false_alarms": [_quiet(one, options.tenants) for one in QUIET],
        "detections": [_drifting(one, 2 * options.tenants) for one in DRIFTING],
        "seasons": _seasons(max(options.tenants // 5, 1)),
        "shared": _shared(2 * options.tenants),
        "ages": young_tenants(options.tenants / 100),
        "golden": _golden(),
        "census": _census(),
        "gate_milliseconds": _gate_speed(),
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True))


def share(count: int, of: int) -> dict[str, float]:
    """A share with its exact interval (C. Clopper and E. Pearson, Biometrika 26, 1934)."""
    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0
    return {"count": count, "of": of, "share": count / of, "low": low, "high": high}


def _quiet(setting: Setting, tenants: int) -> dict[str, Any]:
    found = share(*false_alarms(setting, tenants, 10, SEED))
    print(
        f"nothing drifts, {setting.rows:,} entities a week, {setting.features} features: "
        f"{_shown(found)} of tenant-months with an alarm",
        flush=True,
    )
    return {**asdict(setting), **found}


def _drifting(setting: Setting, tenants: int) -> dict[str, Any]:
    first = detections(setting, tenants, SEED)
    found = share(sum(one > 0 for one in first), len(first))
    at_once = sum(one == 1 for one in first) / len(first)
    over = f" over {setting.over:.0f} days" if setting.over else ""
    print(
        f"{setting.kind} of {setting.size}{over}, {setting.rows:,} entities a week: found within "
        f"3 windows {_shown(found)}, in the first {at_once:.0%}",
        flush=True,
    )
    return {**asdict(setting), **found, "in_the_first": at_once}


def _seasons(tenants: int) -> dict[str, Any]:
    real = Drift("covariate", TRAINED + 70.0, 1.0)
    found = {
        "year": yearly_season(500, tenants, SEED),
        "year_and_drift": yearly_season(500, tenants, SEED, real),
        "weekday": weekends(300, tenants, SEED),
    }
    for name, counted in found.items():
        alarms = share(counted["alarms"], counted["windows"])
        blind = share(counted["without the season"], counted["windows"])
        late = f"; drift on top found in {counted['found']} of {tenants}" if "drift" in name else ""
        print(
            f"season ({name}): alarms in {_shown(alarms)} of windows, {blind['share']:.0%} if it "
            f"were not looked at{late}",
            flush=True,
        )
    return found


def _shared(tenants: int) -> list[dict[str, Any]]:
    """Windows in which a column that swings for all items alike is called drift, and in which one
    that moved by a deviation beside it is."""
    rows = []
    for swing in (0.0, 0.2, 0.5, 1.0):
        alarms = {
            known: share(
                sum(one["shared"] for one in drifted(swing, tenants, SEED, dispersion=known)),
                tenants,
            )
            for known in (True, False)
        }
        moved = share(sum(one["own"] for one in drifted(swing, tenants, SEED, 1.0)), tenants)
        print(
            f"items share swings of {swing}: alarms {_shown(alarms[True])}, as independent ones "
            f"{_shown(alarms[False])}; drift of another column found {_shown(moved)}",
            flush=True,
        )
        rows.append(
            {"swing": swing, "alarms": alarms[True], "blind": alarms[False], "found": moved}
        )
    return rows


def young_tenants(scale: float) -> dict[str, Any]:
    """Per use case and age of the reference: tenant-months with an alarm where nothing changes,
    and whether a change is found."""
    found: dict[str, Any] = {}
    for name, tenants in WATCHED.items():
        number = max(round(scale * tenants), 1)
        for age in AGES:
            quiet = stationary(name, age, number, SEED)
            moved = changed(name, age, max(number // 2, 1), SEED)
            found[f"{name} {age}"] = {"quiet": quiet, "moved": moved}
            print(f"{name}, reference at {age} days: {quiet}, {moved}", flush=True)
        months = sum(found[f"{name} {age}"]["quiet"]["months"] for age in AGES)
        for kind in ("alarms", "blind"):
            count = sum(found[f"{name} {age}"]["quiet"][kind] for age in AGES)
            found[f"{name} {kind}"] = share(count, months)
            print(f"{name}, {kind}: {_shown(found[f'{name} {kind}'])} of tenant-months")
    return found


def _golden() -> dict[str, Any]:
    chosen = list(cases(SEED))
    whole = [case for case in chosen if case.as_it_is]
    found: dict[str, Any] = {}
    for name, verdicts in (
        ("reference's deciles", judged(chosen, raw=False)),
        ("as they are", judged(whole, raw=True)),
    ):
        clear = [one for one in verdicts if not one.tie]
        apart = [one.name for one in clear if one.gate_drifted != one.evidently_drifted]
        found[name] = {"cases": len(verdicts), "ties": len(verdicts) - len(clear), "apart": apart}
        print(
            f"golden set, {name}: {len(clear) - len(apart)} of {len(clear)} verdicts are "
            f"Evidently's, {len(verdicts) - len(clear)} ties",
            flush=True,
        )
    return found


def _census() -> dict[str, Any]:
    found = drift_census.watch()
    print(
        f"census control: {len(found.alarms)} alarms in {found.windows} windows; largest PSI "
        f"{found.largest_psi:.3f} ({found.column}); AUC {found.promoted_auc:.3f}, never below "
        f"{found.lowest_auc:.3f}",
        flush=True,
    )
    for alarm in found.alarms:
        print(f"  {alarm}")
    return asdict(found)


def _gate_speed() -> dict[str, float]:
    """One window of 5,000 rows and 40 features, the best of five."""
    tenant = Setting(5_000, features=40).tenant(SEED)
    rows, reference = tenant.rows(TRAINED), json.dumps(tenant.reference.to_json())
    profiling, comparing = [], []
    for _ in range(5):
        start = time.perf_counter()
        current = profile_window(rows, ("user_id",))
        middle = time.perf_counter()
        compare_windows(WindowProfile.from_json(json.loads(reference)), current, DriftPolicy())
        profiling.append(1e3 * (middle - start))
        comparing.append(1e3 * (time.perf_counter() - middle))
    found = {"profile": min(profiling), "compare": min(comparing), "bytes": len(reference)}
    print(
        f"the gate, 5,000 rows of 40 features: {found['profile']:.0f} ms to profile the window, "
        f"{found['compare']:.0f} ms to compare it with the reference's profile "
        f"({len(reference) / 1e3:.0f} kB)"
    )
    return found


def _shown(found: dict[str, float]) -> str:
    return f"{found['share']:.1%} ({found['low']:.1%}–{found['high']:.1%})"


if __name__ == "__main__":
    main()
