"""Which purchases stand and which came back, of one tenant's events as an Arrow table.

Of the same person and item, say, pieces bought and pieces brought back are a balance along time
that never falls below zero: what is brought back was bought last, or before anything that is
looked at. Rows of one instant count together, so that a line voided on the same receipt is none,
and what is bought anew after it was brought back is had. Where the balance ends above zero, the
item is kept; otherwise it counts as not had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

#: Below so many pieces nothing is left: sums of weights in kilograms round.
_NOTHING: Final = 1e-9


def returned(events: pa.Table) -> pa.Array:
    """Per event whether it is a return: as `features.returns.RETURNS` has it."""
    negative = (pc.fill_null(pc.less(events[n], 0.0), False) for n in ("quantity", "amount"))
    return pc.or_(*negative)


def kept(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The purchases among the rows, in their order, of what was not wholly brought back.

    Args:
        rows: purchases and returns, with `quantity`, `amount` and `event_timestamp`.
        keys: columns, none of them null, that tell what a return takes back.
    """
    back = returned(rows)
    if not pc.any(back).as_py():
        return rows
    signed = pd.DataFrame(
        {
            **{key: rows[key].to_pandas() for key in keys},
            "at": rows["event_timestamp"].to_pandas(),
            "pieces": _pieces(rows) * np.where(back.to_numpy(zero_copy_only=False), -1.0, 1.0),
        }
    )
    moments = signed.groupby([*keys, "at"], sort=True)["pieces"].sum()
    running = moments.groupby(level=list(range(len(keys)))).cumsum()
    lowest = running.groupby(level=list(range(len(keys)))).cummin().clip(upper=0.0)
    balance = (running - lowest).groupby(level=list(range(len(keys)))).last()
    standing = balance.index[balance > _NOTHING]
    mine = pd.MultiIndex.from_frame(signed[list(keys)]) if len(keys) > 1 else signed[keys[0]]
    return rows.filter(pc.and_(pc.invert(back), pa.array(np.asarray(mine.isin(standing)))))


def _pieces(rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How many pieces a row is about: one where it has no quantity, or zero."""
    size = np.abs(pc.fill_null(rows["quantity"], 0.0).to_numpy())
    return np.where(size > 0, size, 1.0)
