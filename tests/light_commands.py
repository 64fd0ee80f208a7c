"""Runs the `tenantry` command in a process of its own, and says what heavy it has imported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from include.runtime.state import PROJECT

#: Libraries of which importing one takes longer than everything else that such a command does.
HEAVY = ("mlflow", "pandas", "sklearn", "lightgbm", "evidently", "great_expectations", "airflow")
_PROBE = f"""
import sys
from include import cli
sys.argv[0] = "tenantry"
try:
    cli.main()
finally:
    print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    output: str
    errors: str
    heavy: tuple[str, ...]  #: of `HEAVY`, what it has imported


def ran(*arguments: str, **environment: str) -> Ran:
    """The command with these arguments, in this environment and the variables given."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    errors, _, heavy = done.stderr.rstrip("\n").rpartition("\n")
    return Ran(done.returncode, done.stdout, errors, tuple(heavy.split()))
