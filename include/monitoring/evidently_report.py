"""Evidently's view of the same comparison, to be looked at.

Evidently's own default tests disagree with each other between window sizes, and its chi-square
raises false alarms, so it is handed the PSI and the limit that `statistics` worked out: the page
and the verdict cannot contradict each other. Of Evidently's preset only the table of columns is
drawn, each with why it counts as drifted or does not: whether the window as a whole has drifted is
for the verdict to say, which stands on top (`verdict_page`). Columns that are empty in a window are
kept from it, as one such column makes the whole report fail.
"""

from __future__ import annotations

import os
import re
import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

os.environ.setdefault("DO_NOT_TRACK", "true")  # read by Evidently's event logger

import pandas as pd
from evidently import ColumnType, DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.presets import DataDriftPreset

from include.monitoring.statistics import ColumnDrift
from include.monitoring.windows import WindowSample

_METHOD: Final = "PSI on the reference's deciles"
#: Identifiers that Evidently draws at random for every rendering.
_RANDOM: Final = re.compile(
    r"metric_[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
_NAMESPACE: Final = uuid.UUID("6f1c9f0e-3c55-5a0e-9b39-3b4b1d0b7a11")
_MARKUP: Final = str.maketrans({"<": "‹", ">": "›"})
#: What `_recall` answers with, while Evidently runs.
_judged: ContextVar[dict[str, ColumnDrift]] = ContextVar("judged")
#: Column → what `_Columns` writes of it, while Evidently draws.
_told: ContextVar[dict[str, str]] = ContextVar("told")


def render(
    compared: Sequence[ColumnDrift],
    reference: Mapping[str, WindowSample],
    current: Mapping[str, WindowSample],
    as_of: datetime,
    reasons: Mapping[str, str],
) -> str:
    """A self-contained HTML page, about 5 MB; the same input gives the same text.

    Args:
        reasons: column → why it counts as drifted, or does not.

    Returns an empty text when no column can be shown.
    """
    shown = _shown(compared, reference, current)
    if not shown:
        return ""
    preset = _Columns(columns=[c.column for c in shown], **_methods(shown))
    token = _told.set({name: _without_markup(why) for name, why in reasons.items()})
    try:
        snapshot = _run(preset, shown, reference, current, as_of)
        return _without_randomness(snapshot.get_html_str(as_iframe=False))
    finally:
        _told.reset(token)


def _run(
    metric: Any,
    shown: Sequence[ColumnDrift],
    reference: Mapping[str, WindowSample],
    current: Mapping[str, WindowSample],
    as_of: datetime | None,
) -> Any:
    token = _judged.set({c.column: c for c in shown})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # correlations of a constant column
            return Report([metric]).run(
                _dataset(current, shown), _dataset(reference, shown), timestamp=as_of
            )
    finally:
        _judged.reset(token)


class _Columns(DataDriftPreset):  # type: ignore[misc]  # Evidently has no types
    """The preset's table, without its counters, which judge the window by a share of their own."""

    def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
        """Evidently's table with our reasons in the place of its two words."""
        (table,) = (w for w in super().render(context, child_widgets) if w.type == "big_table")
        for row in table.params["data"]:
            row["data_drift"] = _told.get()[row["column_name"]]
        table.title = "What the columns look like"
        return [table]


def _recall(_: object, current: pd.Series[Any], __: object, ___: float) -> tuple[float, bool]:
    """A test in Evidently's form that answers what has been judged already."""
    column = _judged.get()[str(current.name)]
    return column.psi, column.drifted


register_stattest(
    StatTest(_METHOD, _METHOD, [ColumnType.Numerical, ColumnType.Categorical]), default_impl=_recall
)


def _shown(
    compared: Sequence[ColumnDrift],
    reference: Mapping[str, WindowSample],
    current: Mapping[str, WindowSample],
) -> list[ColumnDrift]:
    return [
        c
        for c in compared
        if reference[c.column].null_share < 1 and current[c.column].null_share < 1
    ]


def _methods(shown: Sequence[ColumnDrift]) -> dict[str, Any]:
    return {
        "num_method": _METHOD,
        "cat_method": _METHOD,
        "per_column_threshold": {c.column: c.limit for c in shown},
    }


def _dataset(samples: Mapping[str, WindowSample], shown: Sequence[ColumnDrift]) -> Dataset:
    columns = {c.column: _harmless(samples[c.column]) for c in shown}
    numeric = [n for n in columns if samples[n].values.dtype.kind == "f"]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[n for n in columns if n not in numeric],
    )
    return Dataset.from_pandas(pd.DataFrame(columns), definition)


def _harmless(sample: WindowSample) -> pd.Series[Any]:
    """The values with texts made harmless, as Evidently writes them into its page's script."""
    if sample.values.dtype.kind == "f":
        return pd.Series(sample.values)
    return pd.Series([v if v is None else _without_markup(v) for v in sample.values], dtype=object)


def _without_markup(text: str) -> str:
    return text.translate(_MARKUP)


def _without_randomness(page: str) -> str:
    names: dict[str, str] = {}

    def steady(found: re.Match[str]) -> str:
        text = found.group()
        if text not in names:
            fresh = uuid.uuid5(_NAMESPACE, str(len(names)))
            names[text] = f"metric_{fresh.hex}" if text.startswith("metric_") else str(fresh)
        return names[text]

    return _RANDOM.sub(steady, page)
