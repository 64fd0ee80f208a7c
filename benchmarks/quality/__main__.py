"""Runs every benchmark of quality, each in a process of its own.

    python -m benchmarks.quality [NAME …] [--json FOLDER]

`FOLDER` gets one JSON file per benchmark. The exit status is 1 where a bound was missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Templates first, then what decides about their models.
NAMES: Final = (
    "movielens",
    "weeks",
    "weekly_playlist",
    "bought_together",
    "lead_scoring",
    "churn",
    "matching",
    "demand",
    "fraud",
    "engagement",
    "drift",
    "outages",
    "ladder",
    "target_leaks",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them in order and say which missed a bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FOLDER")
    wanted = parser.parse_args(arguments)
    unknown = sorted(set(wanted.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    missed = []
    for name in wanted.names or NAMES:
        print(f"\n{name}\n{'=' * len(name)}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.quality.{name}"]
        began = time.monotonic()
        if wanted.json:
            wanted.json.mkdir(parents=True, exist_ok=True)
            command += ["--json", str(wanted.json / f"{name}.json")]
        failed = subprocess.run(command, check=False).returncode
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        missed += [name] if failed else []
    if missed:
        print(f"missed a bound, or failed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
