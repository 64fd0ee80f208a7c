"""What the `tenantry` command imports where no server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from light_commands import ran


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "tenants --help",
        "why --help",
        "tenants list",
        "tenants show store-367",
        "tenants check",
        "features list",
        "features show user_activity",
        "features diff",
    ],
)
def test_what_reads_files_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    """Neither MLflow nor pandas, nor anything else that takes seconds."""
    done = ran(*command.split(), TENANTRY_HOME=str(tmp_path), TENANTRY_DATABASE_URL="")
    assert done.code == 0, done.errors
    assert done.output
    assert done.heavy == ()
