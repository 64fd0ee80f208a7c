"""Who counts in what several tenants are told together, so that no change of members tells on one.

Who is told a sum before and after a single tenant joined or left knows by subtraction what that
tenant gave (a differencing attack; Denning, "Secure statistical databases with random sample
queries", ACM TODS 5, 1980). So of all memberships that were ever told anything, any two are either
the same or differ by three tenants at least: whoever asks, and may have come or gone itself, faces
two others in every difference.

Consent that is withdrawn counts at once. Then the members are those of an earlier, smaller
membership; or two others rest with the one that left, until enough have come; or there are none. A
newcomer waits until it is one of three.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Final

from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, lake_prefix

#: Tenants by which two memberships differ: two, and whoever asks.
APART: Final = 3


def settled(
    consenting: Collection[str], told: Sequence[frozenset[str]], fewest: int
) -> frozenset[str]:
    """The largest membership of consenting tenants that tells on nobody; empty where none does.

    Args:
        told: every membership that anything was told of.
        fewest: members without which nothing is told, so that it does not matter who they are.
    """
    now = frozenset(consenting)
    earlier = [one for one in told if one <= now]
    order = sorted(now, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    resting = [frozenset(order[count:]) for count in range(len(order))]
    for option in sorted({*earlier, *resting}, key=lambda one: (-len(one), sorted(one))):
        if len(option) < fewest:
            break
        if all(one == option or len(one ^ option) >= APART for one in told):
            return option
    return frozenset()


def settle(
    consenting: Collection[str], purpose: str, fewest: int, *, owner: TenantRef, lake: Lake
) -> frozenset[str]:
    """`settled` with the memberships on record, to which the answer is added.

    Args:
        purpose: what is told, e.g. `catalogue-recommendation`; memberships of different purposes
            are no matter to each other.
        owner: the platform, in whose folder the record lies.
    """
    folder = f"members/{purpose}"
    home = lake.root / lake_prefix(owner) / folder
    told = [frozenset(json.loads(path.read_bytes())) for path in sorted(home.glob("*.json"))]
    found = settled(consenting, told, fewest)
    if found and found not in told:
        content = json.dumps(sorted(found)).encode()
        digest = hashlib.sha256(content).hexdigest()
        lake.put(owner, f"{folder}/{digest}.json", content, rows=len(found))
    return found
