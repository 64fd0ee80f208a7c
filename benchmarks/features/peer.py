"""Feast in an environment of its own, started once and asked over a pipe.

The environment lies in `.bench/` of the project, which git ignores; making it is the only step that
needs a package index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

FEAST: Final = "feast[postgres]==0.67.*"
_ENVIRONMENT: Final = Path(__file__).resolve().parents[2] / ".bench" / "feast-0.67"
_DRIVER: Final = Path(__file__).with_name("feast_driver.py")


def feast_python() -> Path:
    """Python of the environment that holds Feast, made now where it is not there yet."""
    python, complete = _ENVIRONMENT / "bin" / "python", _ENVIRONMENT / "complete"
    if complete.exists():
        return python
    print(f"installing {FEAST} into {_ENVIRONMENT}", file=sys.stderr)
    shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--python", sys.executable, _ENVIRONMENT], check=True)
        install = [uv, "pip", "install", "--python", str(python)]
    else:
        venv.create(_ENVIRONMENT, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, FEAST], check=True)
    complete.touch()
    return python


class Feast:
    """A running driver; `ask` calls one of its functions."""

    def __init__(self, threads: int) -> None:
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by __exit__
        quiet = {"FEAST_USAGE": "False", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [feast_python(), _DRIVER],
            env={**os.environ, **quiet, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """What the driver's function `do` returned; raises `RuntimeError` with its traceback."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"Feast's process ended:\n{self._log.read()[-4000:]}")
        answer: dict[str, dict[str, Any]] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"Feast failed in {do!r}:\n{answer['error']}")
        return answer["ok"]
