"""The items that are ranked for each active entity: its own, and what is popular in the tenant."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.use_cases.declaration import Items
from include.use_cases.kept import kept, returned


def candidates(
    items: Items, entity: str, known: pa.Table, active: pa.Array, popular: Sequence[str]
) -> pa.Table:
    """Own items most often and most recently had, and popular ones; or the latter without own."""
    drop = items.seen == "drop"
    own_rows = own_items(known, entity, active, None if drop else items.own).to_pandas()
    crossed = pd.MultiIndex.from_product(
        [active.to_pandas(), list(popular)], names=[entity, "item_id"]
    ).to_frame(index=False)
    if drop:
        had = pd.MultiIndex.from_frame(own_rows)
        rows = crossed[~pd.MultiIndex.from_frame(crossed).isin(had)]
    else:
        rows = pd.concat([own_rows, crossed]).drop_duplicates()
    rows = rows.sort_values([entity, "item_id"])
    return pa.Table.from_pandas(rows, _pairs(entity), preserve_index=False)


def own_items(known: pa.Table, entity: str, active: pa.Array, most: int | None) -> pa.Table:
    """The items that each active entity has had, those most often and most recently had first.

    How often is purchases less returns; what came back wholly is left out.

    Args:
        known: with returns.
        most: of an entity; all where None.
    """
    own = known.filter(pc.is_in(known[entity], value_set=active))
    own = own.append_column("times", pc.if_else(returned(own), -1, 1))
    times = own.group_by([entity, "item_id"]).aggregate([("times", "sum")])
    last = kept(own, (entity, "item_id")).group_by([entity, "item_id"])
    history = last.aggregate([("event_timestamp", "max")]).join(times, [entity, "item_id"])
    history = history.sort_by(
        [
            (entity, "ascending"),
            ("times_sum", "descending"),
            ("event_timestamp_max", "descending"),
            ("item_id", "ascending"),
        ]
    )
    rows = history.select([entity, "item_id"]).to_pandas()
    if most is not None:
        rows = rows.groupby(entity, sort=False).head(most)
    rows = rows.sort_values([entity, "item_id"])
    return pa.Table.from_pandas(rows, _pairs(entity), preserve_index=False)


def _pairs(entity: str) -> pa.Schema:
    return pa.schema([(entity, pa.string()), ("item_id", pa.string())])
