"""Every way to spell a path that leads to a neighbour's files, through every door of the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import IntegrityError
from include.handoffs import StoredObject
from include.storage.lake import Lake
from include.tenants.namespace import lake_prefix
from tests.attack.harness import Attempt, asked_for, attack
from tests.attack.owners import ALDER, BIRCH, OWNERS, Owner
from tests.attack.world import World

pytestmark = pytest.mark.integration

Spelling = Callable[[World, Owner, str], str]


def _from_the_root(world: World, named: Owner, path: str) -> str:
    return f"{world.lake.root}/{lake_prefix(named.ref)}/{path}"


#: Name → how a path within the named owner's folder is spelled from a neighbour's.
SPELLINGS: Final[dict[str, Spelling]] = {
    "as its own": lambda world, named, path: path,
    "climbing": lambda world, named, path: f"../../{lake_prefix(named.ref)}/{path}",
    "climbing one": lambda world, named, path: f"../{named.id}/{path}",
    "from inside": lambda world, named, path: f"reports/../../../{lake_prefix(named.ref)}/{path}",
    "through nothing": lambda world, named, path: f"no/../../../{lake_prefix(named.ref)}/{path}",
    "dots between": lambda world, named, path: f"./.././../{lake_prefix(named.ref)}/./{path}",
    "doubled slashes": lambda world, named, path: f"..//..//{lake_prefix(named.ref)}//{path}",
    "absolute": _from_the_root,
    "absolute, doubled": lambda world, named, path: f"/{_from_the_root(world, named, path)}",
    "url": lambda world, named, path: f"file://{_from_the_root(world, named, path)}",
    "percent": lambda world, named, path: f"%2e%2e/%2e%2e/{lake_prefix(named.ref)}/{path}",
    "percent slash": lambda world, named, path: f"..%2f..%2f{lake_prefix(named.ref)}%2f{path}",
    "backslashes": lambda world, named, path: rf"..\..\{named.ref.region}\{named.id}\{path}",
    "full-width dots": lambda world, named, path: f"．．/．．/{lake_prefix(named.ref)}/{path}",
    "one dot leader": lambda world, named, path: f"․․/․․/{lake_prefix(named.ref)}/{path}",
    "division slash": lambda world, named, path: f"..∕..∕{lake_prefix(named.ref)}∕{path}",
    "overlong": lambda world, named, path: f"..\udcc0\udcaf..\udcc0\udcaf{named.id}/{path}",
    "NUL": lambda world, named, path: f"../../{lake_prefix(named.ref)}/{path}\0",
    "NUL between": lambda world, named, path: f"reports\0/../../{lake_prefix(named.ref)}/{path}",
    "newline": lambda world, named, path: f"../../{lake_prefix(named.ref)}/{path}\n",
    "home": lambda world, named, path: f"~/../../{lake_prefix(named.ref)}/{path}",
    "variable": lambda world, named, path: f"$TENANTRY_LAKE/{lake_prefix(named.ref)}/{path}",
    "glob": lambda world, named, path: f"../../*/{named.id}/{path}",
    "brackets": lambda world, named, path: f"../../{named.ref.region}/[{named.id[0]}]*/{path}",
    "upper case": lambda world, named, path: f"../../{lake_prefix(named.ref).upper()}/{path}",
    "very long": lambda world, named, path: (
        "x/../" * 900 + f"../../{lake_prefix(named.ref)}/{path}"
    ),
    "deeper than any root": lambda world, named, path: (
        "../" * 64 + _from_the_root(world, named, path).lstrip("/")
    ),
    "process": lambda world, named, path: f"/proc/self/root{_from_the_root(world, named, path)}",
    "folder": lambda world, named, path: f"../../{lake_prefix(named.ref)}",
    "root": lambda world, named, path: "../..",
    "empty": lambda world, named, path: "",
}


def _get(world: World, principal: Owner, named: Owner, path: str) -> Any:
    return world.lake.get(principal.ref, StoredObject(principal.id, path, named.digest, 1))


def _get_as_its_own(world: World, principal: Owner, named: Owner, path: str) -> Any:
    return world.lake.get(principal.ref, StoredObject(named.id, path, named.digest, 1))


def _get_table(world: World, principal: Owner, named: Owner, path: str) -> Any:
    return world.lake.get_table(principal.ref, StoredObject(principal.id, path, named.digest, 1))


def _put(world: World, principal: Owner, named: Owner, path: str) -> Any:
    return world.lake.put(principal.ref, path, b"put there")


def _put_table(world: World, principal: Owner, named: Owner, path: str) -> Any:
    return world.lake.put_table(principal.ref, path, pa.table({"put": ["there"]}))


def _file_path(world: World, principal: Owner, named: Owner, path: str) -> Any:
    found = world.lake.file_path(principal.ref, path)
    if found.is_dir():
        return sorted(one.name for one in found.iterdir())
    return found.read_bytes() if found.is_file() else "no file"


def _forget_files(world: World, principal: Owner, named: Owner, path: str) -> Any:
    from datetime import UTC, datetime

    return world.lake.forget_files(principal.ref, path, datetime(2999, 1, 1, tzinfo=UTC))


def _artefact(world: World, principal: Owner, named: Owner, path: str) -> Any:
    """A version whose recorded folder was bent, as whoever can write MLflow's tags could."""
    version = world.versions[f"{principal.id}/churn"]
    client = world.mlflow
    original = client._recorded  # type: ignore[attr-defined]

    def bent(tenant: Any, use_case: str, number: str) -> Any:
        tags, recorded = original(tenant, use_case, number)
        return {**tags, "folder": path}, recorded

    object.__setattr__(client, "_recorded", bent)
    try:
        return client.artifact(principal.ref, version)
    finally:
        object.__delattr__(client, "_recorded")


DOORS: Final[dict[str, Callable[[World, Owner, Owner, str], Any]]] = {
    "get": _get,
    "get as the neighbour's": _get_as_its_own,
    "get_table": _get_table,
    "put": _put,
    "put_table": _put_table,
    "file_path": _file_path,
    "forget_files": _forget_files,
    "artifact": _artefact,
}
#: Doors that take the path of a folder.
_OF_FOLDERS: Final = ("forget_files", "artifact")


def _attempts(world: World, door: str, spelling: str, neighbours: int) -> Iterator[Attempt]:
    for principal in OWNERS:
        for named in asked_for(principal, neighbours):
            if named == principal:
                continue
            within = "features" if door in _OF_FOLDERS else named.path

            def go(principal: Owner = principal, named: Owner = named, within: str = within) -> Any:
                path = SPELLINGS[spelling](world, named, within)
                return DOORS[door](world, principal, named, path)

            yield Attempt(f"lake {door}", principal, named, spelling, go)


@pytest.mark.parametrize("door", DOORS)
def test_no_spelling_of_a_path_leads_to_a_neighbours_file(world: World, door: str) -> None:
    """Neither reading, writing, naming nor erasing; a neighbour's is refused as nobody's is."""
    for spelling in SPELLINGS:
        outcome = attack(world, _attempts(world, door, spelling, 2))
        assert outcome.attempts == 3 * len(OWNERS)
        assert not outcome.leaks, "\n".join(outcome.leaks[:20])


@pytest.mark.parametrize("what", ["file", "folder", "chain"])
def test_a_link_in_ones_own_folder_leads_nowhere_else(world: World, what: str) -> None:
    """A symbolic link to a neighbour's file or folder is no way in, for whoever could make one."""
    home = world.lake.root / lake_prefix(ALDER.ref) / "links"
    target = world.lake.root / lake_prefix(BIRCH.ref)
    home.mkdir()
    try:
        if what == "file":
            (home / "link").symlink_to(target / BIRCH.path)
            path = "links/link"
        elif what == "folder":
            (home / "link").symlink_to(target)
            path = f"links/link/{BIRCH.path}"
        else:
            (home / "first").symlink_to(Path("../../birch"))
            (home / "link").symlink_to("first")
            path = f"links/link/{BIRCH.path}"
        lake = Lake(world.lake.root)
        with pytest.raises(IntegrityError, match="leads out"):
            lake.get(ALDER.ref, StoredObject(ALDER.id, path, BIRCH.digest, 1))
        with pytest.raises(IntegrityError, match="leads out"):
            lake.file_path(ALDER.ref, path)
        with pytest.raises(IntegrityError, match="leads out"):
            lake.put(ALDER.ref, path, b"put there")
        assert (target / BIRCH.path).read_bytes() == BIRCH.content
    finally:
        for one in home.iterdir():
            one.unlink()
        home.rmdir()


def test_what_is_ones_own_is_found_under_its_own_path(world: World) -> None:
    """The doors open: what the other tests say is not said of doors that are shut to everybody."""
    for owner in OWNERS:
        stored = StoredObject(owner.id, owner.path, owner.digest, 1)
        assert world.lake.get(owner.ref, stored) == owner.content
        assert world.lake.file_path(owner.ref, owner.path).read_bytes() == owner.content
        version = world.versions[f"{owner.id}/churn"]
        assert owner.secret.encode() in world.mlflow.artifact(owner.ref, version)
