"""What Airflow's processes take on with the plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.plugins.visitors import PLUGINS

_LOAD = """
import json, sys
from airflow import plugins_manager
before = set(sys.modules)
plugins_manager.ensure_plugins_loaded()
found = {"new": sorted(set(sys.modules) - before), "errors": plugins_manager.get_import_errors()}
found["names"] = [plugin["name"] for plugin in plugins_manager.get_plugin_info(["name"])]
found["views"] = plugins_manager.get_plugin_info(["external_views"])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a fresh process loads from the plugins folder."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", _LOAD], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_airflow_finds_one_plugin_and_no_error(loaded: dict[str, object]) -> None:
    """The modules behind the pages are not taken for plugins themselves."""
    assert loaded["errors"] == {}
    assert "tenantry_reports" in str(loaded["names"])


def test_a_process_that_serves_no_page_imports_none(loaded: dict[str, object]) -> None:
    """Every task's process loads plugins: ours costs one small file."""
    new = {name.partition(".")[0] for name in loaded["new"]}  # type: ignore[attr-defined]
    assert "tenantry_reports" in new
    heavy = {"tenantry_pages", "include", "fastapi", "pandas", "pyarrow", "psycopg", "deltalake"}
    assert not heavy & new


def test_the_views_are_a_menu_entry_and_a_tab(loaded: dict[str, object]) -> None:
    """Both lead to addresses relative to Airflow's own, through routes that differ."""
    views = [view for one in loaded["views"] for view in one["external_views"]]  # type: ignore[attr-defined]
    ours = {view["destination"]: view for view in views if view["href"].startswith("tenantry/")}
    assert set(ours) == {"nav", "dag"}
    assert "{DAG_ID}" in ours["dag"]["href"]
    assert ours["nav"]["url_route"] != ours["dag"]["url_route"]
