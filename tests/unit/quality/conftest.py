"""Tenants whose landing tables a test fills by hand, without a server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from include.stores.memory import in_memory
from tests.landings import Shop, new_shop


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[..., Shop]:
    """Makes a tenant nobody else has, with its own history of nothing."""
    return partial(new_shop, in_memory(), tmp_path)


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """One such tenant."""
    return make_shop()
