"""What one side measured, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Figures:
    """One side's intervals after the cut; what came before is in `before_seconds` alone."""

    side: str
    tenants: int
    use_cases: int
    pipelines: int  #: intervals of tenants
    failed: int  #: pipelines that ended in an error
    wall_seconds: float
    before_seconds: float  #: wall time of the history and the global models
    cpu_seconds: Mapping[str, float]  #: by component
    stage_seconds: Mapping[str, float]  #: CPU by stage, where the side can tell
    cause_seconds: Mapping[str, float]  #: CPU by stage, cause and place, likewise
    peak_bytes: Mapping[str, int]  #: memory by component, when all together had most
    left_before: Mapping[str, int]  #: bytes by place at the cut
    left: Mapping[str, int]  #: and at the end

    @property
    def per_minute(self) -> float:
        """Pipelines per minute."""
        return 60 * self.pipelines / self.wall_seconds

    @property
    def cpu_per_pipeline(self) -> float:
        """CPU seconds of all components."""
        return sum(self.cpu_seconds.values()) / self.pipelines

    @property
    def grown(self) -> dict[str, float]:
        """Place → bytes per pipeline."""
        places = sorted(self.left, key=lambda place: -self.left[place])
        return {
            place: (self.left[place] - self.left_before.get(place, 0)) / self.pipelines
            for place in places
        }


def show(figures: Figures, causes: int = 0) -> None:
    """Print them; with the places that take most CPU, if any are asked for."""
    each = figures.pipelines
    print(
        f"\n{figures.side}: {figures.tenants} tenants x {figures.use_cases} use cases, "
        f"{each} pipelines ({figures.failed} failed) in {figures.wall_seconds:.0f} s, "
        f"after {figures.before_seconds:.0f} s of history and global models"
    )
    print(f"  {figures.per_minute:.2f} pipelines per minute")
    print(f"  {figures.cpu_per_pipeline:.2f} CPU seconds per pipeline, of them")
    _rows({name: spent / each for name, spent in figures.cpu_seconds.items()}, "{:10.2f} s")
    if figures.stage_seconds:
        print("  CPU seconds per pipeline by stage")
        _rows({name: spent / each for name, spent in figures.stage_seconds.items()}, "{:10.2f} s")
    peak = {name: size / _MEGABYTE for name, size in figures.peak_bytes.items()}
    print(f"  {sum(peak.values()):.0f} MB of memory at most (proportional share), of them")
    _rows(peak, "{:10.0f} MB")
    print("  kB left behind per pipeline")
    _rows({place: size / 1024 for place, size in figures.grown.items()}, "{:10.1f} kB")
    if causes:
        print("  CPU seconds per pipeline by stage, cause and place")
        largest = sorted(figures.cause_seconds.items(), key=lambda spent: -spent[1])[:causes]
        _rows({name: spent / each for name, spent in largest}, "{:10.3f} s")


def _rows(values: Mapping[str, float], form: str) -> None:
    for name, value in values.items():
        print(f"    {form.format(value)}  {name}")


def read(document: Mapping[str, Any]) -> Figures:
    """Figures from what `dataclasses.asdict` made of them."""
    return Figures(**document)


def ratios(sides: Mapping[str, Figures]) -> dict[str, float]:
    """How the sides compare, by what is compared."""
    bare, airflow, naive = sides["bare"], sides["airflow"], sides["naive"]
    return {
        "wall time, airflow / bare": airflow.wall_seconds / bare.wall_seconds,
        "CPU per pipeline, airflow / bare": airflow.cpu_per_pipeline / bare.cpu_per_pipeline,
        "pipelines per minute, airflow / naive": airflow.per_minute / naive.per_minute,
        "CPU per pipeline, naive / airflow": naive.cpu_per_pipeline / airflow.cpu_per_pipeline,
    }
