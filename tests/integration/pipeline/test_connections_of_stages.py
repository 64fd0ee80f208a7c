"""A stage opens a few connections, however many transactions it has."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
import pytest
from installation import installed
from three_weeks import POOL, WEEKS, run

from include.pipeline import steps
from include.pipeline.stages import Stage
from include.storage import postgres

pytestmark = pytest.mark.integration


def test_a_stage_opens_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds the tenant's place and one for everything else, one more where the region's
    turn is held, and one for rows that are found by their keys. Each stage begins without any, as
    in a process of its own."""
    opened: Counter[str] = Counter()
    stages: list[str] = []
    connect, execute = vars(psycopg.Connection)["connect"].__func__, steps.execute

    def counted(cls: type[psycopg.Connection[Any]], conninfo: str = "", **how: Any) -> Any:
        opened[stages[-1]] += "/tenantry" in conninfo
        return connect(cls, conninfo, **how)

    def alone(stage: Stage, share: Any, received: Any) -> Any:
        monkeypatch.setattr(postgres, "_idle", {})
        stages.append(stage.name)
        return execute(stage, share, received)

    with installed() as here:
        here.open(POOL)
        monkeypatch.setattr(psycopg.Connection, "connect", classmethod(counted))
        monkeypatch.setattr(steps, "execute", alone)
        stages.append("opening")
        run(here, POOL, WEEKS[0])
        run(here, POOL, WEEKS[1])
    assert set(stages) >= {*("ingestion", "quality", "materialization", "features"), "monitoring"}
    assert set(stages) >= {"training", "registry", "scoring", "skew"}
    assert max(opened[name] / stages.count(name) for name in opened) <= 4
