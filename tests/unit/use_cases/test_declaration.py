"""What a use case may declare, and how one is found."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from include import use_cases
from include.errors import ConfigError, UnknownNameError


def test_every_name_leads_to_a_use_case_of_that_name() -> None:
    """`get` finds whatever `names` lists."""
    assert use_cases.names() >= {"churn", "recommendation"}
    for name in use_cases.names():
        assert use_cases.get(name).name == name


def test_an_unknown_use_case_is_refused_with_the_known_ones() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(UnknownNameError, match=r"known: .*churn, .*recommendation"):
        use_cases.get("chrun")


@pytest.mark.parametrize(
    "name", ["declaration", "details", "losses", "spines", "__init__", "../churn", "churn.py"]
)
def test_only_use_cases_can_be_imported(name: str) -> None:
    """A module that declares no use case, or a path, is no use case."""
    with pytest.raises(UnknownNameError):
        use_cases.get(name)


def test_listing_use_cases_imports_nothing_heavy() -> None:
    """DAG parsing asks for the names and must not pay for pandas."""
    code = (
        "import sys; from include import use_cases; use_cases.names(); "
        "heavy = {'pandas', 'pyarrow', 'numpy', 'lightgbm', 'sklearn', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_baseline_over_an_unknown_feature_is_refused() -> None:
    """A baseline reads a feature of the use case's own service."""
    case = use_cases.get("churn")
    wrong = replace(case.baselines[0], column="recency__of_nothing")
    with pytest.raises(UnknownNameError, match="recency__of_nothing"):
        replace(case, baselines=(wrong,))


def test_a_metric_of_another_task_is_refused() -> None:
    """AUC judges no ranking."""
    with pytest.raises(UnknownNameError, match=r"known: hit@10, ndcg@10"):
        replace(use_cases.get("recommendation"), metrics=("auc",))


def test_a_ranking_without_items_is_refused() -> None:
    """Something must be ranked."""
    with pytest.raises(ConfigError, match="items"):
        replace(use_cases.get("recommendation"), items=None)
