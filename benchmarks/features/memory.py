"""Peak memory of one call, measured in a fresh process of its own."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_MEGABYTE = 1024 * 1024


def measure(run: Callable[[], object]) -> None:
    """Print how long `run` takes and its peak in megabytes, in all and above what was there before.

    Call it in a process that has loaded the inputs and warmed up.
    """
    gc.collect()
    before = psutil.Process().memory_info().rss
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    started = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - started
    peak = _peak()
    del result
    found = {"peak": peak, "above": peak - before}
    print(json.dumps({n: v / _MEGABYTE for n, v in found.items()} | {"seconds": seconds}))


def in_child(arguments: Sequence[str]) -> dict[str, float]:
    """What `measure` printed in `python -m …`."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024
