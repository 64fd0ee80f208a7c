"""What has enough contributors to stand in a model that other tenants get.

A model of many tenants is copied to every one of them, and to those who gave nothing. An item, a
pair of items, a word or a category that one tenant alone has would tell all the others of it; a
count of two tells either of the two what the other one has. So that whoever looks always faces at
least two others, what is kept has three tenants behind it, and enough entities that no single one
stands out (a threshold rule, as statistical offices use it: Hundepool et al., "Statistical
Disclosure Control", 2012). The rest is left out before anything is fitted: it moves no number that
is kept.

Ids of entities begin with their tenant: `tenant/entity`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from include.models.interactions import Codes, Interactions, Mask, interactions

Told = TypeVar("Told")
#: Tenants that must share what is kept: whoever of them looks faces two others.
TENANTS: Final = 3
ENTITIES: Final = 10
_DIGITS: Final = 2  #: significant ones of a number that is kept as it is


@dataclass(frozen=True)
class Contributors:
    """How many there have to be."""

    tenants: int = TENANTS
    entities: int = ENTITIES

    def known(self, table: pa.Table) -> pa.Table:
        """The rows, of `entity_id` or `group_id` and `item_id`, whose item is known widely enough.

        What is left of an entity stays.
        """
        key = "entity_id" if "entity_id" in table.column_names else "group_id"
        pairs = table.select([key, "item_id"]).rename_columns(["entity_id", "item_id"])
        had = interactions(pairs)
        items = [item for item, kept in zip(had.items, self.items(had), strict=True) if kept]
        return table.filter(pc.is_in(table["item_id"], pa.array(items, pa.string())))

    def items(self, had: Interactions) -> Mask:
        """Which items are had by enough entities of enough tenants, of shape `(items,)`."""
        width = len(had.items)
        owner = owners(had.entities)[had.rows]
        distinct = np.unique(owner * max(width, 1) + had.columns)
        tenants = np.bincount(distinct % max(width, 1), minlength=width)
        entities = np.bincount(had.columns, minlength=width)
        return np.asarray((tenants >= self.tenants) & (entities >= self.entities))

    def pairs(self, matrix: sparse.csr_array, owner: Codes) -> sparse.csr_array:
        """Which items are had together by enough of both: ones at `(items, items)`.

        Args:
            matrix: `(entities, items)`, whatever it holds.
            owner: code of each entity's tenant.
        """
        ones = matrix.tocsr().astype(np.int64)
        ones.data[:] = 1
        tenants = sparse.csr_array((ones.shape[1], ones.shape[1]), dtype=np.int64)
        entities = tenants.copy()
        for code in np.unique(owner).tolist():
            own = ones[np.flatnonzero(owner == code)]
            both = (own.T @ own).tocsr()
            entities = entities + both
            both = both.copy()
            both.data[:] = 1
            tenants = tenants + both
        tenants.data = (tenants.data >= self.tenants).astype(np.int64)
        entities.data = (entities.data >= self.entities).astype(np.int64)
        kept = tenants.multiply(entities).tocsr()
        kept.eliminate_zeros()
        return kept

    def shared(self, told: Iterable[Told | None], tenants: Iterable[str]) -> set[Told]:
        """The things, such as texts, that enough tenants tell; each comes with who tells it."""
        found: dict[Told, set[str]] = {}
        for one, tenant in zip(told, tenants, strict=True):
            if one is not None:
                found.setdefault(one, set()).add(tenant)
        return {one for one, of in found.items() if len(of) >= self.tenants}

    def numbers(
        self, values: npt.NDArray[np.float64], tenants: npt.NDArray[np.str_]
    ) -> npt.NDArray[np.float64]:
        """Numbers of shape `(rows, columns)` in which no tenant stands out.

        What lies beyond what enough tenants reach is brought there, and all are rounded to two
        digits; a column of which too few tenants know anything is not known.
        """
        found = values.copy()
        groups = [tenants == tenant for tenant in np.unique(tenants).tolist()]
        for at in range(values.shape[1]):
            known = np.isfinite(values[:, at])
            ends = [values[own & known, at] for own in groups if (own & known).any()]
            if len(ends) < self.tenants:
                found[:, at] = np.nan
                continue
            low = sorted(float(one.min()) for one in ends)[self.tenants - 1]
            high = sorted(float(one.max()) for one in ends)[-self.tenants]
            inside = low <= high  # else there is nothing that enough of them reach
            found[:, at] = np.clip(values[:, at], low, high) if inside else np.nan
        return rounded(found)


def owners(entities: Sequence[str]) -> Codes:
    """A code per entity, equal for those of one tenant."""
    names = np.array([entity.partition("/")[0] for entity in entities], dtype=np.str_)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def among(had: Interactions, kept: Mask) -> Interactions:
    """What was had of some of the items; entities that had nothing else are none any more."""
    place = np.cumsum(kept) - 1
    stay = kept[had.columns]
    there, rows = np.unique(had.rows[stay], return_inverse=True)
    return replace(
        had,
        entities=tuple(had.entities[row] for row in there.tolist()),
        items=tuple(item for item, keep in zip(had.items, kept, strict=True) if keep),
        rows=rows.astype(np.int64),
        columns=place[had.columns[stay]],
        weights=had.weights[stay],
        unknown=0,
    )


def rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To two significant digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(np.abs(values))) - (_DIGITS - 1)
    scale = np.where(np.isfinite(power), 10.0**power, 1.0)
    return np.asarray(np.round(values / scale) * scale)
