"""The system user that the embedded Postgres runs as where root starts it."""

from __future__ import annotations

import pwd
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from include.runtime import postgres_user

if TYPE_CHECKING:
    import pytest


def test_processes_that_start_at_once_make_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """`useradd` beside itself makes the user twice, and the first number is nobody's then."""
    nobody = pwd.getpwnam("nobody")
    made: list[Any] = []

    def known(name: str) -> Any:
        if not made:
            raise KeyError(name)
        return made[-1]

    def useradd(*_: Any, **__: Any) -> None:
        time.sleep(0.05)
        made.append(nobody)

    monkeypatch.setattr(postgres_user.pwd, "getpwnam", known)
    monkeypatch.setattr(postgres_user.subprocess, "run", useradd)
    monkeypatch.setattr(postgres_user.os, "geteuid", lambda: 0)
    with ThreadPoolExecutor(4) as starts:
        owners = list(starts.map(lambda _: postgres_user.find_owner(), range(4)))
    assert len(made) == 1
    assert {owner.uid for owner in owners if owner.switch} <= {nobody.pw_uid}
