"""The init job refuses to start half configured."""

from __future__ import annotations

import pytest

from include.errors import ConfigError
from include.runtime.initialise import REQUIRED, initialise


def test_all_missing_variables_are_named_at_once() -> None:
    """Nobody has to fix a deployment one variable at a time."""
    with pytest.raises(ConfigError) as told:
        initialise({"TENANTRY_ADMIN_USER": "admin"})
    for name in REQUIRED:
        assert (name in str(told.value)) == (name != "TENANTRY_ADMIN_USER")


def test_an_empty_password_is_no_password() -> None:
    """A variable that is set to nothing counts as missing."""
    with pytest.raises(ConfigError, match="not set: TENANTRY_ADMIN_PASSWORD;"):
        initialise({**dict.fromkeys(REQUIRED, "x"), "TENANTRY_ADMIN_PASSWORD": ""})
