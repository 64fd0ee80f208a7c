"""`tenantry run`: what it takes, and how it refuses the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated import Shop, write

from include import cli


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenant that consents to pooling, and one that does not."""
    before = dict(os.environ)
    for shop in (Shop("giving", customers=1), Shop("keeping", customers=1, consent=False)):
        write(shop, tmp_path / "data", tmp_path / "tenants")
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path / "tenants"))
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path / "home"))
    yield
    os.environ.clear()
    os.environ.update(before)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.setattr("sys.argv", ["tenantry", "run", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    "name", ["stranger", "global", "global-eu", "global.churned", "a.pipeline"]
)
def test_an_unknown_name_lists_what_there_is_to_run(
    name: str, shops: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tenants and the global models."""
    assert run(monkeypatch, name) == 1
    assert capsys.readouterr().err == (
        f"error: unknown tenant or global model {name!r}; known: giving, global.churn, "
        "global.recommendation, keeping\n"
    )


def test_nobody_who_consents_is_no_global_model(
    shops: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A template that no consenting tenant has is refused with what to write where."""
    assert run(monkeypatch, "global.demand") == 1
    told = capsys.readouterr().err
    assert "nobody who has demand consents to pooling" in told
    assert "pooling: {consent: true}" in told
    assert "global.churn, global.recommendation" in told


def test_a_global_model_takes_no_use_case(
    shops: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name says which it is of."""
    assert run(monkeypatch, "global.churn", "--use-case", "churn") == 1
    assert "leave --use-case away" in capsys.readouterr().err
