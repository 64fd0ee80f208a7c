"""Runs every benchmark of the feature store, each in a process of its own.

    python -m benchmarks.features [NAME …] [--rounds 5] [--threads 2] [--json FOLDER]

`FOLDER` gets one JSON file per benchmark. The exit status is 1 where a bound was missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NAMES: Final = ("windows", "online", "leakage", "largest_store")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them in order and say which missed a bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args(arguments)
    unknown = sorted(set(wanted.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    missed = []
    for name in wanted.names or NAMES:
        options = ["--rounds", str(wanted.rounds), "--threads", str(wanted.threads)]
        if wanted.json:
            wanted.json.mkdir(parents=True, exist_ok=True)
            options += ["--json", str(wanted.json / f"{name}.json")]
        command = [sys.executable, "-m", f"benchmarks.features.{name}", *options]
        if subprocess.run(command, check=False).returncode:
            missed.append(name)
    print(f"\nbounds missed or failed in: {', '.join(missed)}" if missed else "\nall bounds hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
