"""The shared catalogue: what sells at several tenants, for one that has hardly sold anything.

What a global training keeps stays in the platform's folder: how many entities of which tenant had
an item. What a tenant is shown is made of it without the tenant itself: items that two *others*
sell, to enough entities, in bands of a power of two, and within a band in an order that has nothing
to do with sales. So whether it sells an item itself, and how often, changes nothing of what it is
shown, and a guessed item tells it nothing of any single other tenant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

import pandas as pd

from include.models.contributors import ENTITIES
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

#: Part of a global training's evaluation that holds it.
CATALOGUE: Final = "catalogue"
#: Tenants other than the one that asks, at which an item has to sell.
OTHERS: Final = 2
#: Items kept at most, those that most entities had.
_MOST: Final = 2_000

#: Item → tenant → entities that had it.
Sold = dict[str, dict[str, int]]


def shared_catalogue(
    use_case: UseCase, training: LabelledRows, members: Collection[str] | None = None
) -> Sold:
    """What entities of each tenant went on to have after the last snapshot.

    Items of two tenants or more; empty unless the use case ranks items for newcomers.

    Args:
        training: of the tenants that consented.
        members: whose rows count; everybody's where None.
    """
    if use_case.items is None or not use_case.items.newcomers or not len(training):
        return {}
    last = training.where(training.as_of == training.as_of.max())
    had = last.where(last.label == 1)
    frame = pd.DataFrame({"item": had.item, "tenant": had.tenant, "entity": had.entity})
    if members is not None:
        frame = frame[frame["tenant"].isin(list(members))]
    counted = frame.groupby(["item", "tenant"])["entity"].nunique().reset_index()
    found: Sold = {}
    for item, tenant, entities in zip(*(counted[name].tolist() for name in counted), strict=True):
        found.setdefault(item, {})[tenant] = entities
    several = {item: by for item, by in found.items() if len(by) >= OTHERS}
    most = sorted(several, key=lambda item: (-sum(several[item].values()), item))[:_MOST]
    return {item: several[item] for item in sorted(most)}


def shown_to(tenant: str, sold: Sold | None, most: int) -> list[str]:
    """The items that a tenant is shown, best band first.

    Args:
        sold: as `shared_catalogue` gives it; None shows nothing.
        most: items at most.
    """
    bands: dict[str, int] = {}
    for item, by in (sold or {}).items():
        others = [entities for owner, entities in by.items() if owner != tenant]
        if len(others) >= OTHERS and sum(others) >= ENTITIES:
            bands[item] = sum(others).bit_length()
    return sorted(bands, key=lambda item: (-bands[item], _shuffled(item)))[:most]


def _shuffled(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()
