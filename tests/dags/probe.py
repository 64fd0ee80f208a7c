"""Executes the DAG files as Airflow does, in a process of its own, and tells what happened.

Prints JSON: `dags` (id → digest of its serialised form, or "" without `--serialise`), `modules`
(heavy ones that were imported), `opened` (tenant files that were read), `connections` (attempts to
reach any network address), `warnings` (log lines).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import runpy
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("pandas", "numpy", "scipy", "pyarrow", "sklearn", "mlflow", "evidently", "duckdb"),
    *("great_expectations", "deltalake", "lightgbm", "skops", "psycopg", "psycopg2", "alembic"),
)

opened: set[str] = set()
connections: list[str] = []
tenants = os.environ["TENANTRY_TENANTS"]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(tenants):
        opened.add(Path(str(arguments[0])).name)
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        connections.append(f"{event} {arguments[1:]}")
        raise PermissionError("no network while a DAG file is parsed")


class _Kept(logging.Handler):
    lines: list[str] = []  # noqa: RUF012  (one process, one handler)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> None:
    """Parse; then, where asked to, serialise."""
    sys.addaudithook(_watch)
    logging.getLogger("include").addHandler(_Kept())
    found = {}
    for file in sorted((PROJECT / "dags").glob("*.py")):
        found |= {k: v for k, v in runpy.run_path(str(file)).items() if "." in k}
    modules = [name for name in HEAVY if name in sys.modules]
    digests = dict.fromkeys(found, "")
    if "--serialise" in sys.argv:
        from airflow.serialization.serialized_objects import DagSerialization

        for dag_id, dag in found.items():
            # Airflow writes keys in the order of its own sets, and sorts them before it compares.
            text = json.dumps(DagSerialization.to_dict(dag), sort_keys=True)
            digests[dag_id] = hashlib.sha256(text.encode()).hexdigest()
    result = {
        "dags": digests,
        "modules": modules,
        "opened": sorted(opened),
        "connections": connections,
        "warnings": _Kept.lines,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
