"""The gate and Evidently, each with its own code, on generated columns with known changes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.quality.drift_cases import CURRENT, Case, cases, counted, judged

SEED = 3


@pytest.fixture(scope="module")
def golden() -> list[Case]:
    return list(cases(SEED))


def test_the_gate_agrees_with_evidently(golden: list[Case]) -> None:
    """Of over 200 cases with the same method and threshold, all but ties have the same verdict."""
    verdicts = judged(golden, raw=False)
    clear = [one for one in verdicts if not one.tie]
    assert [one.name for one in clear if one.gate_drifted != one.evidently_drifted] == []
    assert len(verdicts) > 200
    assert len(clear) > 0.95 * len(verdicts)
    assert min(sum(v.gate_drifted for v in clear), sum(not v.gate_drifted for v in clear)) > 50


def test_the_gate_agrees_with_evidently_on_values_it_does_not_cut(golden: list[Case]) -> None:
    """Texts, flags and small counts have the same verdict as they are."""
    verdicts = judged([case for case in golden if case.as_it_is], raw=True)
    clear = [one for one in verdicts if not one.tie]
    assert [one.name for one in clear if one.gate_drifted != one.evidently_drifted] == []
    assert len({one.gate_drifted for one in clear}) == 2


def test_evidentlys_report_counts_what_its_test_called_drifted(golden: list[Case]) -> None:
    """The golden set's verdicts are those of a report of Evidently's over all of its columns."""
    expected = sum(one.evidently_drifted for one in judged(golden, raw=False))
    assert counted(golden, raw=False) == expected


def test_cases_are_what_their_names_say(golden: list[Case]) -> None:
    """Unchanged columns are unchanged, and a column that is all null is."""
    named = {case.name: case for case in golden}
    assert len(named) == len(golden)
    assert np.isnan(named["spend, 100% null"].after).sum() == CURRENT
    quiet = judged(
        [case for case in golden if case.name.endswith(("+ 0.0", "mixed 0.0"))], raw=False
    )
    assert len(quiet) == 11
    assert not any(one.gate_drifted or one.evidently_drifted for one in quiet)


def test_the_gate_needs_no_evidently() -> None:
    """Importing the stage, which every run does, does not import Evidently."""
    code = "import sys, include.monitoring.stage; sys.exit('evidently' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
