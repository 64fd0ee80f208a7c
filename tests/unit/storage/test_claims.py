"""Whose a tenant id is: what a file is told, by who has the id and where its data lies."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.errors import ConfigError, IsolationError, UnavailableError
from include.storage.claims import Claim, TenantOwner, decide_claim, key_digest
from include.tenants.namespace import TenantRef

HERE = TenantRef("acme", "eu", "pool")
KEYS = {"": None, "mine": "k" * 32, "yours": "y" * 32}


def place(text: str) -> TenantRef:
    """A place written as region/isolation."""
    region, _, isolation = text.partition("/")
    return TenantRef("acme", region, isolation)


def owner(state: str, key: str, where: str) -> TenantOwner:
    """Somebody who has the id."""
    at = place(where)
    changed = datetime(2024, 3, 1, tzinfo=UTC)
    digest = key_digest(KEYS[key])
    return TenantOwner("acme", 1, at.region, at.isolation, digest, state, "ann", changed)


@pytest.mark.parametrize("line", """
    nobody  -      -        mine    -                granted, new
    nobody  -      -        -       -                granted, new
    nobody  -      -        -       eu/pool          granted, new
    nobody  -      -        -       us/pool,eu/pool  granted, new
    nobody  -      -        -       us/pool          lies in region 'us'
    nobody  -      -        -       us/silo,us/pool  lies in region 'us'
    nobody  -      -        mine    eu/pool          nobody knows whose
    nobody  -      -        mine    us/pool,ap/pool  data of 'acme' in region 'ap'
    erased  yours  us/silo  mine    eu/pool          granted, new
    erased  yours  us/silo  -       us/pool          granted, new
    active  mine   eu/pool  mine    us/pool          granted
    active  -      eu/pool  -       -                granted
    active  mine   us/pool  mine    -                lies in region 'us'
    active  mine   eu/silo  mine    -                lies in region 'eu' with isolation 'silo'
    active  yours  eu/pool  mine    -                a tenant file with another key.
    active  yours  eu/pool  -       -                a tenant file with a key.
    active  -      eu/pool  mine    -                a tenant file that has no key.
    sealed  yours  eu/pool  mine    -                a tenant file with another key.
    sealed  mine   eu/pool  mine    -                was removed on 2024-03-01 00:00 UTC by ann
    moving  mine   eu/pool  mine    -                `tenantry tenants move acme
    erasing mine   eu/pool  mine    -                `tenantry tenants remove acme --erase`
""".strip().splitlines())  # fmt: skip
def test_who_may_have_an_id(line: str) -> None:
    """state of the owner, its key and place; the file's key, where data lies; what is said."""
    state, key, where, mine, data, said = line.split(maxsplit=5)
    there = None
    if state != "nobody":
        there = owner(state, "" if key == "-" else key, where)
    places = [] if data == "-" else [place(one) for one in data.split(",")]
    claim = decide_claim(HERE, KEYS["" if mine == "-" else mine], there, places)
    if said.startswith("granted"):
        assert claim == Claim(granted=True, new=said.endswith("new"))
        return
    assert not claim.granted
    assert not claim.new
    assert said in str(claim.refusal)
    kinds = {"lies": ConfigError, "`ten": UnavailableError}
    assert isinstance(claim.refusal, kinds.get(said[:4], IsolationError))
