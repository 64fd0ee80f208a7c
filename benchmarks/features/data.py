"""Generated events and spines, the same for a seed, in files that both sides read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.storage.canonical import EVENTS, TIMESTAMP

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
    constant = {
        "tenant_id": "bench",
        "source": "shop",
        "event": "Order Completed",
        "month": "2024-01",
    }
    columns: dict[str, pa.Array] = {
        "event_id": _names(draw.permutation(events), "e", 8),
        "user_id": _names(_users(draw, events, users, hot), "u", 6),
        "quantity": pa.array(draw.integers(1, 5, events).astype(np.float64)),
        "amount": pa.array(np.round(draw.lognormal(3, 1, events), 2)),
        "event_timestamp": pa.array(at).cast(TIMESTAMP),
        "created_timestamp": pa.array(created).cast(TIMESTAMP),
    }
    for name, text in constant.items():
        columns[name] = pa.repeat(text, events)
    for name in EVENTS.names:
        columns.setdefault(name, pa.nulls(events, pa.string()))
    table = pa.table([columns[name] for name in EVENTS.names], schema=EVENTS)
    as_of = _START + draw.integers(90 * _DAY, _YEAR, rows)
    spine = pa.table(
        {
            "user_id": _names(_users(draw, rows, users, hot), "u", 6),
            "as_of": pa.array(as_of).cast(TIMESTAMP),
        }
    )
    paths = target / "events.parquet", target / "spine.parquet"
    pq.write_table(table, paths[0])
    pq.write_table(spine, paths[1])
    return paths


def _users(draw: np.random.Generator, size: int, users: int, hot: bool) -> npt.NDArray[np.int64]:
    found = draw.integers(0, users, size)
    if hot:
        found[draw.random(size) < 0.1] = 0
    return found


def _names(numbers: npt.NDArray[np.int64], letter: str, digits: int) -> pa.Array:
    text = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(letter, pc.utf8_lpad(text, digits, "0"), "")
