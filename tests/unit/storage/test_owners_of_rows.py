"""Only the adapters, and storage itself, say SQL about tenants' tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from include.runtime.state import PROJECT

BASELINE = import_module("include.storage.migrations.versions.0001_baseline")
TABLES = (*BASELINE.TABLES, *BASELINE.ONLINE_TABLES)
STATEMENT = re.compile(rf"\b(FROM|INTO|UPDATE|JOIN|TABLE)\s+({'|'.join(TABLES)})\b")
OWNERS = ("include/stores/postgres", "include/storage")
#: Says SQL about tables of MLflow's database, which have names of their own there.
ELSEWHERE = "include/registry/mlflow_workspace.py"


def texts(source: str) -> Iterator[str]:
    """Every text of a module, those with values in them included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "?" for one in node.values)
            yield "".join(map(str, parts))


def statements(path: Path) -> list[str]:
    """What a module says about tenants' tables."""
    found = (STATEMENT.search(text) for text in texts(path.read_text("utf-8")))
    return [match[0] for match in found if match]


def test_no_sql_outside_the_adapters() -> None:
    """A stage, a command or a page that wants rows asks a port for them."""
    strangers = {
        str(path.relative_to(PROJECT)): said
        for folder in ("include", "plugins", "dags")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if not str(path.relative_to(PROJECT)).startswith((*OWNERS, ELSEWHERE))
        and (said := statements(path))
    }
    assert strangers == {}


def test_every_table_has_an_owner() -> None:
    """What the search above looks for is what the adapters and storage say."""
    owned = {
        said.split()[-1]
        for folder in OWNERS
        for path in (PROJECT / folder).rglob("*.py")
        for said in statements(path)
    }
    assert owned >= set(TABLES)
