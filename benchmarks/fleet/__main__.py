"""Measures a fleet: the bare loop, Tenantry on Airflow, a naive pipeline on Airflow, or all three.

    python -m benchmarks.fleet bare|airflow|naive|compare [--tenants 7] [--weeks 4] [--use-cases 2]
                                                          [--simulated] [--daily] [--json FILE]

Every side works in a folder of its own, which is gone afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.fleet import airflow, bare, figures, naive
from benchmarks.fleet.fleet import USE_CASES, FleetPlan

_SIDES = {"bare": bare.run, "airflow": airflow.run, "naive": naive.run}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("side", choices=(*_SIDES, "compare"))
    parser.add_argument("--tenants", type=int, default=7)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--use-cases", type=int, default=2, choices=range(1, len(USE_CASES) + 1))
    parser.add_argument("--simulated", action="store_true", help="small simulated shops")
    parser.add_argument("--daily", action="store_true", help="intervals of a day, not of a week")
    parser.add_argument("--causes", type=int, default=0, help="that many places that take most CPU")
    parser.add_argument("--json", type=Path, help="write the figures here")
    wanted = parser.parse_args(arguments)
    if wanted.side == "compare":
        sizes = [*(arguments or sys.argv[1:])]
        sizes.remove("compare")
        return _compare(sizes, wanted.json)
    plan = FleetPlan(wanted.tenants, wanted.weeks, wanted.use_cases, wanted.simulated, wanted.daily)
    home = Path(tempfile.mkdtemp(prefix="tenantry-fleet-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers are stopped then, too
    try:
        measured = _SIDES[wanted.side](plan, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    figures.show(measured, wanted.causes)
    if wanted.json:
        wanted.json.write_text(json.dumps(asdict(measured), indent=1))
    return 0


def _compare(sizes: list[str], to: Path | None) -> int:
    """Run every side in a process of its own, and print the ratios."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in _SIDES:
            file = Path(folder) / f"{side}.json"
            command = [sys.executable, "-m", "benchmarks.fleet", side, *sizes, "--json", str(file)]
            if subprocess.run(command, check=False).returncode:
                return 1
            measured[side] = figures.read(json.loads(file.read_text()))
    ratios = figures.ratios(measured)
    print()
    for name, ratio in ratios.items():
        print(f"{ratio:8.2f}  {name}")
    if to:
        sides = {side: asdict(one) for side, one in measured.items()}
        to.write_text(json.dumps({"ratios": ratios, "sides": sides}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
