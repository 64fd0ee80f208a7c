"""`docs/security.md` promises nothing that no test holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import PAGE, Promises, problems, promises

_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
ROOT = PAGE.parents[1]
XDIST = ("-n", "2", "--dist", "loadfile")
TEST = "tests/unit/test_x.py::test_x"
HEAD = "| promise | how | test | where it stops |\n| --- | --- | --- | --- |\n"


def test_every_row_says_what_how_by_which_test_and_where_it_stops() -> None:
    """No cell is empty, and every row names a test as `file::name`."""
    rows = promises(PAGE.read_text("utf-8"))
    assert len(rows) > 20
    for row in rows:
        assert row.promise, row
        assert row.how, row
        assert row.where_it_stops, row
        assert row.tests, row


def test_every_test_that_is_named_is_there() -> None:
    """A function of that name in that file; that pytest ran it, the end of the run sees to."""
    named = {name for row in promises(PAGE.read_text("utf-8")) for name in row.tests}
    for name in sorted(named):
        file, _, test = name.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert test in {one.name for one in tree.body if isinstance(one, _FUNCTION)}, name


@pytest.mark.parametrize(
    ("outcomes", "collected", "whole", "problem"),
    [
        ({TEST: {"passed"}}, {TEST}, True, ""),
        ({TEST: {"failed"}}, {TEST}, True, ""),  # fails by itself
        ({TEST: {"skipped"}}, {TEST}, False, "chosen and skipped"),
        ({TEST: {"passed", "skipped"}}, {TEST}, True, ""),  # one of its parameters
        ({}, {TEST}, True, "did not run"),
        ({}, {TEST}, False, ""),
        ({}, {"tests/unit/test_x.py::test_y"}, False, "not there"),
        ({}, {"tests/unit/test_y.py::test_y"}, False, ""),
        ({}, set(), True, "not there"),
    ],
)
def test_a_named_test_has_to_be_there_and_to_run(
    outcomes: dict[str, set[str]], collected: set[str], whole: bool, problem: str
) -> None:
    """One that is skipped or missing holds nothing; one that was not chosen may be left."""
    found = problems([TEST], outcomes, collected, set(), whole=whole)
    assert bool(found) == bool(problem), found
    assert all(problem in line for line in found)


def test_a_soak_test_may_be_left_to_soak() -> None:
    """Unless it was chosen and skipped."""
    assert not problems([TEST], {}, {TEST}, {TEST}, whole=True)
    assert problems([TEST], {TEST: {"skipped"}}, {TEST}, {TEST}, whole=False)


@pytest.mark.parametrize(
    ("body", "code", "told", "workers"),
    [
        ("def test_x(): pass", 0, "", XDIST),
        ("def test_x(): pytest.skip('not here')", 1, "was chosen and skipped", XDIST),
        ("@pytest.mark.skip\ndef test_x(): pass", 1, "was chosen and skipped", ()),
        ("def test_y(): pass", 1, "is not there", XDIST),
    ],
)
def test_a_run_fails_where_a_named_test_was_skipped_or_is_gone(
    tmp_path: Path, body: str, code: int, told: str, workers: tuple[str, ...]
) -> None:
    """Whether or not other tests passed, in one process and in several."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "security.md").write_text(HEAD + "| a | b | `tests/test_x.py::test_x` | c |\n")
    (tmp_path / "tests/test_x.py").write_text(f"import pytest\ndef test_other(): pass\n{body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.promises import Promises\n"
        "def pytest_configure(config):\n"
        f"    config.pluginmanager.register(Promises(Path({str(tmp_path / 'security.md')!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stdout


def test_the_plugin_is_registered(request: pytest.FixtureRequest) -> None:
    """By the tests' own conftest."""
    plugin = request.config.pluginmanager.get_plugin("promises")
    assert isinstance(plugin, Promises)
    assert plugin.page == PAGE
