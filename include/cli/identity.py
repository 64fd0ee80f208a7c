"""Who gives a command: the user that the operating system knows, whatever the environment says."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping


def operator(environment: Mapping[str, str] = os.environ) -> str:
    """Name of this process's user, by its uid; under sudo also of whoever called it.

    `LOGNAME` and `USER` are not asked: anybody can set them. `SUDO_UID` counts for root alone, who
    could write anything anyway.
    """
    uid = os.getuid()
    behind = environment.get("SUDO_UID", "")
    name = _named(uid)
    if uid == 0 and behind.isdecimal() and int(behind) != 0:
        return f"{name} (sudo by {_named(int(behind))})"
    return name


def _named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"
