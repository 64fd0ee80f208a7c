"""Tenants whose landing tables a test fills by hand, on the real Postgres and a lake of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from include.stores.postgres import in_postgres
from tests.landings import Shop, new_shop


@pytest.fixture
def make_shop(database: None, tmp_path: Path) -> Callable[..., Shop]:
    """Makes a tenant nobody else has, with its own history of nothing."""
    return partial(new_shop, in_postgres(), tmp_path)


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """One such tenant."""
    return make_shop()
