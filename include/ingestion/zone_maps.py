"""Zone maps: when the rows of each block of a text file arrived, so that it is not parsed again.

A zone map is to a text file what the statistics of its row groups are to a Parquet file. A block is
known by a digest of its bytes and of all that decides how they are read. So nothing is believed of
a file but its bytes: not its name, its size or when it was written, nor what was loaded of it. What
a block comes to is a function of that digest; where the digest is unknown, the block is parsed.

Invariant: a block is passed over only if no row of it arrived in the interval, and then its rows
count as they would have: outside, or as undated rows that other slices have.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from include.handoffs import Interval
from include.ingestion.mapping import Mapped
from include.ingestion.rows import BlockEnd, LeftOut, Rows, Unread


@dataclass(frozen=True)
class Zone:
    """What is known of one block."""

    left: int  #: bytes at its end that begin a record of the next block
    records: int  #: rows of the file, and lines that are none
    rows: int  #: those of them that `where` means, and lines that are no rows
    first_at: datetime | None  #: the earliest arrival among the rows; None where no row has one
    last_at: datetime | None  #: the latest
    undated: Mapping[str, int]  #: rows without an instant of arrival, by their reasons
    columns: tuple[int, ...] = ()  #: which of the wanted columns JSON lines have

    def meets(self, interval: Interval) -> bool:
        """Whether a row of the block may have arrived in the interval."""
        if self.first_at is None or self.last_at is None:
            return False
        return self.first_at < interval.end and self.last_at >= interval.start

    @property
    def left_out(self) -> LeftOut:
        """The block's rows, where none of them is parsed."""
        return LeftOut(self.rows - sum(self.undated.values()), self.records, self.undated)


ZoneMap = Mapping[str, Zone]  #: the blocks of a source's files, by their digests


@dataclass
class Survey:
    """One reading of a source: which blocks are passed over, and what is known of all afterwards.

    A block's parts are added one after the other, and then its end.
    """

    reading: bytes  #: digest of all that decides how text is read, see `zone_store`
    interval: Interval
    known: ZoneMap = field(default_factory=dict)
    met: dict[str, Zone] = field(default_factory=dict)  #: the blocks that were there this time
    passed: Counter[str] = field(default_factory=Counter)  #: blocks passed over: `undated`, or not
    _rows: int = 0
    _arrivals: list[datetime] = field(default_factory=list)
    _undated: Counter[str] = field(default_factory=Counter)

    def key(self, form: str, content: bytes) -> str:
        """What a block is known by.

        Args:
            form: what its file says of how it is read, such as the columns of a header.
        """
        told = hashlib.sha256(self.reading + hashlib.sha256(form.encode()).digest())
        told.update(content)
        return told.hexdigest()

    def outside(self, key: str) -> Zone | None:
        """What is known of a block that is passed over; None where it has to be parsed."""
        zone = self.known.get(key)
        if zone is None or zone.meets(self.interval):
            return None
        self.met[key] = zone
        self.passed["undated" if zone.undated else "dated"] += 1
        return zone

    def add_unread(self, part: Unread) -> None:
        """Records of the block that are no rows."""
        self._rows += len(part)
        self._undated.update(part.reasons)

    def add(self, part: Rows, mapped: Mapped) -> None:
        """Rows of the block, and what became of them."""
        self._rows += len(part)
        refused = mapped.refused
        for created in (mapped.accepted["created_timestamp"], refused.created):
            ends = pc.min_max(created).as_py()
            self._arrivals += [at for at in ends.values() if at is not None]
        undated = refused.reasons.filter(pc.is_null(refused.created))
        counts = pc.value_counts(undated).to_pylist()
        self._undated.update({one["values"]: one["counts"] for one in counts})

    def end(self, block: BlockEnd) -> None:
        """Keep what is known of the block now that all its parts were added."""
        if block.key and block.records:
            self.met[block.key] = Zone(
                left=block.left,
                records=block.records,
                rows=self._rows,
                first_at=min(self._arrivals, default=None),
                last_at=max(self._arrivals, default=None),
                undated=dict(self._undated),
                columns=block.columns,
            )
        self._rows, self._arrivals, self._undated = 0, [], Counter()

    def again(self, *, whole: bool) -> Survey:
        """A reading from the start that parses every block, or those with undated rows."""
        known = {} if whole else {key: zone for key, zone in self.known.items() if not zone.undated}
        return Survey(self.reading, self.interval, known)


def to_json(zones: ZoneMap) -> bytes:
    """A zone map as it is kept."""
    told = {key: _values(zone) for key, zone in sorted(zones.items())}
    return json.dumps(told, separators=(",", ":")).encode()


def of_json(content: bytes) -> ZoneMap:
    """The zone map that was kept; an empty one where it is damaged."""
    try:
        return {key: _zone(*values) for key, values in json.loads(content).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _values(zone: Zone) -> list[Any]:
    ends = [None if at is None else at.isoformat() for at in (zone.first_at, zone.last_at)]
    return [zone.left, zone.records, zone.rows, *ends, dict(zone.undated), zone.columns]


def _zone(
    left: int,
    records: int,
    rows: int,
    first_at: str | None,
    last_at: str | None,
    undated: Mapping[str, int],
    columns: Iterable[int],
) -> Zone:
    first, last = (None if at is None else datetime.fromisoformat(at) for at in (first_at, last_at))
    return Zone(left, records, rows, first, last, undated, tuple(columns))
