"""`tenantry roles`: who may see which tenant in Airflow."""

from __future__ import annotations

import json
import subprocess
import sys

import typer

from include.cli.shared import Json, print_json
from include.errors import TenantryError

app = typer.Typer(no_args_is_help=True, help="The tenants' roles in Airflow (FAB).")


@app.callback()
def _group() -> None:
    """A group, although it has one command only."""


@app.command()
def sync(as_json: Json = False) -> None:
    """Give each tenant its two roles (`tenant:ID:reader`, `tenant:ID:operator`), exactly as they
    are meant to be, and remove those of tenants that are gone. The init job does it, too."""
    done = subprocess.run(
        [sys.executable, "-m", "include.runtime.airflow_roles"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = done.stderr.strip().rpartition("error: ")[2] or "it ended without a message"
        raise TenantryError(f"the roles could not be brought up to date: {message[-2000:]}")
    changes = json.loads(done.stdout.strip().splitlines()[-1])
    if as_json:
        print_json(changes)
        return
    for what, names in changes.items():
        for name in names:
            print(f"{what} {name}")
    if not any(changes.values()):
        print("all as they should be")
