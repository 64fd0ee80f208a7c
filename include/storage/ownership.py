"""Whose a tenant id is: the record that every run looks at before it reads or writes anything.

A tenant id is a name, and names are given again. What an id holds belongs to the owner that
claimed it: the file with that `key` (or without one), in that region, with that isolation. Anybody
else is refused until the data was moved, or erased. The records are rows of the platform's, in the
pool database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from psycopg.types.json import Jsonb

from include.errors import IsolationError, TenantryError, UnavailableError
from include.storage.claims import Claim, TenantOwner, copied_key, decide_claim, key_digest
from include.storage.lake_files import LakeFiles
from include.storage.postgres import Connection, tenant_transaction
from include.storage.rows import has_rows
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef, database

SYSTEM: Final = "system"
_CURRENT: Final = """
    SELECT * FROM tenant_owners WHERE tenant_id = 'global' AND member = %s
    ORDER BY number DESC LIMIT 1
"""
_LISTED: Final = """
    SELECT DISTINCT ON (member) * FROM tenant_owners WHERE tenant_id = 'global'
    ORDER BY member, number DESC
"""
#: Another id that the key is of; the newest owner of each is who has it.
_GIVEN: Final = """
    SELECT 1 FROM tenant_owners WHERE tenant_id = 'global' AND member <> %(tenant)s
    AND key_digest = %(key)s AND state <> 'erased' LIMIT 1
"""
_CLAIM: Final = """
    INSERT INTO tenant_owners (tenant_id, member, number, region, isolation, key_digest, state,
                               actor)
    SELECT 'global', %(tenant)s, coalesce(max(number), 0) + 1, %(region)s, %(isolation)s, %(key)s,
           %(state)s, %(actor)s
    FROM tenant_owners WHERE tenant_id = 'global' AND member = %(tenant)s
"""
_CHANGE: Final = """
    UPDATE tenant_owners SET state = %(state)s, actor = %(actor)s, recorded_at = now(),
        region = coalesce(%(region)s, region), isolation = coalesce(%(isolation)s, isolation),
        target_region = %(target_region)s, target_isolation = %(target_isolation)s,
        details = details || %(details)s
    WHERE tenant_id = 'global' AND member = %(tenant)s AND number = %(number)s
"""
#: One claim of an id at a time; then one step that moves or erases it, or any number of stages.
_TURN: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.owner'), hashtext(%s))"
_SHARED: Final = """
    SELECT pg_try_advisory_xact_lock_shared(hashtext('tenantry.at_work'), hashtext(%s)) AS taken
"""
_ALONE: Final = """
    SELECT pg_try_advisory_xact_lock(hashtext('tenantry.at_work'), hashtext(%s)) AS taken
"""
_SILOS: Final = "SELECT datname FROM pg_database WHERE starts_with(datname, 'tenantry_silo_')"


def claim(tenant: TenantConfig, *, actor: str = SYSTEM) -> None:
    """Claim the tenant's id for its file, or see that it has it; nothing changes the second time.

    Raises:
        IsolationError: the id has data of another owner, or data that is sealed.
        ConfigError: the data lies in another region, or with another isolation.
        UnavailableError: the data is being moved or erased.
    """
    with _alone_with(tenant.id) as connection:
        decided = _decided(connection, tenant)
        if decided.refusal is not None:
            raise decided.refusal
        if decided.new:
            _insert(connection, tenant.ref, key_digest(tenant.key), "active", actor)


def check(tenant: TenantConfig) -> None:
    """Raise what `claim` would, and claim nothing."""
    with _alone_with(tenant.id) as connection:
        decided = _decided(connection, tenant)
    if decided.refusal is not None:
        raise decided.refusal


def check_again(tenant: TenantConfig) -> None:
    """Raise what `claim` would, of an id that was claimed when the run was opened."""
    owner = owner_of(tenant.id)
    refusal = decide_claim(tenant.ref, tenant.key, owner).refusal if owner else None
    if refusal is not None:
        raise refusal


def owner_of(tenant_id: str) -> TenantOwner | None:
    """Who has the id now, or had it last; None where nobody ever did."""
    with _alone_with(tenant_id) as connection:
        return _current(connection, tenant_id)


def owners() -> dict[str, TenantOwner]:
    """The newest owner of every id there ever was, for the platform's own steps."""
    with tenant_transaction(GLOBAL) as connection:
        rows = connection.execute(_LISTED).fetchall()
    return {row["member"]: _owner(row) for row in rows}


def admitted(tenants: Iterable[TenantConfig]) -> list[TenantConfig]:
    """Those whose data is theirs to be read: what a neighbour's or a global run may look at.

    Without a record there is no data, or it is of a release that kept none and the file has no key.
    """
    known = owners()
    return [tenant for tenant in tenants if _is_admitted(tenant, known.get(tenant.id))]


def refusals(tenants: Iterable[TenantConfig]) -> dict[str, TenantryError]:
    """Why the data of those that have any is not their files' to be read, where it lies; by id."""
    known = owners()
    decided = {
        one.id: decide_claim(one.ref, one.key, known[one.id]).refusal
        for one in tenants
        if one.id in known
    }
    return {tenant_id: refusal for tenant_id, refusal in decided.items() if refusal is not None}


@contextmanager
def at_work(*tenants: str) -> Iterator[None]:
    """While a stage reads or writes data of these tenants: nobody moves or erases it meanwhile.

    Raises:
        UnavailableError: somebody is doing that.
    """
    with tenant_transaction(GLOBAL) as connection:
        for tenant_id in sorted(set(tenants)):
            if not _taken(connection, _SHARED, tenant_id):
                raise UnavailableError(
                    f"the data of {tenant_id!r} is being moved or erased; `tenantry tenants` says "
                    "where that stands, and the run can be cleared when it is done"
                )
        yield


@contextmanager
def alone(tenant_id: str) -> Iterator[None]:
    """While the tenant's data is moved or erased: no stage of its works on it meanwhile.

    Raises:
        UnavailableError: one does.
    """
    with tenant_transaction(GLOBAL) as connection:
        if not _taken(connection, _ALONE, tenant_id):
            raise UnavailableError(
                f"a task of {tenant_id!r} is at work on its data. Pause its DAGs, wait until the "
                "task is over, or stop it, then run this again"
            )
        yield


def enter(
    tenant: TenantRef, key: str, state: str, *, actor: str, details: Mapping[str, Any] | None = None
) -> TenantOwner:
    """Make a record of data that had none, as of a release that kept no records.

    Args:
        key: the digest of its key, empty for none.
    """
    with _alone_with(tenant.id) as connection:
        if (there := _current(connection, tenant.id)) is not None and there.state != "erased":
            return there
        _insert(connection, tenant, key, state, actor)
        made = _current(connection, tenant.id)
    assert made is not None
    return made if details is None else change(made, state, actor=actor, details=details)


def change(
    owner: TenantOwner,
    state: str,
    *,
    actor: str,
    place: TenantRef | None = None,
    target: TenantRef | None = None,
    details: Mapping[str, Any] | None = None,
) -> TenantOwner:
    """Put an owner's data into another state; the record says by whom and when.

    Args:
        place: where the data lies from now on.
        target: where it is being moved to.
        details: added to those there are.
    """
    with _alone_with(owner.tenant) as connection:
        there = _current(connection, owner.tenant)
        if there is None or there.number != owner.number:
            raise IsolationError(f"{owner.tenant!r} has another owner by now; look again")
        connection.execute(
            _CHANGE,
            {
                "tenant": owner.tenant,
                "number": owner.number,
                "state": state,
                "actor": actor,
                "region": place.region if place else None,
                "isolation": place.isolation if place else None,
                "target_region": target.region if target else "",
                "target_isolation": target.isolation if target else "",
                "details": Jsonb(dict(details or {})),
            },
        )
        changed = _current(connection, owner.tenant)
    assert changed is not None
    return changed


def places(tenant_id: str) -> list[TenantRef]:
    """Where there is data under an id, whatever any record says."""
    with _alone_with(tenant_id) as connection:
        return _places(connection, tenant_id)


def silos() -> list[str]:
    """Ids of the tenants that a database of their own exists for."""
    with tenant_transaction(GLOBAL) as connection:
        names = [row["datname"] for row in connection.execute(_SILOS)]
    return sorted(name.removeprefix("tenantry_silo_").replace("_", "-") for name in names)


def _is_admitted(tenant: TenantConfig, owner: TenantOwner | None) -> bool:
    if owner is None:
        return tenant.key is None
    return owner.state == "active" and decide_claim(tenant.ref, tenant.key, owner).granted


def _decided(connection: Connection, tenant: TenantConfig) -> Claim:
    owner = _current(connection, tenant.id)
    homes = _places(connection, tenant.id) if owner is None else ()
    decided = decide_claim(tenant.ref, tenant.key, owner, homes)
    if decided.new and tenant.key is not None:
        given = {"tenant": tenant.id, "key": key_digest(tenant.key)}
        if connection.execute(_GIVEN, given).fetchone():
            return copied_key(tenant.id)
    return decided


def _places(connection: Connection, tenant_id: str) -> list[TenantRef]:
    silo = TenantRef(tenant_id, "unknown", "silo")
    made = connection.execute(
        "SELECT 1 FROM pg_database WHERE datname = %s", [database(silo)]
    ).fetchone()
    own = bool(made) and has_rows(silo)
    regions = LakeFiles.from_environment().regions(tenant_id)
    isolation = "silo" if own else "pool"
    homes = [TenantRef(tenant_id, region, isolation) for region in regions]
    if not homes and (own or has_rows(TenantRef(tenant_id, "unknown", "pool"))):
        homes = [TenantRef(tenant_id, "unknown", isolation)]
    return homes


@contextmanager
def _alone_with(tenant_id: str) -> Iterator[Connection]:
    with tenant_transaction(GLOBAL) as connection:
        connection.execute(_TURN, [tenant_id])
        yield connection


def _taken(connection: Connection, lock: str, tenant_id: str) -> bool:
    row = connection.execute(lock, [tenant_id]).fetchone()
    return row is not None and bool(row["taken"])


def _current(connection: Connection, tenant_id: str) -> TenantOwner | None:
    row = connection.execute(_CURRENT, [tenant_id]).fetchone()
    return None if row is None else _owner(row)


def _insert(connection: Connection, tenant: TenantRef, key: str, state: str, actor: str) -> None:
    connection.execute(
        _CLAIM,
        {
            "tenant": tenant.id,
            "region": tenant.region,
            "isolation": tenant.isolation,
            "key": key,
            "state": state,
            "actor": actor,
        },
    )


def _owner(row: Mapping[str, Any]) -> TenantOwner:
    target = None
    if row["target_region"]:
        target = TenantRef(row["member"], row["target_region"], row["target_isolation"])
    return TenantOwner(
        tenant=row["member"],
        number=row["number"],
        region=row["region"],
        isolation=row["isolation"],
        key_digest=row["key_digest"],
        state=row["state"],
        actor=row["actor"],
        changed_at=row["recorded_at"],
        target=target,
        details=row["details"],
    )
