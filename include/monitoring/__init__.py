"""Monitoring: whether the current window differs from the reference, and what follows from it.

`monitor` is the stage. `statistics` measures, `decisions` judges (pure, with reasons), and `live`
measures models once labels mature. `drift_records`, `retrains`, `live_metrics` and `skew_findings`
are the ports to what is kept; `evidently_report` draws.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.monitoring.stage import Champion, monitor

__all__ = ["Champion", "monitor"]


def __getattr__(name: str) -> Any:
    """Import the stage on first use: the triggerer needs the light `retrains` only."""
    if name in __all__:
        from include.monitoring import stage

        return getattr(stage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
