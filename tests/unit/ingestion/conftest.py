"""The installation that sources try to reach into."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counted_rows import count_every_slice
from tests.unit.ingestion.sources import Listener, World, make_world


@pytest.fixture(autouse=True)
def counted_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test ingests, no row is lost from the counts."""
    count_every_slice(monkeypatch)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Folders of two tenants and of the platform, as they are without an operator's list."""
    made = make_world(tmp_path / "state", monkeypatch)
    root, listener = logging.getLogger(), Listener(made.logged)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield made
    finally:
        root.removeHandler(listener)
        root.setLevel(level)
