"""Who may have whose data, by the tenants' files as they are, and what was made of whose.

Nothing is kept of who agreed to what when: the file is the consent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from include import use_cases
from include.handoffs import StoredObject
from include.storage import claims, ownership
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, load_fleet, tenant_files, tenants_folder
from include.tenants.namespace import GLOBAL, TENANT_ID, TenantRef, global_owner

_ID: Final = re.compile(rf"""^id\s*:\s*["']?({TENANT_ID.pattern})["']?\s*(?:#.*)?$""", re.MULTILINE)
_MOST_READ: Final = 100_000  #: bytes of a bad file in which its id is looked for


@dataclass(frozen=True)
class Consents:
    """What the tenants consent to now."""

    fleet: Fleet
    #: By id, as `tenants`, and those that are leaving: whose ledgers a withdrawal is carried to. A
    #: file that says another place than the data lies in has moved nothing yet.
    placed: Mapping[str, TenantConfig]
    #: By id, in the region that their data lies in. One whose id has another owner's data is none
    #: of them: that other one is who consented.
    tenants: Mapping[str, TenantConfig]
    #: Whose file is there and cannot be read: nothing is known of their consent, so it stands.
    unread: frozenset[str] = frozenset()

    @classmethod
    def now(cls, leaving: Collection[str] = ()) -> Consents:
        """As the folder of tenants says.

        Args:
            leaving: tenants that consent to nothing, whatever their file says.
        """
        fleet, owners = load_fleet(tenants_folder(), use_cases.names()), ownership.owners()
        placed = {}
        for tenant_id, tenant in fleet.tenants.items():
            owner = owners.get(tenant_id)
            if owner is None or owner.state == "erased":
                placed[tenant_id] = tenant
            elif owner.key_digest == claims.key_digest(tenant.key):
                where = {"region": owner.region, "isolation": owner.isolation}
                placed[tenant_id] = tenant.model_copy(update=where)
        stays = {name: tenant for name, tenant in placed.items() if name not in leaving}
        return cls(fleet, placed, stays, _unread(fleet) - set(leaving))

    def refusing(self, owner: TenantRef, contributors: Collection[str]) -> list[str]:
        """The contributors whose data the owner of global models may not have (now).

        What is the owner's of all regions and was made in one region alone crosses no border, so
        consent to pooling in that region is enough for it.
        """
        regions = {self.tenants[member].region for member in contributors if member in self.tenants}
        within = global_owner(*regions) if owner == GLOBAL and len(regions) == 1 else owner
        return sorted(member for member in contributors if not self._gives(member, owner, within))

    def _gives(self, tenant_id: str, *owners: TenantRef) -> bool:
        tenant = self.tenants.get(tenant_id)
        if tenant is None:
            return tenant_id in self.unread
        return any(tenant.consents_to(owner) for owner in owners)


def contributors(document: Mapping[str, Any]) -> set[str]:
    """Ids of the tenants that a training's evaluation, or a version's lineage, names."""
    return {str(table["tenant"]) for table in document.get("tables", ())}


def unconsented(owner: TenantRef, stored: StoredObject, lake: Lake) -> list[str]:
    """Ids of those in a global training's evaluation whose data the owner may not have any more."""
    return Consents.now().refusing(owner, contributors(json.loads(lake.get(owner, stored))))


def _unread(fleet: Fleet) -> frozenset[str]:
    """Ids that files which cannot be read may be about: by their names, and by what they say."""
    ids = set()
    for path in tenant_files(tenants_folder()):
        if path.name in fleet.problems:
            ids.add(path.stem)
            try:
                text = path.read_bytes()[:_MOST_READ].decode("utf-8", "replace")
            except OSError:
                continue
            ids.update(_ID.findall(text))
    return frozenset(ids)
