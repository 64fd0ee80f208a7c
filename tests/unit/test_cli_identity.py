"""Who gives a command is who is logged in, and cannot be said."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from include import cli
from include.cli.identity import operator

SPOOFED = ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "HOME")


@pytest.mark.parametrize("variable", SPOOFED)
def test_the_environment_does_not_say_who_it_is(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is that of the process's uid, whatever the variables hold that libraries ask."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv(variable, "mallory")
    assert operator() == pwd.getpwuid(os.getuid()).pw_name


def test_a_uid_without_a_name_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a number."""
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert operator({}) == "uid 4000000000"


@pytest.mark.parametrize(
    ("uid", "behind", "told"),
    [
        (0, "4000000000", "root (sudo by uid 4000000000)"),
        (0, "0", "root"),
        (0, "", "root"),
        (0, "ada", "root"),
        (0, "-1", "root"),
        (0, "9" * 40, f"root (sudo by uid {'9' * 40})"),
        (4_000_000_000, "0", "uid 4000000000"),
        (4_000_000_000, "1", "uid 4000000000"),
    ],
)
def test_sudo_tells_who_is_behind_root(
    uid: int, behind: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of root only: everybody else could set the variable to somebody else's uid."""
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert operator({"SUDO_UID": behind}) == told


@pytest.mark.parametrize(
    "words",
    [
        ("rollback", "store-367", "churn"),
        ("rollback", "--derived-from", "global.churn@1"),
        ("experiment", "start", "store-367", "churn", "--challenger", "2", "--share", "0.1"),
        ("experiment", "stop", "store-367", "churn", "--because", "x"),
        ("suspicion", "dismiss", "store-367", "churn", "--because", "x"),
        ("suspicion", "confirm", "store-367", "churn", "--because", "x"),
    ],
)
def test_no_command_takes_a_name(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--by` is an unknown option: exit code 2, and nothing was done."""
    monkeypatch.setattr("sys.argv", ["tenantry", *words, "--by", "mallory"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--by" in capsys.readouterr().err


def test_airflows_own_command_is_given_under_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tenantry airflow dags trigger` cannot put another name on a run either."""
    given: dict[str, str] = {}

    def call(command: list[str], env: dict[str, str]) -> int:
        assert command[:3] == [sys.executable, "-m", "airflow"]
        given.update(env)
        return 0

    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(cli, "activate", lambda: None)
    monkeypatch.setattr("sys.argv", ["tenantry", "airflow", "dags", "trigger", "acme.retrain"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert given["LOGNAME"] == operator()
