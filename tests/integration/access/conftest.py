"""One API server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow_access import Access, serving


@pytest.fixture(scope="session")
def access() -> Iterator[Access]:
    """Airflow with FAB, two tenants, and people with their roles."""
    with serving() as running:
        yield running
