"""What `make mutation` does to the code that keeps tenants apart."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.mutation.__main__ import EQUIVALENT, ROOT, InPlaceOf
from tests.mutation.mutants import mutants
from tests.mutation.targets import TARGETS, Target

SOURCE = '''\
"""A module."""

import re

ID = re.compile(r"[a-z][a-z0-9-]{1,40}")


def door(tenant: str | None, rows: list[str]) -> list[str]:
    """Wording is left alone, annotations too."""
    confine(tenant)
    if tenant is None:
        raise ValueError(f"{tenant} is nobody")
    return [row for row in rows if row.startswith(tenant)]
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A small module that keeps tenants apart."""
    path = tmp_path / "guarded.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "mutant",
    [
        "door: confine(tenant) -> pass",
        'door: raise ValueError(f"{tenant} is nobody") -> pass',
        "door: is -> is not",
        "door: for row in rows if row.startswith(tenant) -> for row in rows",
        r': r"[a-z][a-z0-9-]{1,40}" -> r"[a-z][a-z0-9-]{0,40}"',
        r': r"[a-z][a-z0-9-]{1,40}" -> r"[a-z][a-z0-9./-]{1,40}"',
    ],
)
def test_every_guard_that_is_taken_away_is_a_mutant(module: Path, mutant: str) -> None:
    """A call for its effect, a refusal, a condition, a filter and a pattern."""
    assert mutant in {" ".join(one.name.split()) for one in mutants(module)}


def test_wording_is_no_mutant(module: Path) -> None:
    """Docstrings, messages and annotations stay as they are in every mutant."""
    for one in mutants(module):
        assert '"""Wording is left alone, annotations too."""' in one.source
        assert "def door(tenant: str | None, rows: list[str]) -> list[str]:" in one.source


def test_no_file_is_changed(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant stands in for its module as that is imported."""
    hook = InPlaceOf("guarded_module", module, "ANSWER = 7")
    monkeypatch.setattr(sys, "meta_path", [hook, *sys.meta_path])
    try:
        assert import_module("guarded_module").ANSWER == 7
    finally:
        sys.modules.pop("guarded_module", None)
    assert module.read_text("utf-8") == SOURCE


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_equivalent_mutants_are_few_and_have_a_reason(target: Target) -> None:
    """Each is still made of the code there is, and at most one of twenty is listed."""
    listed = tomllib.loads(EQUIVALENT.read_text("utf-8")).get(target.module, {})
    made = {one.name for one in mutants(ROOT / target.path, target.functions)}
    assert made
    assert set(listed) <= made, sorted(set(listed) - made)
    assert all(len(reason) > 20 for reason in listed.values())
    assert len(listed) <= max(2, len(made) / 20)


def test_every_test_that_mutants_are_shown_to_is_there() -> None:
    """A target without its tests would be noticed by nothing."""
    for target in TARGETS:
        assert (ROOT / target.path).is_file()
        for test in target.tests:
            assert (ROOT / test).exists(), test
