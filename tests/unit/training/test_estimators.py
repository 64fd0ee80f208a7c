"""Estimators: what a use case may name can be fitted, stored and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.models.serialise import KINDS
from include.training import estimators
from include.training.fitting import GLOBAL_SETTINGS, SETTINGS
from include.use_cases.declaration import ESTIMATORS


def test_every_estimator_has_a_module_and_every_module_an_estimator() -> None:
    """No name without the code that fits it, and no code that nothing names."""
    folder = Path(estimators.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(ESTIMATORS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_fits_what_its_registration_says(name: str) -> None:
    """Lists or scores, a setting at least, and bytes for what it fits."""
    assert name in KINDS
    if ESTIMATORS[name].lists:
        assert callable(estimators.list_estimator(name).fit_lists)
    else:
        assert callable(estimators.row_estimator(name).fit)
        assert SETTINGS[name]
        assert GLOBAL_SETTINGS[name][: len(SETTINGS[name])] == SETTINGS[name]
