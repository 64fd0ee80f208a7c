"""`docs/security.md` is held by tests: the page's rows, and whether the tests it names ran.

A plugin of pytest's, registered by `tests/conftest.py`. A run in which a named test was chosen and
then skipped fails; so does a whole run in which a named test did not run at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "security.md"
COLUMNS: Final = ("promise", "how", "test", "where it stops")
_NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@dataclass(frozen=True)
class Promise:
    """One row of the page."""

    promise: str
    how: str
    test: str
    where_it_stops: str

    @property
    def tests(self) -> list[str]:
        """The tests that hold it, as `file::name`."""
        return [f"{file}::{name}" for file, name in _NAMED.findall(self.test)]


def promises(text: str) -> list[Promise]:
    """The rows of the tables whose columns are `COLUMNS`."""
    found, within = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            within = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if tuple(cell.lower() for cell in cells) == COLUMNS:
            within = True
        elif within and not set(line) <= set("|-: "):
            if len(cells) != len(COLUMNS):
                raise ValueError(f"a row of {len(cells)} cells, not of {len(COLUMNS)}: {line}")
            found.append(Promise(*cells))
    return found


def problems(
    named: Iterable[str],
    outcomes: Mapping[str, Set[str]],
    collected: Set[str],
    soak: Set[str],
    *,
    whole: bool,
) -> list[str]:
    """Named tests that are not there, were skipped, or did not run though everything else did.

    Args:
        named: as `file::name`.
        outcomes: of every test that was chosen, over its parameters.
        collected: every test that was found, whether it was chosen or not.
        soak: those of them that only run when asked for.
        whole: whether everything was chosen.
    """
    files = {one.partition("::")[0] for one in collected}
    found = []
    for test in sorted(set(named)):
        outcome = outcomes.get(test)
        if test not in collected and (whole or test.partition("::")[0] in files):
            found.append(f"{test} is not there")
        elif outcome is None:
            if whole and test not in soak:
                found.append(f"{test} did not run")
        elif not outcome & {"passed", "failed"}:
            found.append(f"{test} was chosen and skipped")
    return found


@dataclass(eq=False)
class Promises:
    """Watches which of the page's tests are there, and run."""

    page: Path = PAGE
    outcomes: dict[str, set[str]] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)
    soak: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember that there is such a test."""
        self.collected.add(_base(item.nodeid))
        if item.get_closest_marker("soak"):
            self.soak.add(_base(item.nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what came of a test; with xdist, whatever process it ran in."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(_base(report.nodeid), set()).add(report.outcome)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take over what a process of xdist's has found."""
        told = getattr(node, "workeroutput", {})
        self.collected |= set(told.get("collected", ()))
        self.soak |= set(told.get("soak", ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the run fail where a named test was not what it is named for."""
        config = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput |= {"collected": [*self.collected], "soak": [*self.soak]}
            return
        if config.option.collectonly:
            return
        named = [name for row in promises(self.page.read_text("utf-8")) for name in row.tests]
        ended = not session.shouldfail and not session.shouldstop
        self.found = problems(
            named, self.outcomes, self.collected, self.soak, whole=_is_whole(config) and ended
        )
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say which."""
        for line in self.found:
            terminalreporter.write_line(f"{self.page.name}: {line}", red=True)


def _is_whole(config: pytest.Config) -> bool:
    """Whether everything runs that is not a soak test."""
    options = config.option
    folders = config.getini("testpaths")
    chosen = [Path(config.invocation_params.dir, one).resolve() for one in config.args]
    return (
        options.markexpr in ("", "not soak")
        and not options.keyword
        and not options.deselect
        and not options.ignore
        and not getattr(options, "lf", False)
        and chosen == [(config.rootpath / one).resolve() for one in folders]
    )


def _base(nodeid: str) -> str:
    """A test without its parameters."""
    return nodeid.partition("[")[0]
