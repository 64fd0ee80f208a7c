"""Monitoring: has the current window changed against what the champion was judged on, and what now.

`monitor` is the stage. `statistics` measures, `decisions` judges (pure, with reasons), `ledger`
keeps every decision and what became of it, `live` measures models once labels mature,
`evidently_report` draws.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.monitoring.stage import Champion, monitor

__all__ = ["Champion", "monitor"]


def __getattr__(name: str) -> Any:
    """Import the stage on first use: the triggerer needs the light `ledger` only."""
    if name in __all__:
        from include.monitoring import stage

        return getattr(stage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
