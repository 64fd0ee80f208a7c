"""Wall-clock time in a tenant's zone, for whole arrays of instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)


def local_microseconds(at: npt.NDArray[np.int64], zone: ZoneInfo) -> npt.NDArray[np.int64]:
    """Microseconds since 1970-01-01 00:00 on the zone's wall clock.

    The offset is looked up once per hour that occurs; only in an hour within which it changes is
    it looked up for each instant.
    """
    hours, hour_of = _distinct(at // _HOUR)
    first = np.array([_offset(hour * _HOUR, zone) for hour in hours.tolist()], dtype=np.int64)
    last = np.array([_offset((h + 1) * _HOUR - 1, zone) for h in hours.tolist()], dtype=np.int64)
    offsets: npt.NDArray[np.int64] = first[hour_of]
    changing = first != last
    if changing.any():
        for row in np.flatnonzero(changing[hour_of]):
            offsets[row] = _offset(int(at[row]), zone)
    offsets += at
    return offsets


def _distinct(numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """The distinct numbers, ascending, and of each number its place among them."""
    if not len(numbers):
        return numbers, numbers
    low = int(numbers.min())
    width = int(numbers.max()) - low + 1
    if width > 10_000 + 10 * len(numbers):  # some events in distant centuries
        distinct, place = np.unique(numbers, return_inverse=True)
        return distinct, place
    offsets = numbers - low
    occurs = np.zeros(width, dtype=bool)
    occurs[offsets] = True
    places = np.cumsum(occurs, dtype=np.int32)
    places -= 1
    return np.flatnonzero(occurs) + low, places[offsets]


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(microseconds=instant)).astimezone(zone).utcoffset()
    return (offset or timedelta(0)) // _MICROSECOND
