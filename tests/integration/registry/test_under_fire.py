"""Promotions and rollbacks under readers and SIGKILL: always one champion, always a whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
from under_fire import Request

from include.runtime.state import PROJECT
from include.storage.lake import Lake

pytestmark = pytest.mark.integration


def fire(request: Request) -> dict[str, Any]:
    """What the experiment found, also printed."""
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "tests" / "under_fire.py")],
        input=json.dumps(asdict(request)),
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=7_200,
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    print(json.dumps(found, indent=2))
    return found


def check(found: dict[str, Any], tasks: int) -> None:
    """What must hold however the kills fell."""
    assert found["errors"] == []
    assert found["wrong"] == []
    assert found["lagging_at_rest"] == 0
    done = sum(found[name] for name in ("promotions", "kept", "rollbacks", "refused"))
    assert done == tasks
    assert found["kills"] > 0
    assert found["reads"] > 0


def test_a_few_promotions_under_fire(mlflow_uri: str, lake: Lake) -> None:
    """Thirty promotions and rollbacks by three writers that are killed: readers see one complete
    champion at every moment, and at rest alias and ledger agree."""
    check(fire(Request(mlflow_uri, str(lake.root), 2, 30, 1, 0.3)), 30)


@pytest.mark.soak
def test_a_thousand_promotions_under_fire(mlflow_uri: str, lake: Lake) -> None:
    """The same with so many tasks that a champion changes a thousand times, with ten tenants and
    the global model at once."""
    found = fire(Request(mlflow_uri, str(lake.root), 10, 1_100, 2, 0.4))
    check(found, 1_100)
    moved = (found[name] for name in ("promotions", "rollbacks", "blast_rollbacks"))
    assert sum(moved) >= 1_000
