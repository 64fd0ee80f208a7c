"""What is installed is under licences that somebody has agreed to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.runtime import licences
from include.runtime.licences import Package
from include.runtime.state import PROJECT


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        *((("MIT",), True), (("Apache-2.0 AND MIT",), True), (("MPL-2.0",), True)),
        *((("MIT OR GPL-3.0-only",), True), (("GPL-3.0-only OR MIT",), True)),
        *((("GPL-3.0-only", "MIT"), True), (("(MIT OR Zlib) AND Apache-2.0",), True)),
        *(((), False), (("",), False), (("GPL-3.0-only",), False), (("AGPL-3.0-or-later",), False)),
        *((("MIT AND GPL-3.0-only",), False), (("Proprietary",), False), (("mit",), False)),
        *((("SSPL-1.0 AND MIT",), False), (("MIT AND (Zlib OR GPL-3.0-only)",), False)),
        *((("see LICENSE",), False), (("OR",), False), (("MIT-like",), False)),
    ],
)
def test_a_licence_is_agreed_to_or_it_is_not(said: tuple[str, ...], agreed: bool) -> None:
    """One side of OR is enough, AND asks for all, and what is not understood is not agreed to."""
    assert Package("some-package", "1", said).agreed is agreed


def test_packages_of_an_older_kind_are_understood() -> None:
    """A classifier stands for a licence; twice the same is said once."""
    licence = {"license": {"name": "License :: OSI Approved :: BSD License"}}
    bill = {
        "bomFormat": "CycloneDX",
        "components": [
            {"name": "b", "version": "2", "licenses": [licence, {"expression": "BSD-3-Clause"}]},
            {"name": "A", "licenses": [{"license": {"id": "MIT"}}]},
        ],
    }
    assert licences.packages(bill) == [
        Package("A", "", ("MIT",)),
        Package("b", "2", ("BSD-3-Clause",)),
    ]


@pytest.mark.parametrize("bill", [{}, {"bomFormat": "CycloneDX"}, {"components": [{"name": "a"}]}])
def test_nothing_is_not_taken_for_all_good(bill: dict[str, object]) -> None:
    """An empty or foreign document is an error, not a list without problems."""
    with pytest.raises(ConfigError, match="make sbom"):
        licences.packages(bill)


def test_a_stranger_is_named_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code stops a build, the message says where to agree."""
    bill = tmp_path / "sbom.json"
    component = {"name": "odd", "version": "3", "licenses": [{"expression": "SSPL-1.0"}]}
    bill.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [component]}))
    assert licences.main([str(bill), str(tmp_path / "list.txt")]) == 1
    told = capsys.readouterr().err
    assert "odd 3: SSPL-1.0" in told
    assert "licences.py" in told


@pytest.mark.integration
def test_everything_installed_is_in_the_bill_and_agreed_to(tmp_path: Path) -> None:
    """The kept tool reads this environment; each package of the lock file that is installed is
    there, and none has a licence that nobody has read."""
    bill = tmp_path / "sbom.json"
    tool = Path(sys.executable).parent / "cyclonedx-py"
    command = [str(tool), "environment", sys.executable, "--output-reproducible"]
    done = subprocess.run(
        [*command, "--output-format", "JSON", "--output-file", str(bill)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = licences.packages(json.loads(bill.read_text()))
    assert [f"{one.name}: {one.told}" for one in found if not one.agreed] == []
    names = {one.name.lower().replace("_", "-") for one in found}
    assert {"apache-airflow", "mlflow", "pandas", "psycopg", "lightgbm", "duckdb"} <= names
    assert len(names) > 200
