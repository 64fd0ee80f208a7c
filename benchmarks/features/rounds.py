"""Alternating rounds, ratios with their spread, and bounds that hold or not."""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa


def options(description: str | None, **sizes: int) -> argparse.ArgumentParser:
    """`--rounds`, `--threads`, `--seed` and `--json`, and one option per size."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="for both sides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size)
    return parser


def limit_threads(threads: int) -> None:
    """Give this process, and every process it starts, so many processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """`run` as a side of `alternate`: garbage from before is not on its bill."""

    def seconds() -> float:
        gc.collect()
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return seconds


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every side in every round, after one round that does not count."""
    for run in sides.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            found[name].append(run())
    return found


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round, how many times the second goes into the first."""
    return [a / b for a, b in zip(over, under, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


@dataclass
class Report:
    """Prints figures as they come, and keeps them."""

    title: str
    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(f"\n{self.title}", flush=True)

    def table(self, sides: Mapping[str, Sequence[float]], unit: str) -> None:
        """Minimum, median and maximum of each side."""
        print(f"  {unit:44}{'minimum':>10}{'median':>10}{'maximum':>10}")
        for side, values in sides.items():
            low, middle, high = min(values), median(values), max(values)
            print(f"  {side:44}{low:10.3f}{middle:10.3f}{high:10.3f}", flush=True)
            self.figures.setdefault(unit, {})[side] = list(values)

    def note(self, name: str, value: Any) -> None:
        """A figure that no bound is set for."""
        shown = f"{value:,}" if isinstance(value, int) else value
        print(f"  {name}: {shown}", flush=True)
        self.figures[name] = value

    def ratio(self, name: str, values: Sequence[float], limit: str = "") -> None:
        """A ratio by its median over the rounds; `limit` as for `judge`."""
        spread = f"({min(values):.2f} to {max(values):.2f})"
        self.judge(name, median(values), limit, spread)
        self.figures[name] = list(values)

    def judge(self, name: str, value: float, limit: str, spread: str = "") -> None:
        """A figure, and whether it is what `limit` (`>= 5`, `<= 2 ms` or none) asks for."""
        shown = f"{value:,.3f}".rstrip("0").rstrip(".") + (f" {spread}" if spread else "")
        self.figures[name] = value
        if not limit:
            print(f"        {name}: {shown}", flush=True)
            return
        operator, bound = limit.split()[:2]
        holds = value >= float(bound) if operator == ">=" else value <= float(bound)
        print(f"  {'holds ' if holds else 'MISSED'} {name}: {shown}, wanted {limit}", flush=True)
        if not holds:
            self.missed.append(f"{name}: {shown}, wanted {limit}")

    def finish(self, to: Path | None) -> int:
        """Write the figures where asked to; the exit status: 1 where a bound was missed."""
        if to is not None:
            document = {"title": self.title, "missed": self.missed, "figures": self.figures}
            to.write_text(json.dumps(document, indent=1))
        return 1 if self.missed else 0
