"""Where this process spends CPU: a sample of the stack for every hundredth of a second of it.

The kernel's profiling timer counts CPU time, not time that passes, so that waiting costs nothing.
A long call into C is one late sample; each sample therefore weighs what was spent since the last.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from functools import cache
from pathlib import PurePath
from types import FrameType
from typing import Final

_EVERY: Final = 0.01  #: CPU seconds
#: Package → cause: the outermost of them on the stack is who asked for the work.
_CAUSES: Final = {
    "evidently": "Evidently",
    "great_expectations": "Great Expectations",
    "mlflow": "MLflow",
    "lightgbm": "fits",
    "sklearn": "fits",
    "psycopg": "Postgres client",
    "deltalake": "Delta",
    "duckdb": "DuckDB",
}
_OWN: Final = "own code, Arrow, numpy"

#: Cause, and the place in `include` that led there (module:function).
Place = tuple[str, str]
_seconds: Counter[Place] = Counter()
_last = 0.0


def start() -> None:
    """Sample this process from now on; called in its main thread."""
    global _last
    _last = time.process_time()
    signal.signal(signal.SIGPROF, _sample)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)


def take() -> Counter[Place]:
    """CPU seconds by place since they were taken last."""
    taken = Counter(_seconds)
    _seconds.clear()
    return taken


def _sample(_: int, frame: FrameType | None) -> None:
    global _last
    now = time.process_time()
    _seconds[_place(frame)] += now - _last  # type: ignore[assignment]
    _last = now


def _place(frame: FrameType | None) -> Place:
    """Frames are seen from the innermost outwards: what is seen later overrules."""
    cause, place, inner = _OWN, "", ""
    while frame is not None:
        package, module = _origin(frame.f_code.co_filename)
        if package in _CAUSES:
            cause, place = _CAUSES[package], ""
        elif package == "include":
            inner = inner or f"{module}:{frame.f_code.co_name}"
            place = place or f"{module}:{frame.f_code.co_name}"
        frame = frame.f_back
    return cause, place or inner


@cache
def _origin(filename: str) -> tuple[str, str]:
    """The top package that a file belongs to, and the module within `include`."""
    parts = PurePath(filename).with_suffix("").parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1], ""
    if "include" in parts:
        return "include", ".".join(parts[parts.index("include") + 1 :])
    return "", ""
