"""What the commands that read files and ledgers cost: CPU seconds of each, over several rounds.

Run alone, where an installation is up that knows the tenant:
`python benchmarks/commands.py TENANT USE_CASE [--rounds 5]`. Every round is a process of its own.
CPU seconds of user and system are told, as they depend less on what else the machine does.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "--help",
    "tenants list",
    "tenants show {tenant}",
    "tenants check",
    "status",
    "why {tenant} {use_case}",
    "history {tenant}",
    "card {tenant} {use_case}",
    "experiment list",
    "suspicion list",
    "audit show {tenant}",
    "audit verify",
    "features list",
    "features freshness",
    "features skew {tenant}",
)


def cpu_seconds(arguments: list[str]) -> float:
    """Of one process that runs the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = "from include.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], cwd=PROJECT, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr.decode().strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print median, least and most of the rounds, a line per command."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("tenant")
    arguments.add_argument("use_case")
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    for command in COMMANDS:
        told = command.format(tenant=asked.tenant, use_case=asked.use_case)
        found = [cpu_seconds(told.split()) for _ in range(asked.rounds)]
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{told:28} {statistics.median(found):5.2f} s  ({spread})", flush=True)


if __name__ == "__main__":
    main()
