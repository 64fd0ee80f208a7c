"""Faults of delivery: what becomes known late, twice or never. What happened stays as it is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.simulate.faults import Duplicates, Fault, Late, SimulatedOutage
from include.simulate.rows import UID
from include.simulate.seeds import Draws, Index
from include.simulate.visits import DAY
from include.storage.canonical import TIMESTAMP

Instants = NDArray[np.int64]

_HOUR = DAY // 24
_SECOND = 1_000_000


def deliver(table: pa.Table, faults: tuple[Fault, ...], draws: Draws, first: int) -> pa.Table:
    """An exported table as it arrives: late, then through outages, then repeated.

    Args:
        first: midnight of the world's first day, in microseconds since 1970.
    """
    uid: Index = table[UID].to_numpy()
    happened: Instants = table["happened_at"].cast(pa.int64()).to_numpy()
    received: Instants = table["received_at"].cast(pa.int64()).to_numpy().copy()
    kept = np.ones(len(uid), dtype=bool)
    for number, fault in enumerate(faults):
        own = draws.named("delivery", number)
        begins = first + _micros(getattr(fault, "at", 0.0))
        if isinstance(fault, Late):
            struck = (happened >= begins) & (own.uniform(uid) < fault.share)
            delay = fault.delay * DAY * own.named("delay").exponential(uid[struck])
            received[struck] += _whole(delay)
    for number, fault in enumerate(faults):
        if isinstance(fault, SimulatedOutage):
            own = draws.named("delivery", number)
            begins = first + _micros(fault.at)
            ends = begins + _micros(fault.days)
            struck = (received >= begins) & (received < ends)
            if fault.lost:
                kept &= ~struck
            else:
                received[struck] = ends + _whole(_HOUR * own.uniform(uid[struck]))
    copies = [np.flatnonzero(kept)]
    arrivals = [received[kept]]
    for number, fault in enumerate(faults):
        if isinstance(fault, Duplicates):
            own = draws.named("delivery", number)
            begins = first + _micros(fault.at)
            again = kept & (happened >= begins) & (own.uniform(uid) < fault.share)
            after = _whole(_HOUR * own.named("after").exponential(uid[again]))
            copies.append(np.flatnonzero(again))
            arrivals.append(received[again] + _SECOND + after)
    delivered = table.take(pa.array(np.concatenate(copies)))
    column = pa.array(np.concatenate(arrivals)).cast(TIMESTAMP)
    return delivered.set_column(delivered.column_names.index("received_at"), "received_at", column)


def _micros(days: float) -> int:
    return int(days * DAY)


def _whole(micros: NDArray[np.float64]) -> Instants:
    """In whole seconds: sources rarely know more."""
    return (micros // _SECOND).astype(np.int64) * _SECOND
