"""Whom the embedded Postgres runs as: the user who starts it, unless that is root."""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Postgres refuses to run as root; then it runs as this user
SYSTEM_USER = "tenantry-postgres"


@dataclass(frozen=True)
class ServerUser:
    uid: int
    gid: int
    switch: bool = False  #: whether this process has to change user to become the owner
    prefix: tuple[str, ...] = ()  #: of a command line, where changing user takes a namespace

    @property
    def identity(self) -> dict[str, Any]:
        """What `subprocess` is told, so that a child is this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}


def find_owner() -> ServerUser:
    """Whom the server runs as: never root, which it refuses."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    entry = _system_user()
    if _can_become(entry.pw_uid):
        return ServerUser(entry.pw_uid, entry.pw_gid, switch=True)
    # root of a namespace that holds no other user (`unshare -r`, some rootless containers): the
    # server gets a namespace of its own, in which the same files belong to `nobody`
    nobody = pwd.getpwnam("nobody").pw_uid
    prefix = ("unshare", "--user", f"--map-user={nobody}", "--")
    return ServerUser(os.geteuid(), os.getegid(), prefix=prefix)


def _can_become(uid: int) -> bool:
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True  # no namespaces here
    ranges = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    return any(first <= uid < first + count for first, count in ranges)


def _system_user() -> pwd.struct_passwd:
    """The system user of Postgres, made at the first start.

    One process at a time: two `useradd` beside each other both succeed, and the second one's number
    is the one that stays.
    """
    with _alone():
        with suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SYSTEM_USER]
        with suppress(OSError):
            subprocess.run(command, check=False, capture_output=True)
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            return pwd.getpwnam("nobody")


@contextmanager
def _alone() -> Iterator[None]:
    """No other process is in this block."""
    folder = os.open("/etc", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
