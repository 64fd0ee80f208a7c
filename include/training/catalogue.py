"""The shared catalogue: what sells at several tenants, for one that has hardly sold anything."""

from __future__ import annotations

from typing import Final

import pandas as pd

from include.training.rows import Rows
from include.use_cases.declaration import UseCase

#: Part of a global training's evaluation that holds it.
CATALOGUE: Final = "catalogue"
#: Tenants at which an item has to sell, so that nobody learns from it what a single one sells.
_TENANTS: Final = 2


def shared_catalogue(use_case: UseCase, training: Rows) -> list[str]:
    """Items that entities of two tenants or more went on to have after the last snapshot.

    Those that most entities had come first, equal ones by id. Empty unless the use case ranks items
    for newcomers.

    Args:
        training: of the tenants that consented.
    """
    if use_case.items is None or not use_case.items.newcomers or not len(training):
        return []
    last = training.where(training.as_of == training.as_of.max())
    had = last.where(last.label == 1)
    frame = pd.DataFrame({"item": had.item, "entity": had.entity, "tenant": had.tenant})
    counted = frame.groupby("item").nunique()
    shared = counted[counted["tenant"] >= _TENANTS].sort_index()
    ordered = shared.sort_values("entity", ascending=False, kind="stable")
    return [str(item) for item in ordered.index[: use_case.items.popular]]
