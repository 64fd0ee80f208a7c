"""What reading one tenant's file costs the others: counted, not timed, over the worst shapes.

The files are those of `benchmarks/fleet_parsing.py`, which also measures them among a thousand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet_parsing import Shape, shapes, text
from include.errors import ConfigError
from include.tenants import yaml_text
from include.tenants.limits import Limits
from include.tenants.loader import LARGEST_FILE, load_tenant
from include.tenants.yaml_text import MOST_NODES

USE_CASES = [f"use_case_{n}" for n in range(9)]
KNOWN = frozenset(USE_CASES)
#: Calls of functions, Python's and C's, that reading any file may take: some ten milliseconds.
MOST_CALLS = 100_000


def calls(work: Callable[[], Any]) -> int:
    """How many functions the work calls."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def attempt(path: Path) -> str:
    """Load a file; whether it is a tenant, or why not."""
    try:
        load_tenant(path, KNOWN)
    except ConfigError as error:
        return str(error)
    return "accepted"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Shape], Path]:
    """Writes a file of some shape; what is loaded once (time zones, schemas) is loaded before."""
    path = tmp_path / "worst.yaml"
    for shape in (Shape(), Shape(unknown=1)):
        path.write_text(text(shape, USE_CASES))
        attempt(path)

    def write(shape: Shape) -> Path:
        path.write_text(text(shape, USE_CASES), encoding="utf-8")
        return path

    return write


def test_no_file_takes_more_work_than_its_bounds_allow(file: Any) -> None:
    """Accepted or refused, every part at its bound and forty random mixtures."""
    accepted = 0
    for shape in shapes(tries=40, use_cases=len(USE_CASES), seed=3):
        path = file(shape)
        outcome = attempt(path)
        accepted += outcome == "accepted"
        assert calls(lambda path=path: attempt(path)) < MOST_CALLS, (shape, outcome[:200])
    assert accepted >= 8


@pytest.mark.parametrize(
    ("part", "count"),
    [
        ("properties", 30), ("personal", 120), ("sources", 10), ("values", 120), ("unknown", 500),
        ("conditions", 15), ("length", 90), ("comment", 30_000),
    ],
)  # fmt: skip
def test_work_grows_no_faster_than_the_file(file: Any, part: str, count: int) -> None:
    """Twice as much of anything is at most twice the work, and a little for the rest."""
    base = Shape(sources=2, properties=4, conditions=2, personal=4)
    once = calls(lambda: attempt(file(replace(base, **{part: count}))))
    twice = calls(lambda: attempt(file(replace(base, **{part: 2 * count}))))
    assert twice <= 2.2 * once


def test_a_refused_file_is_explained_in_bounded_work(tmp_path: Path, file: Any) -> None:
    """Thousands of unknown keys, keys twice, list items of no kind: some dozens of lines each."""
    path = tmp_path / "refused.yaml"
    for content in (
        "\n".join(f"k{n}: {n}" for n in range(1_200)),
        "sources: [" + ", ".join("1" for _ in range(2_400)) + "]",
        "sources: [" + ", ".join("{a: 1}" for _ in range(49)) + "]\nuse_cases: 1",
        "use_cases: {" + ", ".join(f"u{n}: 1" for n in range(1_200)) + "}",
        "sources:\n" + "- {name: x, events: {}, where: {a: {}}}\n" * 150,
        "pii_columns: {" + ", ".join(f"u{n}: 1" for n in range(250)) + "}",
    ):
        path.write_text(content)
        outcome = attempt(path)
        assert outcome != "accepted"
        assert len(outcome.splitlines()) <= 102
        assert len(outcome) < 60_000
        assert calls(lambda: attempt(path)) < MOST_CALLS


def test_the_bounds_are_what_a_page_needs() -> None:
    """Ten times the shipped tenants' files, and no more."""
    shipped = sorted((Path(yaml_text.__file__).parent / "config").glob("*.yaml"))
    assert shipped
    for path in shipped:
        content = path.read_text()
        assert len(content) * 10 < LARGEST_FILE
        assert content.count(":") * 10 < MOST_NODES
    assert Limits().use_cases <= 20
