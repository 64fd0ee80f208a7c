"""Generated events and spines, the same for a seed, in files that both sides read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.storage.canonical import EVENTS, TIMESTAMP

Integers: TypeAlias = npt.NDArray[np.int64]

_DAY = 86_400_000_000
_YEAR = 365 * _DAY
_START = 1_704_067_200_000_000  # 2024-01-01 in microseconds since 1970
_HOUR = _DAY // 24


def write_events(
    folder: Path, *, events: int, users: int, rows: int, hot: bool, seed: int
) -> tuple[Path, Path]:
    """A year of canonical events, and a spine; returns the two files.

    Spine rows are spread over users as events are. Where `hot`, one user has a tenth of both.
    Events arrive up to an hour late.
    """
    target = folder / f"{events}-{users}-{rows}-{'hot' if hot else 'even'}-{seed}"
    target.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    at = _START + draw.integers(0, _YEAR, events)
    created = at + draw.integers(0, _HOUR, events)
    table = canonical_events(draw, _users(draw, events, users, hot), at, created)
    as_of = _START + draw.integers(90 * _DAY, _YEAR, rows)
    spine = pa.table(
        {
            "user_id": names(_users(draw, rows, users, hot), "u", 7),
            "as_of": pa.array(as_of).cast(TIMESTAMP),
        }
    )
    paths = target / "events.parquet", target / "spine.parquet"
    pq.write_table(table, paths[0])
    pq.write_table(spine, paths[1])
    return paths


def canonical_events(
    draw: np.random.Generator, user: Integers, at: Integers, created: Integers, first_id: int = 0
) -> pa.Table:
    """Orders of numbered users at instants in microseconds since 1970."""
    rows = len(user)
    constant = {
        "tenant_id": "bench",
        "source": "shop",
        "event": "Order Completed",
        "month": "2024-01",
    }
    columns: dict[str, pa.Array] = {
        "event_id": names(first_id + draw.permutation(rows), "e", 8),
        "user_id": names(user, "u", 7),
        "item_id": names(draw.integers(0, 1_000, rows), "i", 4),
        "quantity": pa.array(draw.integers(1, 5, rows).astype(np.float64)),
        "amount": pa.array(np.round(draw.lognormal(3, 1, rows), 2)),
        "event_timestamp": pa.array(at).cast(TIMESTAMP),
        "created_timestamp": pa.array(created).cast(TIMESTAMP),
    }
    for name, text in constant.items():
        columns[name] = pa.repeat(text, rows)
    for name in EVENTS.names:
        columns.setdefault(name, pa.nulls(rows, pa.string()))
    return pa.table([columns[name] for name in EVENTS.names], schema=EVENTS)


def names(numbers: Integers, letter: str, digits: int) -> pa.Array:
    """`u0000042`: a letter and a number."""
    text = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0")
    return pc.binary_join_element_wise(letter, text, "")


def _users(draw: np.random.Generator, size: int, users: int, hot: bool) -> Integers:
    found = draw.integers(0, users, size)
    if hot:
        found[draw.random(size) < 0.1] = 0
    return found
