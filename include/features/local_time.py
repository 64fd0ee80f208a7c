"""Wall-clock time in a tenant's zone, for whole arrays of instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
    hours, hour_of = np.unique(at // _HOUR, return_inverse=True)
    first = np.array([_offset(int(hour) * _HOUR, zone) for hour in hours], dtype=np.int64)
    last = np.array([_offset((int(hour) + 1) * _HOUR - 1, zone) for hour in hours], dtype=np.int64)
    offsets = first[hour_of]
    for row in np.flatnonzero((first != last)[hour_of]):
        offsets[row] = _offset(int(at[row]), zone)
    return at + offsets


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(microseconds=instant)).astimezone(zone).utcoffset()
    return (offset or timedelta(0)) // _MICROSECOND
