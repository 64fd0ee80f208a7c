"""Files and folders of an installation are its owner's alone, whatever umask was inherited."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from include.errors import UnavailableError

#: what group and others lose of every file and folder that is made
UMASK: Final = 0o077


def keep_to_owner() -> None:
    """From here on, what this process and its children make is readable by their user only."""
    os.umask(UMASK)


def make_folder(folder: Path) -> None:
    """Creates a folder and what is missing above it, open to the owner only."""
    for place in (*reversed(folder.parents), folder):
        place.mkdir(mode=0o700, exist_ok=True)


def close_folder(folder: Path) -> None:
    """Takes a folder away from group and others.

    Raises:
        UnavailableError: it is shared by nature (`/tmp`), or somebody else's.
    """
    found = folder.stat()
    if found.st_mode & stat.S_ISVTX or found.st_uid != os.geteuid():
        raise UnavailableError(
            f"{folder} is not this user's alone (owner {found.st_uid}, mode "
            f"{stat.S_IMODE(found.st_mode):04o}), and it would hold secrets and tenants' data. "
            "Set TENANTRY_HOME to a folder of your own; one that does not exist is made."
        )
    if found.st_mode & UMASK:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~UMASK)


def tighten(folder: Path) -> int:
    """Closes what an earlier version left open below a folder; returns how much that was.

    Only what belongs to this user, never through a link, and nothing below a folder of somebody
    else (the embedded Postgres' own, when root started it).
    """
    changed = 0
    for name, folders, files in os.walk(folder):
        for kind in (folders, files):
            for entry in list(kind):
                path = os.path.join(name, entry)
                try:
                    found = os.lstat(path)
                    if stat.S_ISLNK(found.st_mode):
                        continue
                    if found.st_uid != os.geteuid():
                        if kind is folders:
                            folders.remove(entry)
                        continue
                    if found.st_mode & UMASK:
                        os.chmod(path, stat.S_IMODE(found.st_mode) & ~UMASK)
                        changed += 1
                except FileNotFoundError:
                    continue  # a temporary file may go at any time
    return changed
