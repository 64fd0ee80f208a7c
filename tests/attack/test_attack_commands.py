"""Every command of `tenantry` that takes a tenant, for every tenant and with neighbours' names.

Whoever types it is an operator and may read everything: but what is asked about one tenant tells
nothing of another, and a neighbour's version, path or day is answered as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import typer
from typer.testing import CliRunner

from include.cli import app
from tests.attack.harness import Attempt, attack
from tests.attack.owners import ABSENT, AS_OF, OWNERS, PLATFORMS, ROWAN, USE_CASE, Owner
from tests.attack.world import World

pytestmark = pytest.mark.integration

#: Command → its arguments, where `{own}` is the tenant asked about and the rest a neighbour's.
COMMANDS: Final[dict[str, list[str]]] = {
    "why": ["{own}", USE_CASE],
    "history": ["{own}", USE_CASE, "--on", f"{AS_OF:%Y-%m-%d}"],
    "card": ["{own}", USE_CASE, "--version", "{version}"],
    "rollback": ["{own}", USE_CASE, "--to", "{version}", "--dry-run"],
    "reproduce": ["{own}.churn@{version}"],
    "run": ["{own}", "--use-case", "{use_case}", "--as-of", f"{AS_OF.isoformat()}"],
    "experiment start": [
        *("{own}", USE_CASE, "--challenger", "{version}", "--share", "0.5", "--because", "asked"),
    ],
    "experiment list": ["{own}"],
    "experiment stop": ["{own}", "{use_case}", "--because", "asked"],
    "quarantine": ["{own}", "--limit", "9"],
    "report": ["{own}", USE_CASE],
    "suspicion list": ["{own}"],
    "suspicion dismiss": ["{own}", USE_CASE, "--because", "asked"],
    "suspicion confirm": ["{own}", "{use_case}", "--because", "asked"],
    "features skew": ["{own}", "{use_case}"],
    "features show": ["recency", "--tenant", "{own}"],
    "features freshness": ["{own}", "--at", f"{AS_OF.isoformat()}"],
    "tenants show": ["{own}"],
    "tenants remove": ["{own}", "--dry-run"],
    "tenants move": ["{own}", "--dry-run"],
    "tenants unseal": ["{own}"],
    "tenants withdraw-consent": ["{own}", "--dry-run"],
    "audit verify": ["{own}"],
    "audit show": ["{own}"],
}
#: Commands that take no tenant, or are about the fleet.
OF_NO_TENANT: Final = {
    "up": "the installation",
    "down": "the installation",
    "demo": "the installation",
    "airflow": "hands everything to Airflow",
    "status": "the fleet",
    "simulate": "invented tenants",
    "audit checkpoint": "the fleet",
    "roles sync": "the fleet, in Airflow's own database",
    "tenants list": "the fleet",
    "tenants check": "files that are given to it",
    "tenants add": "a file that is given to it",
    "features list": "the library",
    "features diff": "the library",
    "features docs": "the library",
    "features preview": "times itself; attacked as `features.description.preview.preview`",
}
_LIVE: Final = tuple(owner for owner in OWNERS if owner.live)


def _names(command: Any, before: str = "") -> Iterator[str]:
    inside = getattr(command, "commands", None)
    if inside is not None:
        for name, inner in inside.items():
            yield from _names(inner, f"{before} {name}".strip())
    else:
        yield before


def test_every_command_is_attacked_or_takes_no_tenant() -> None:
    """A command added without an entry here fails."""
    there = set(_names(typer.main.get_command(app)))
    assert there == {*COMMANDS, *OF_NO_TENANT}


def _attempts(world: World, command: str, as_json: bool) -> Iterator[Attempt]:
    for principal in (*_LIVE, ROWAN):
        for named in (principal, *(o for o in OWNERS if o != principal), *ABSENT[:1]):

            def ask(principal: Owner = principal, named: Owner = named) -> Any:
                given = [
                    part.format(own=principal.id, version=named.version, use_case=named.use_case)
                    for part in COMMANDS[command]
                ]
                if as_json:
                    given.append("--json")
                done = CliRunner().invoke(app, [*command.split(), *given], terminal_width=200)
                error = done.exception
                if error is not None and not isinstance(error, SystemExit):
                    raise error
                return done.exit_code, done.output

            yield Attempt(f"tenantry {command}", principal, named, "cli", ask)


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_about_one_tenant_tells_nothing_of_another(
    world: World, command: str, as_json: bool
) -> None:
    """Neither its answer nor its errors, though it may say which tenants there are."""
    if command == "run" and as_json:
        pytest.skip("takes minutes; the same in a table")
    outcome = attack(world, _attempts(world, command, as_json), names=True, also_changed=PLATFORMS)
    assert not outcome.leaks, "\n".join(outcome.leaks[:20])
