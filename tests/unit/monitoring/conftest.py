"""Tenants that are monitored without a server: everything they leave is in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.storage.lake import Lake
from include.stores.memory import in_memory
from tests.watched import Watched, config


@pytest.fixture
def new_tenant(tmp_path: Path) -> Callable[..., Watched]:
    """Makes a tenant of one platform."""
    stores, lake = in_memory(), Lake(tmp_path / "lake")
    return lambda **changes: Watched(config(**changes), lake, stores)


@pytest.fixture
def tenant(new_tenant: Callable[..., Watched]) -> Watched:
    """One tenant."""
    return new_tenant()
