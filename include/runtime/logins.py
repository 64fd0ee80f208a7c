"""What a person is told after a start: where the pages are, and how to get in.

A password is shown once, on a terminal, where it scrolls away. Into a pipe, a log or the record of
a CI it never goes: there, and from the second start on, the file that holds it is named.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import IO

from include.runtime.control import Status


def describe(
    status: Status, output: IO[str] | None = None, environment: Mapping[str, str] = os.environ
) -> list[str]:
    """One line per page, for that output; it counts as shown from here on."""
    output = output or sys.stdout
    note = status.password_file.with_name("shown")
    person = output.isatty() and not environment.get("CI")
    reveal = person and not note.exists()
    if reveal:
        note.touch(mode=0o600)
    logins = (
        ("Airflow", status.airflow_url, status.password_file, airflow_password(status)),
        ("MLflow ", status.mlflow_url, status.mlflow_password_file, mlflow_password(status)),
    )
    return [
        f"{name}  {url}  login {status.user} / {password}  (shown this once; it stays in {file})"
        if reveal
        else f"{name}  {url}  login {status.user}, password in {file}"
        for name, url, file, password in logins
    ]


def airflow_password(status: Status) -> str:
    """The administrator's, from the file that Airflow reads, too."""
    return str(json.loads(status.password_file.read_text())[status.user])


def mlflow_password(status: Status) -> str:
    """The one that MLflow's pages ask for."""
    return status.mlflow_password_file.read_text(encoding="utf-8").strip()
