"""The shared catalogue: items that sell at several tenants, for a tenant that hardly sold any.

A global training counts how many entities of which tenant had an item; the counts stay in the
platform's folder. A tenant is shown items that two *other* tenants sell, to enough entities, in
bands of a power of two, and within a band in an order that has nothing to do with sales. So the
tenant's own sales change nothing of what the tenant is shown, and guessing an item tells the tenant
nothing about any single other tenant.
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
    """Per item and tenant, the number of entities that had the item after the last snapshot.

    Only items of two tenants or more count; empty unless the use case ranks items for newcomers.

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
    sold: Sold = {}
    for item, tenant, entities in zip(*(counted[name].tolist() for name in counted), strict=True):
        sold.setdefault(item, {})[tenant] = entities
    several = {item: by for item, by in sold.items() if len(by) >= OTHERS}
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
