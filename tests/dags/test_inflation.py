"""Airflow's own check for values that change with every parse, as an error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

PROJECT = Path(__file__).resolve().parents[2]
#: The DAG files are loops: DAGs and tasks are constructed in the modules that they call.
CONSTRUCTING = sorted((*PROJECT.glob("dags/*.py"), *PROJECT.glob("include/pipeline/*.py")))


@pytest.fixture(autouse=True)
def _as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `conftest.py` says for parsing, whatever the tests before have left."""
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL", "error")


def errors(source: str, folder: Path) -> str:
    """What Airflow refuses a file for; empty where nothing is wrong.

    Airflow follows no import, and looks into a function only where the file itself calls it: so
    every function of the module is called below it.
    """
    tree = ast.parse(source)
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    file = folder / "constructing.py"
    file.write_text("\n".join([source, *(f"{name}()" for name in functions)]), encoding="utf-8")
    refused = check_dag_file_stability(file).get_error_format_dict(file, None) or {}
    return "".join(refused.values())


@pytest.mark.parametrize("file", CONSTRUCTING, ids=lambda file: str(file.relative_to(PROJECT)))
def test_no_constructor_takes_a_value_that_changes_with_every_parse(
    tmp_path: Path, file: Path
) -> None:
    """A clock or a random draw in a constructor would make a DAG version per parse, for ever."""
    assert errors(file.read_text(encoding="utf-8"), tmp_path) == ""


@pytest.mark.parametrize(
    ("module", "steady", "changing"),
    [
        ("platform_dags", "datetime(2017, 1, 1, tzinfo=UTC)", "datetime.now(UTC)"),
        ("platform_dags", 'task_id="retention"', "task_id=str(random.random())"),
        ("dags", "start_date=tenant.history_start", "start_date=random.choice(days)"),
    ],
)
def test_a_changing_value_in_our_own_constructors_is_an_error(
    tmp_path: Path, module: str, steady: str, changing: str
) -> None:
    """The check sees into the modules as they are written here."""
    source = (PROJECT / "include/pipeline" / f"{module}.py").read_text(encoding="utf-8")
    assert steady in source
    source = source.replace("import annotations\n", "import annotations\nimport random\n")
    assert changing in errors(source.replace(steady, changing), tmp_path)
