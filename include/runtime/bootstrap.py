"""Makes `.venv` and installs everything into it; the second call finds nothing to do.

`spark` as argument adds PySpark and a Java for it: 0.6 GB that only its engine and its tests need.

Standard library only, and no syntax newer than Python 3.8: this file is run by whatever `python3`
a machine has, before anything of ours is installed.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(PROJECT, ".venv")
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
EXTRAS = {"spark": "requirements-spark.txt"}
INSTALLER = "requirements-uv.txt"
#: no file is installed whose digest is not in the lock files
_VERIFIED = ("--require-hashes",)
#: the build backend comes from the lock file as well
_ITSELF = ("--no-deps", "--no-build-isolation", "-e", PROJECT)
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_BYTES = 3 * 1024**3  # the environment takes 2 GB, an installer's unpacked wheels the rest
EXTRA_BYTES = 2 * 1024**3  # Spark comes as source, so it is unpacked, packed and unpacked again
_NAMES = ("python3.11", "python3.12", "python3.13", "python3", "python")


#: half of all source, hardly ever imported, and compiled when it is
_NOT_COMPILED = r"/tests?/|/site-packages/(plotly|faker|nltk|databricks|pip|setuptools)/"


class BootstrapError(Exception):
    """The environment cannot be made; the message says what to do about it."""


def candidates(path: str, pyenv_root: str) -> list[str]:
    """Every Python a machine may have, best first, as (unresolved) paths."""
    found = [sys.executable]
    for name in _NAMES:
        found += [os.path.join(folder, name) for folder in path.split(os.pathsep) if folder]
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        pattern = os.path.join(pyenv_root, "versions", f"3.{minor}.*", "bin", "python3")
        found += sorted(glob.glob(pattern))
    return [p for i, p in enumerate(found) if os.access(p, os.X_OK) and p not in found[:i]]


def version_of(python: str) -> tuple[int, int] | None:
    """The (major, minor) of a Python that really runs, else None: a shim may run nothing."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        major, minor = done.stdout.strip().split(".")
        return (int(major), int(minor)) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python(paths: list[str]) -> str:
    """The first of the paths that is a Python of a supported version."""
    seen = []
    for python in paths:
        version = version_of(python)
        if version is not None and OLDEST <= version <= NEWEST:
            return python
        what = f"{version[0]}.{version[1]}" if version else "does not run"
        seen.append(f"{python} ({what})")
    raise BootstrapError(
        "no Python 3.11, 3.12 or 3.13 was found. Install one (for example `apt install "
        "python3.11 python3.11-venv`, `brew install python@3.12` or `uv python install 3.12`) "
        f"and put it on PATH. Looked at: {', '.join(seen) or 'nothing at all'}"
    )


def digest(
    project: str, python_version: tuple[int, int], names: tuple[str, ...] = REQUIREMENTS
) -> str:
    """What an installation of these files depends on; another digest means: install again."""
    state = hashlib.sha256(f"{project} {python_version}".encode())
    for name in (*names, "pyproject.toml"):
        with open(os.path.join(project, name), "rb") as file:
            state.update(file.read())
    return state.hexdigest()


def make_venv(python: str, uv: str | None) -> None:
    """A fresh `.venv`; with uv without pip in it, else with."""
    if uv:
        command = [uv, "venv", "--quiet", "--clear", "--python", python, VENV]
    else:
        command = [python, "-m", "venv", "--clear", VENV]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    detail = (done.stdout + done.stderr).strip()
    if "ensurepip" in detail or "No module named venv" in detail:
        raise BootstrapError(
            f"{python} has no venv module. Install it (on Debian and Ubuntu: `apt install "
            "python3-venv`, or python3.11-venv), or install uv."
        )
    raise BootstrapError(f"the virtual environment could not be made:\n{detail}")


def install(uv: str | None, environment: dict[str, str], names: tuple[str, ...]) -> None:
    """Everything of the lock files, then the project itself in editable mode."""
    python = os.path.join(VENV, "bin", "python")
    pins = [part for name in names for part in ("-r", os.path.join(PROJECT, name))]
    uv = uv or _fetch_uv(python, environment)
    if uv:
        say("installing with uv")
        command = [uv, "pip", "install", "--python", python, "--compile-bytecode", "--quiet"]
        if _run([*command, *_VERIFIED, *pins], environment) and _run(
            [*command, *_ITSELF], environment
        ):
            return
        say("uv could not install (it does not read pip's configuration); trying pip instead")
        if not os.path.exists(os.path.join(VENV, "bin", "pip")):
            make_venv(os.path.realpath(python), None)
    say("installing with pip; the first time takes one to three minutes")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    # the lock files are complete, so nothing is left to resolve; compiled afterwards, on all cores
    if not _run(
        [*pip, "--no-compile", "--no-deps", *_VERIFIED, *pins],
        environment,
        count=("Collecting ", "Processing "),
    ):
        raise BootstrapError(_failure())
    if not _run([*pip, *_ITSELF], environment):
        raise BootstrapError(_failure())
    say("compiling")
    site = glob.glob(os.path.join(VENV, "lib", "python3*", "site-packages"))
    # a few packages carry files that are no Python of this version; that is no failure
    command = [python, "-m", "compileall", "-q", "-j", "0", "-x", _NOT_COMPILED, *site]
    subprocess.run(command, capture_output=True, check=False, env=environment)


def _fetch_uv(python: str, environment: dict[str, str]) -> str | None:
    """uv from pip, into the environment: with it everything is there in seconds, not minutes."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command = [*pip, *_VERIFIED, "-r", os.path.join(PROJECT, INSTALLER)]
    fetched = os.path.join(VENV, "bin", "uv")
    return fetched if _run(command, environment) and os.path.exists(fetched) else None


def ensure(extras: list[str]) -> bool:
    """Brings `.venv` up to date with the lock files; returns whether there was anything to do.

    The stamp in it holds the digest of every installation that it satisfies.
    """
    names = (*REQUIREMENTS, *(EXTRAS[extra] for extra in extras))
    python = os.path.join(VENV, "bin", "python")
    stamp = os.path.join(VENV, ".tenantry-installed")
    version = _usable_version(python)
    if version and digest(PROJECT, version, names) in (_read(stamp) or "").split():
        return False
    began = time.monotonic()
    uv = shutil.which("uv")
    if not version:
        free = shutil.disk_usage(PROJECT).free
        needed = NEEDED_BYTES + (EXTRA_BYTES if extras else 0)
        if free < needed:
            raise BootstrapError(
                f"only {free / 1024**3:.1f} GB are free on the disk of {PROJECT}; the virtual "
                f"environment needs {needed / 1024**3:.0f} GB. "
                "Free some, or clone to another disk."
            )
        pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        base = find_python(candidates(os.environ.get("PATH", os.defpath), pyenv))
        say(f"making .venv with {base}")
        make_venv(base, uv)
        version = version_of(python)
        if version is None:
            raise BootstrapError(f"{python} was made, but it does not run; delete .venv and retry.")
    elif not os.path.exists(os.path.join(VENV, "bin", "pip")) and not uv:
        make_venv(os.path.realpath(python), None)
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    install(uv, environment, names)
    with open(stamp, "w") as file:
        file.write(" ".join(digest(PROJECT, version, some) for some in (REQUIREMENTS, names)))
    say(f"installed in {time.monotonic() - began:.0f} s")
    return True


def say(text: str) -> None:
    """One line of progress."""
    print(f"bootstrap: {text}", flush=True)


def main(extras: list[str]) -> int:
    """Returns the exit code; two calls at the same time take turns."""
    os.umask(os.umask(0) | 0o022)  # code that everybody may write is everybody's code
    unknown = [extra for extra in extras if extra not in EXTRAS]
    if unknown:
        print(f"error: unknown extra {unknown[0]!r}; known: {', '.join(EXTRAS)}", file=sys.stderr)
        return 2
    try:
        with open(os.path.join(PROJECT, ".venv.lock"), "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            ensure(extras)
    except BootstrapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        advice = f"Check free space and permissions of {PROJECT}."
        print(f"error: {error}. {advice}", file=sys.stderr)
        return 1
    return 0


def _usable_version(python: str) -> tuple[int, int] | None:
    version = version_of(python) if os.path.exists(python) else None
    return version if version and OLDEST <= version <= NEWEST else None


def _log() -> str:
    return os.path.join(VENV, "install.log")


def _run(command: list[str], environment: dict[str, str], count: tuple[str, ...] = ()) -> bool:
    """Runs an installer, keeps its output in the log, and shows how far it is."""
    seen = 0
    with open(_log(), "w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=PROJECT,
        )
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            if line.startswith(count):
                seen += 1
                if seen % 40 == 0:
                    say(f"{seen} packages found")
            elif count and line.startswith("Installing collected"):
                say(f"unpacking {seen} packages")
    return process.wait() == 0


def _failure() -> str:
    text = _read(_log()) or ""
    tail = "\n".join(text.splitlines()[-8:])
    if "No space left" in text:
        advice = "The disk is full: free at least 3 GB and run it again."
    elif "NameResolution" in text or "Connection" in text or "timed out" in text:
        advice = (
            "The package index cannot be reached: check the network, or set the proxy or mirror "
            "that you use in pip's own configuration (`pip config list` shows it)."
        )
    else:
        advice = f"The whole output is in {_log()}."
    return f"the packages could not be installed. {advice}\n{tail}"


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
