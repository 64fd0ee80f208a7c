"""Temporary folders of tenants' rows, which do not outlive the process that made them by much.

Each lies in `{spool}/{tenant}/`, for its owner alone, beside a lock file that its process holds.
The kernel lets go of the lock however the process ends, so whoever can take it knows that the
folder was left behind. A lock file is made before its folder and removed after it: a folder without
one does not exist.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from include.errors import ConfigError
from include.tenants.namespace import TENANT_ID

#: Whose folders belong to no single tenant.
PLATFORM: Final = "platform"
_LOCK: Final = ".lock"


def scratch_folder() -> Path:
    """`$TENANTRY_SPOOL`, which the runtime sets, else a folder of the machine's and user's own."""
    if named := os.environ.get("TENANTRY_SPOOL"):
        return Path(named).absolute()
    return Path(tempfile.gettempdir()) / f"tenantry-spool-{os.geteuid()}"


@contextmanager
def scratch(owner: str = PLATFORM) -> Iterator[Path]:
    """An empty folder for a tenant's rows; gone afterwards, or swept if this process is killed."""
    home = _home(owner)
    lock, name = _claimed(home)
    folder = home / name
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (home / f"{name}{_LOCK}").unlink(missing_ok=True)
        os.close(lock)


def sweep(owner: str | None = None) -> int:
    """Remove the folders of one owner, or of all, whose process is gone; returns how many."""
    root = scratch_folder()
    homes = [root / _checked(owner)] if owner is not None else _subfolders(root)
    swept = 0
    for home in homes:
        for path in sorted(home.glob(f"*{_LOCK}")):
            lock = _lock_of_the_dead(path)
            if lock is None:
                continue
            folder = path.with_name(path.name.removesuffix(_LOCK))
            swept += folder.exists()
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink(missing_ok=True)
            os.close(lock)
        with suppress(OSError):
            home.rmdir()  # unless somebody works in it
    return swept


def _subfolders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def _home(owner: str) -> Path:
    """The owner's folder, closed to everybody else."""
    root = scratch_folder()
    for folder in (root, root / _checked(owner)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.geteuid() or folder.is_symlink():
            raise ConfigError(
                f"{folder} is for temporary rows of tenants and belongs to somebody else; "
                "remove it, or set TENANTRY_SPOOL to a folder of your own"
            )
        if status.st_mode & 0o077:
            folder.chmod(0o700)
    return root / owner


def _checked(owner: str) -> str:
    if not TENANT_ID.fullmatch(owner):
        raise ConfigError(f"tenant id {owner[:60]!r} must match {TENANT_ID.pattern}")
    return owner


def _claimed(home: Path) -> tuple[int, str]:
    """A lock file of this process's own and the name it stands for."""
    while True:
        name = f"{os.getpid()}-{os.urandom(6).hex()}"
        try:
            lock = os.open(home / f"{name}{_LOCK}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileNotFoundError:  # a sweeper found the folder empty
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:  # else a sweeper was quicker than the lock
            return lock, name
        os.close(lock)


def _lock_of_the_dead(path: Path) -> int | None:
    """The lock, taken, unless its process lives or somebody else is sweeping."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    if os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None
