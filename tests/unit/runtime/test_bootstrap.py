"""Bootstrap finds a Python that really runs, and installs again only when something changed."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from include.runtime import bootstrap


def _fake_python(folder: Path, name: str, output: str, code: int = 0) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def test_a_supported_python_is_taken(tmp_path: Path) -> None:
    """The first Python from 3.11 to 3.13 that runs is the one."""
    old = _fake_python(tmp_path / "old", "python3", "3.9")
    new = _fake_python(tmp_path / "new", "python3", "3.14")
    good = _fake_python(tmp_path / "good", "python3", "3.12")
    assert bootstrap.find_python([old, new, good]) == good


def test_a_shim_that_runs_nothing_does_not_count(tmp_path: Path) -> None:
    """A pyenv shim without a version behind it is passed over, executable as it is."""
    shim = _fake_python(tmp_path / "shims", "python3.11", "pyenv: python3.11: not found", code=127)
    good = _fake_python(tmp_path / "bin", "python3.11", "3.11")
    assert bootstrap.find_python([shim, good]) == good


def test_no_python_says_what_was_seen_and_what_to_install(tmp_path: Path) -> None:
    """The error lists each Python with its version, and a command that installs one."""
    old = _fake_python(tmp_path, "python3", "3.10")
    with pytest.raises(bootstrap.BootstrapError) as caught:
        bootstrap.find_python([old])
    assert f"{old} (3.10)" in str(caught.value)
    assert "apt install python3.11" in str(caught.value)


def test_versions_behind_pyenv_are_found(tmp_path: Path) -> None:
    """A version that pyenv has, but no shim selects, is a candidate."""
    folder = tmp_path / "versions" / "3.12.4" / "bin"
    python = _fake_python(folder, "python3", "3.12")
    assert python in bootstrap.candidates("", str(tmp_path))


def test_the_path_is_searched_in_order_of_preference(tmp_path: Path) -> None:
    """A python3.11 counts before a python3, wherever it stands on PATH."""
    plain = _fake_python(tmp_path / "a", "python3", "3.12")
    exact = _fake_python(tmp_path / "b", "python3.11", "3.11")
    found = bootstrap.candidates(f"{tmp_path / 'a'}:{tmp_path / 'b'}", str(tmp_path / "none"))
    assert found.index(exact) < found.index(plain)


def test_a_changed_lock_file_asks_for_another_installation(tmp_path: Path) -> None:
    """The digest covers both lock files, pyproject.toml, the Python version and the place."""
    for name in (*bootstrap.REQUIREMENTS, "pyproject.toml"):
        (tmp_path / name).write_text("a==1\n")
    before = bootstrap.digest(str(tmp_path), (3, 11))
    assert bootstrap.digest(str(tmp_path), (3, 11)) == before
    assert bootstrap.digest(str(tmp_path), (3, 12)) != before
    for name in (*bootstrap.REQUIREMENTS, "pyproject.toml"):
        (tmp_path / name).write_text("a==2\n")
        assert bootstrap.digest(str(tmp_path), (3, 11)) != before
        (tmp_path / name).write_text("a==1\n")


def test_spark_comes_with_the_tests_and_never_leaves_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo installs no Spark; once the tests did, neither has anything left to install."""
    (tmp_path / "bin").mkdir()
    _fake_python(tmp_path / "bin", "python", "3.11")
    _fake_python(tmp_path / "bin", "pip", "")
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path))
    monkeypatch.setattr(bootstrap, "install", lambda uv, variables, names: installed.append(names))
    asked = [bootstrap.ensure(extras) for extras in ([], ["spark"], [], ["spark"])]
    assert asked == [True, True, False, False]
    base = ("requirements.txt", "requirements-dev.txt")
    assert installed == [base, (*base, "requirements-spark.txt")]


def test_an_unknown_extra_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in the argument installs nothing and names what can be asked for."""
    assert bootstrap.main(["sprak"]) == 2
    assert "unknown extra 'sprak'; known: spark" in capsys.readouterr().err


def test_an_old_python_can_run_it() -> None:
    """Bootstrap keeps to the syntax of Python 3.8 and to the standard library."""
    tree = ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    known = {"__future__", "fcntl", "glob", "hashlib", "os", "shutil", "subprocess", "sys", "time"}
    assert imported <= known


def test_lock_files_name_no_index_and_no_path() -> None:
    """The pins hold anywhere: no registry, no folder of one machine, every package pinned."""
    for name in LOCK_FILES:
        for line in _requirements(name):
            assert line == "-r requirements.txt" or "==" in line, f"{name}: {line}"
            assert "://" not in line
            assert " @ " not in line


LOCK_FILES = (*bootstrap.REQUIREMENTS, *bootstrap.EXTRAS.values(), bootstrap.INSTALLER)


def _requirements(name: str) -> list[str]:
    """The lines of a lock file, those that go on in the next joined."""
    text = (Path(bootstrap.PROJECT) / name).read_text()
    return text.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("name", LOCK_FILES)
def test_every_package_is_locked_to_digests_of_its_files(name: str) -> None:
    """A changed file at the index, or on the way, is not installed: SHA-256, of each package."""
    pins = [line for line in _requirements(name) if line != "-r requirements.txt"]
    assert pins
    for line in pins:
        digests = [word for word in line.split() if word.startswith("--hash")]
        assert digests, line
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in digests), line


def test_a_lock_file_repeats_nothing_of_the_first() -> None:
    """What `requirements.txt` pins is pinned there only, so that both always agree."""
    first = {line.partition("==")[0] for line in _requirements("requirements.txt")}
    for name in ("requirements-dev.txt", "requirements-spark.txt"):
        assert not first & {line.partition("==")[0] for line in _requirements(name)}


def test_installers_check_the_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv, pip, and the pip that fetches uv: each is told to, and the project itself is built with
    the locked backend."""
    asked: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str], count: tuple[str, ...] = ()) -> bool:
        asked.append(command)
        return False

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path))
    monkeypatch.setattr(bootstrap, "_run", run)
    for uv in ("uv", None):
        with pytest.raises(bootstrap.BootstrapError):
            bootstrap.install(uv, {}, bootstrap.REQUIREMENTS)
    assert [command[0] == "uv" for command in asked] == [True, False, False, False]
    assert all("--require-hashes" in command for command in asked)
    assert "--no-build-isolation" in bootstrap._ITSELF


def test_an_environment_is_never_writable_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an umask of 0 everybody on the machine could change the code that will run."""
    seen: list[int] = []

    def ensure(extras: list[str]) -> bool:
        seen.append(os.umask(0o022))
        return True

    monkeypatch.setattr(bootstrap, "ensure", ensure)
    before = os.umask(0)
    try:
        for inherited, wanted in ((0, 0o022), (0o077, 0o077), (0o002, 0o022)):
            os.umask(inherited)
            assert bootstrap.main([]) == 0
            assert seen.pop() == wanted
    finally:
        os.umask(before)
