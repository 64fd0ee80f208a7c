"""Which roles Airflow's FAB auth manager has for the people of each tenant, and what these allow.

A role names the tenant's three DAGs one by one, and never *DAGs* as a whole: these are everybody's.
The other permissions say which kinds of things a person may look at, and count only together with a
DAG that they may read. What Airflow cannot limit to a DAG is left out: the audit log, import
errors, assets, pools, variables, connections, jobs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from include.tenants.namespace import DAG_KINDS, TENANT_ID, dag_id

#: an action and what it is done to, in FAB's words
Permission = tuple[str, str]
Permissions = frozenset[Permission]

READER: Final = "reader"
OPERATOR: Final = "operator"
_READ: Final = (
    "DAG Dependencies",  # the graph of a DAG
    *("DAG Runs", "DAG Versions", "DAG Warnings", "HITL Detail"),
    *("Task Instances", "Task Logs", "XComs"),
    *("Plugins", "Website"),  # the list of plugins, without which the tab *Reports* is not shown
)
_OWN_ACCOUNT: Final = ("My Password", "My Profile")
_MENUS: Final = ("DAGs", "Documentation", "Docs")
#: What both may do besides their tenant's DAGs.
_GENERAL: Final[Permissions] = frozenset(
    {("can_read", name) for name in (*_READ, *_OWN_ACCOUNT)}
    | {("can_edit", name) for name in _OWN_ACCOUNT}
    | {("menu_access", name) for name in _MENUS}
)
_OPERATING: Final[Permissions] = frozenset(
    {
        *(("can_create", "DAG Runs"), ("can_edit", "DAG Runs")),
        *(("can_create", "Task Instances"), ("can_edit", "Task Instances")),
        ("can_edit", "HITL Detail"),
    }
)
_OWNED: Final = "owned"  #: no action that anything asks for
_NAME: Final = re.compile(rf"tenant:({TENANT_ID.pattern}):({READER}|{OPERATOR})")


def role_name(tenant_id: str, kind: str) -> str:
    """`tenant:{id}:{kind}`; neither part holds a colon, so that no name is another's beginning."""
    return f"tenant:{tenant_id}:{kind}"


def tenant_of(role: str) -> str | None:
    """Whose role that is; None for a role that is not ours."""
    found = _NAME.fullmatch(role)
    return found[1] if found else None


def roles_of(tenant_id: str, key: str | None = None) -> dict[str, Permissions]:
    """The two roles of a tenant: who looks, and who also triggers, reruns and pauses.

    Args:
        key: that of the tenant's file. A permission that allows nothing keeps its digest with the
            role, so that the people of a company that left are not those of the next one with
            its id.
    """
    dags = [f"DAG:{dag_id(tenant_id, kind)}" for kind in DAG_KINDS]
    reader = _GENERAL | {("can_read", dag) for dag in dags} | {_mark(tenant_id, key)}
    operator = reader | _OPERATING | {("can_edit", dag) for dag in dags}
    return {role_name(tenant_id, READER): reader, role_name(tenant_id, OPERATOR): operator}


def _mark(tenant_id: str, key: str | None) -> Permission:
    digest = hashlib.sha256(f"{tenant_id}:{key}".encode()).hexdigest()[:16] if key else "no key"
    return _OWNED, f"Tenant {tenant_id} ({digest})"


def _marks(permissions: Permissions) -> Permissions:
    return frozenset(one for one in permissions if one[0] == _OWNED)


@dataclass(frozen=True)
class RoleChanges:
    """What has to be done so that the roles are what the tenants ask for."""

    made: Mapping[str, Permissions]
    changed: Mapping[str, Permissions]  #: to exactly these permissions
    removed: tuple[str, ...]  #: before any is made: nobody has a role again that is made anew


def decide_roles(
    tenants: Mapping[str, str | None], kept: Iterable[str], there: Mapping[str, Permissions]
) -> RoleChanges:
    """The difference between the roles that are there and those of the tenants.

    Args:
        tenants: the tenants that have roles, each with the key of its file.
        kept: ids whose roles stay as they are: their file is there, and bad.
        there: the roles Airflow has. Those that are no tenant's are nobody's business here.
    """
    wanted = {
        name: one
        for tenant, key in sorted(tenants.items())
        for name, one in roles_of(tenant, key).items()
    }
    others = {
        name for name, one in wanted.items() if name in there and _marks(there[name]) - _marks(one)
    }
    stay = set(kept)
    gone = {
        name
        for name in there
        if (tenant := tenant_of(name)) and name not in wanted and tenant not in stay
    }
    return RoleChanges(
        made={name: one for name, one in wanted.items() if name not in there or name in others},
        changed={
            name: one
            for name, one in wanted.items()
            if name not in others and there.get(name, one) != one
        },
        removed=tuple(sorted(gone | others)),
    )
