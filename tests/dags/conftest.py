"""Fleets, and what Airflow makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Airflow writes a configuration into its home as soon as it is imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="tenantry-dags-"))
# Here, and in CI, an error; where it ran, an error would cost every tenant of the file its DAGs.
os.environ["AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL"] = "error"

import pytest

from tests.fleet import write_fleet

PROBE = Path(__file__).parent / "probe.py"


@dataclass(frozen=True)
class Parsed:
    """What `probe.py` saw."""

    dags: dict[str, str]
    modules: list[str]
    opened: list[str]
    connections: list[str]
    warnings: list[str]


Parse = Callable[..., Parsed]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """Executes all DAG files over a folder of tenants, in a fresh process."""

    def run(
        folder: Path, *, wanted: str = "", serialise: bool = False, hash_seed: str = "0"
    ) -> Parsed:
        environment = {
            **os.environ,
            "TENANTRY_TENANTS": str(folder),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "PYTHONHASHSEED": hash_seed,
        }
        environment.pop("_AIRFLOW_PARSING_CONTEXT_DAG_ID", None)
        if wanted:
            environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = wanted
        done = subprocess.run(
            [sys.executable, str(PROBE), *(["--serialise"] if serialise else [])],
            env=environment,
            cwd=PROBE.parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return Parsed(**json.loads(done.stdout.splitlines()[-1]))

    return run


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve tenants that differ in region, time zone, schedule, isolation and consent."""
    return write_fleet(tmp_path_factory.mktemp("fleet") / "tenants", 12)


@pytest.fixture(scope="session")
def large_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand tenants."""
    return write_fleet(tmp_path_factory.mktemp("large") / "tenants", 1000)
