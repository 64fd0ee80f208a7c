"""What an installation makes is for its owner's eyes, whatever umask it was started with."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import UnavailableError
from include.runtime import private, secrets, state
from include.runtime.postgres import Postgres
from include.runtime.preload import LOCAL_SETTINGS
from include.runtime.state import State
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids="{:03o}".format)
def inherited(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask that the process was started with."""
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


def _modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in folder.rglob("*")
        if path.lstat().st_mode & 0o077
    }


def test_the_state_folder_and_all_in_it_are_closed(tmp_path: Path, inherited: int) -> None:
    """Folders, keys and locks; also the folders that had to be made above."""
    here = state.prepare(State(tmp_path / "deep" / "home"), minimum_free_bytes=0)
    secrets.load(here)
    secrets.mlflow_password_file(here)
    with state.lock(here, "control"):
        assert _modes(tmp_path) == {}


def test_a_state_folder_that_was_open_is_closed(tmp_path: Path, inherited: int) -> None:
    """An installation of an earlier version, or a folder that a person made."""
    here = State(tmp_path / "home")
    here.lake.mkdir(parents=True)
    for folder in (here.home, here.lake):
        folder.chmod(0o777)
    state.prepare(here, minimum_free_bytes=0)
    assert _modes(tmp_path) == {}


def test_a_folder_that_all_users_share_is_refused(tmp_path: Path) -> None:
    """`TENANTRY_HOME=/tmp` is a mistake; closing that folder would be a greater one."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(UnavailableError, match=r"not this user's alone.*TENANTRY_HOME"):
        state.prepare(State(shared), minimum_free_bytes=0)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


def test_files_of_the_lake_are_closed(tmp_path: Path, inherited: int) -> None:
    """A file put into the lake, and every folder down to it."""
    lake = Lake(tmp_path / "lake")
    lake.put(TenantRef("acme", "eu", "pool"), "reports/quality/page.html", b"x")
    assert _modes(tmp_path) == {}


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    """Every file and folder below, executable or not; links and their targets stay as they are."""
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o644)
    home = tmp_path / "home"
    (home / "lake" / "eu").mkdir(parents=True)
    for name, mode in (("lake/eu/a.parquet", 0o644), ("lake/run.sh", 0o755), ("b", 0o666)):
        (home / name).write_text("")
        (home / name).chmod(mode)
    (home / "link").symlink_to(outside)
    (home / "lake").chmod(0o777)
    assert private.tighten(home) >= 4
    assert set(_modes(home)) == {"link"}
    assert stat.S_IMODE((home / "lake/run.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert private.tighten(home) == 0


ENTRIES = {
    "the command": "import sys; sys.argv = ['tenantry', '--version-of-nothing']\n"
    "from include.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass",
    "make up": "from include.runtime.__main__ import main; main(['nothing'])",
    "the init job": "from include.runtime.initialise import main; main()",
    "a component of Airflow": LOCAL_SETTINGS,
    "MLflow's pages": "from include.runtime import mlflow_login\ntry:\n    mlflow_login.app()\n"
    "except Exception:\n    pass",
    "a process that finds its installation": "from include.runtime.control import activate\n"
    "activate()",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_closes_what_it_makes(tmp_path: Path, entry: str) -> None:
    """Started with a umask of 0, each of them leaves a file of mode 0600 and a folder of 0700."""
    script = ENTRIES[entry] + (
        "\nfrom pathlib import Path\n"
        f"Path({str(tmp_path)!r}, 'file').write_text('')\nPath({str(tmp_path)!r}, 'folder').mkdir()"
    )
    ours = ("TENANTRY", "AIRFLOW", "MLFLOW")
    given = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**given, "TENANTRY_HOME": str(tmp_path / "home")},
        umask=0,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_airflow_opens_no_log_by_itself(tmp_path: Path) -> None:
    """It sets the modes of task logs whatever the umask; they are told to it, and cannot be moved
    from outside."""
    from include.runtime.environment import component_environment
    from include.runtime.ports import Ports

    loose = {"AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o664"}
    here = State(tmp_path)
    found = component_environment(here, Postgres(tmp_path), Ports(), loose)
    assert found["AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS"] == "0o600"
    assert found["AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS"] == "0o700"
    assert found["TMPDIR"] == str(here.temporary)
