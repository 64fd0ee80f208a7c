"""What a start says about logins, and to whom."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from include.runtime import control, logins, secrets
from include.runtime.state import State


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> control.Status:
    """An installation whose logins have just been generated."""
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path))
    secrets.load(State(tmp_path))
    return control.status()


def _passwords(status: control.Status) -> tuple[str, str]:
    return logins.airflow_password(status), logins.mlflow_password(status)


def test_a_password_is_shown_once_on_a_terminal(status: control.Status) -> None:
    """At the first start a person sees both; at the next one, where they are."""
    first = "\n".join(logins.describe(status, _Terminal(), {}))
    second = "\n".join(logins.describe(status, _Terminal(), {}))
    for password in _passwords(status):
        assert password in first
        assert password not in second
    for file in (status.password_file, status.mlflow_password_file):
        assert str(file) in second


@pytest.mark.parametrize(
    ("output", "environment"),
    [(io.StringIO(), {}), (_Terminal(), {"CI": "true"}), (io.StringIO(), {"FORCE_COLOR": "1"})],
    ids=["a pipe or a file", "a CI with a terminal", "a pipe with colours"],
)
def test_a_password_never_goes_where_it_would_be_kept(
    status: control.Status, output: io.StringIO, environment: dict[str, str]
) -> None:
    """A pipe, a log and a CI's record get the files' names; that does not count as shown."""
    told = "\n".join(logins.describe(status, output, environment))
    for password in _passwords(status):
        assert password not in told
    assert str(status.password_file) in told
    again = "\n".join(logins.describe(status, _Terminal(), {}))
    assert _passwords(status)[0] in again


def test_what_a_start_says_goes_to_the_addresses(status: control.Status) -> None:
    """Both pages are named with their addresses and the user."""
    told = logins.describe(status, io.StringIO(), {})
    assert [line.split()[:4] for line in told] == [
        ["Airflow", status.airflow_url, "login", "admin,"],
        ["MLflow", status.mlflow_url, "login", "admin,"],
    ]
