"""Brings the roles in Airflow's database to what the tenants' files ask for.

Runs as a process of its own (`python -m include.runtime.airflow_roles`), in the components'
environment, and prints what it did as JSON; nothing is done a second time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airflow.configuration import conf

from include import use_cases
from include.errors import ConfigError, TenantryError
from include.runtime.private import keep_to_owner
from include.runtime.roles import Permission, Permissions, RoleChanges, decide_roles
from include.tenants.loader import load_fleet, tenants_folder


def sync_roles() -> RoleChanges:
    """Makes, corrects and removes roles; who had a removed one, has it no more.

    Raises:
        ConfigError: Airflow's auth manager knows no roles.
    """
    if "FabAuthManager" not in conf.get("core", "auth_manager"):
        raise ConfigError(
            "roles need Airflow's FAB auth manager, as docker-compose.yaml sets it; the embedded "
            "default has one administrator and no other user"
        )
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    fleet = load_fleet(tenants_folder(), use_cases.names())
    with get_application_builder() as builder:
        security = builder.sm
        there = {role.name: _permissions(role) for role in security.get_all_roles()}
        keys = {name: tenant.key for name, tenant in fleet.tenants.items()}
        changes = decide_roles(keys, map(_stem, fleet.problems), there)
        for name in changes.removed:
            security.delete_role(name)
        known: dict[Permission, Any] = {}
        for name, permissions in {**changes.made, **changes.changed}.items():
            role = security.find_role(name) or security.add_role(name)
            for one in permissions - known.keys():
                known[one] = security.create_permission(*one)
            role.permissions = [known[one] for one in sorted(permissions)]
            security.session.merge(role)
            security.session.commit()
    return changes


def _permissions(role: Any) -> Permissions:
    return frozenset((one.action.name, one.resource.name) for one in role.permissions)


def _stem(file: str) -> str:
    """The id of a bad file: it is named after its tenant."""
    return Path(file).stem


def main() -> int:
    """Prints the names of what changed; a person's mistake is told in one line."""
    keep_to_owner()
    try:
        changes = sync_roles()
    except TenantryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    told = {
        "made": sorted(changes.made),
        "changed": sorted(changes.changed),
        "removed": list(changes.removed),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
