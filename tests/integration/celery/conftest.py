"""One deployment for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery_deployment import Deployment, deployed


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    """Postgres, Redis, the init job and Airflow's five components, with one tenant's data."""
    with deployed() as running:
        yield running
