"""Chooses whose data counts in shared sums, so that no change of members gives one tenant away.

Whoever sees a sum before and after a single tenant joined or left knows by subtraction what that
tenant gave (a differencing attack; Denning, "Secure statistical databases with random sample
queries", ACM TODS 5, 1980). The invariant: any two memberships that a sum was ever published of are
the same, or differ by three tenants at least. Then a reader, who may have come or gone, too, faces
two other tenants in every difference.

Withdrawn consent counts at once. Then the members are those of an earlier, smaller membership; or
two other tenants pause with the one that left, until enough have come; or there are none. A
newcomer waits until three have come.
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
    """The largest membership of consenting tenants that gives nobody away; empty without any.

    Args:
        told: every membership of which a sum was published before.
        fewest: members that a published sum needs; smaller memberships are not published.
    """
    now = frozenset(consenting)
    earlier = [members for members in told if members <= now]
    order = sorted(now, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    resting = [frozenset(order[count:]) for count in range(len(order))]
    for option in sorted({*earlier, *resting}, key=lambda one: (-len(one), sorted(one))):
        if len(option) < fewest:
            break
        if all(members == option or len(members ^ option) >= APART for members in told):
            return option
    return frozenset()


def settle(
    consenting: Collection[str], purpose: str, fewest: int, *, owner: TenantRef, lake: Lake
) -> frozenset[str]:
    """`settled` with the memberships on record, to which the answer is added.

    Args:
        purpose: the sums' use, e.g. `catalogue-recommendation`; memberships of different purposes
            are independent.
        owner: the platform, in whose folder the record lies.
    """
    folder = f"members/{purpose}"
    home = lake.root / lake_prefix(owner) / folder
    recorded = [frozenset(json.loads(path.read_bytes())) for path in sorted(home.glob("*.json"))]
    members = settled(consenting, recorded, fewest)
    if members and members not in recorded:
        content = json.dumps(sorted(members)).encode()
        digest = hashlib.sha256(content).hexdigest()
        lake.put(owner, f"{folder}/{digest}.json", content, rows=len(members))
    return members
