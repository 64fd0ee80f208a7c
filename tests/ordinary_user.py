"""A user without rights, and a Python that they can run, for tests that root starts."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from include.runtime.state import PROJECT

_SCRIPTS = ("airflow", "mlflow", "tenantry")


def somebody() -> tuple[int, int]:
    """User and group of an ordinary user: the tests' own, or one that root may become."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    found = pwd.getpwnam("nobody")
    if not all(way.stat().st_mode & stat.S_IXOTH for way in (PROJECT, *PROJECT.parents)):
        pytest.skip("the project lies where no ordinary user may read it")
    return found.pw_uid, found.pw_gid


def interpreter(uid: int, gid: int, folder: Path) -> str:
    """This environment's Python, or one that the user can run.

    Where the environment's base lies in a folder closed to others, that is the same environment
    over the machine's own Python of that version.
    """
    if _runs(sys.executable, uid, gid):
        return sys.executable
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = shutil.which(version, path="/usr/local/bin:/usr/bin")
    if base is None or not _runs(base, uid, gid):
        pytest.skip(f"no ordinary user can run {sys.executable}, and there is no other {version}")
    scripts = folder / "bin"
    scripts.mkdir(parents=True)
    python = scripts / "python"
    python.symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(base).parent}\n")
    packages = folder / "lib" / version
    packages.mkdir(parents=True)
    here = Path(sys.executable).parent.parent / "lib" / version / "site-packages"
    (packages / "site-packages").symlink_to(here)
    for name in _SCRIPTS:
        _, _, code = (Path(sys.executable).parent / name).read_text().partition("\n")
        (scripts / name).write_text(f"#!{python}\n{code}")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    if not _runs(str(python), uid, gid, "import include, mlflow, numpy"):
        pytest.skip(f"{version} of this machine cannot stand in for {sys.executable}")
    return str(python)


def _runs(python: str, uid: int, gid: int, code: str = "") -> bool:
    identity = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            [python, "-c", code], cwd="/", capture_output=True, check=False, **identity
        )
    except OSError:
        return False
    return bool(done.returncode == 0)
