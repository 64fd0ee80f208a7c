"""The only place that knows Great Expectations: declarations and a frame in, outcomes out.

Four of its habits are guarded against. A suite drops an expectation whose type it does not know,
so the counts are compared. A missing column is no error but an `exception_info`, which counts as a
failed check. Results hold raw values of the tenant's unless they are asked for without. Which rows
are unexpected is told in one format only, and left out in the others, so it is compared with how
many.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from include.errors import ConfigError, IntegrityError
from include.quality.suites import Check, Outcome

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig

_RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",  # the one that says which rows
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
    "return_unexpected_index_query": False,
}

# It logs a traceback for what is raised here as an error of our own, and a temporary folder that
# it has already removed.
for _name in ("great_expectations", "great_expectations.data_context.types.base"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Evaluator:
    """One ephemeral context; nothing of it is shared with another run or written to disk."""

    def __init__(self) -> None:
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        asset = context.data_sources.add_pandas("landing").add_dataframe_asset("rows")
        self._frames = asset.add_batch_definition_whole_dataframe("all")

    def evaluate(self, frame: pd.DataFrame, checks: Sequence[Check]) -> tuple[Outcome, ...]:
        """Outcomes in the order of `checks`.

        Args:
            frame: rows numbered from 0, the numbers that outcomes name them by.

        Raises:
            ConfigError: Great Expectations did not evaluate every check.
            IntegrityError: it did not tell all rows that it counted.
        """
        suite = gx.ExpectationSuite(
            name="suite", expectations=[_configuration(i, check) for i, check in enumerate(checks)]
        )
        _same(checks, suite.expectations)
        batch = self._frames.get_batch(batch_parameters={"dataframe": frame})
        results: list[Any] = batch.validate(suite, result_format=_RESULT_FORMAT).results
        _same(checks, [result.expectation_config for result in results])
        results.sort(key=lambda result: int(result.expectation_config.meta["index"]))
        return tuple(_outcome(result, len(frame)) for result in results)


def _configuration(index: int, check: Check) -> dict[str, Any]:
    column = {"column": check.column} if check.column else {}
    kwargs = {name: value for name, value in check.kwargs.items() if value is not None}
    return {"type": check.type, "kwargs": {**column, **kwargs}, "meta": {"index": index}}


def _same(checks: Sequence[Check], configured: Sequence[Any]) -> None:
    indices = {int(one.meta["index"]) for one in configured}
    missing = [f"{c.name} ({c.type})" for i, c in enumerate(checks) if i not in indices]
    if missing:
        raise ConfigError(
            f"Great Expectations dropped {len(missing)} of {len(checks)} checks: "
            f"{', '.join(missing)}; correct their type or arguments in include/quality/suites.py"
        )


def _outcome(result: Any, rows: int) -> Outcome:
    """One result; a check of the whole table, or one that did not run, concerns all its rows."""
    error = _error(result.exception_info)
    found = result.result or {}
    success = bool(result.success) and not error
    if "unexpected_count" not in found:
        return Outcome(success, 0 if success else rows, rows, error)
    count = int(found["unexpected_count"])
    unexpected = () if error else tuple(found.get("unexpected_index_list") or ())
    if len(unexpected) != count and not error:
        raise IntegrityError(
            f"Great Expectations found {count} unexpected rows and told which {len(unexpected)} "
            "are; correct the result format in include/quality/great_expectations_adapter.py"
        )
    return Outcome(success, count, int(found["element_count"]), error, unexpected)


def _error(info: Any) -> str:
    """The exception's message: the information is one record, or one for each metric."""
    if not info:
        return ""
    records = [info] if "raised_exception" in info else list(info.values())
    raised = [str(r.get("exception_message")) for r in records if r.get("raised_exception")]
    return "; ".join(sorted(set(raised)))[:500]
