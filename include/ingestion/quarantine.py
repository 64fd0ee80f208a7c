"""The quarantine of one slice: bad rows with their reasons, as they may be stored."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.corrections import as_read, reason
from include.ingestion.rows import Refused, Unread
from include.ingestion.slices import Counted, Rejected, SetAside
from include.tenants.config import Source

#: Rows that are kept per slice; beyond, they are only counted.
KEPT: Final = 10_000
#: And how much text they may hold, so that neither memory nor Postgres fills up with rubbish.
KEPT_BYTES: Final = 32_000_000
_LONGEST_VALUE: Final = 1_000
#: Key of a record that could not be taken apart, in what is stored of it.
UNPARSED: Final = "unparsed line"


@dataclass
class Quarantine:
    """Collects what is set aside of one slice."""

    masked: frozenset[str]  #: PII columns
    rejected: Rejected = field(default_factory=Rejected)

    def add(self, refused: Refused) -> None:
        """Set rows aside."""
        undated = pc.is_null(refused.created)
        self._keep(self.rejected.undated, refused.filter(undated))
        self._keep(self.rejected.dated, refused.filter(pc.invert(undated)))

    def count_undated(self, reasons: Mapping[str, int]) -> None:
        """Count undated rows that were not read, as other slices have them."""
        self.rejected.undated.reasons.update(reasons)

    def add_changed(self, events: pa.Table, source: Source) -> None:
        """Set aside events that say something else than one of their id, with their positions."""
        counted = self.rejected.dated
        for start in range(0, len(events), 1_000):
            part = events.slice(start, 1_000)
            if _is_full(counted):
                counted.reasons[reason(source)] += len(part)
            else:
                self.add(as_read(part, source))

    def add_unread(self, unread: Unread) -> None:
        """Set records aside of which nothing is known, not even when they arrived."""
        counted = self.rejected.undated
        counted.reasons.update(unread.reasons)
        numbers = unread.numbers.to_pylist() if unread.numbers is not None else []
        for number, record, why in zip(numbers, unread.records, unread.reasons, strict=True):
            if not self._store(counted, number, why, {UNPARSED: self._shown(record)}):
                break

    def _keep(self, counted: Counted, refused: Refused) -> None:
        for told in pc.value_counts(refused.reasons).to_pylist():
            counted.reasons[told["values"]] += told["counts"]
        rows, start = refused.rows, 0
        for batch in rows.table.to_batches(max_chunksize=1_000):
            if _is_full(counted):
                break
            numbers = rows.numbers.slice(start, len(batch)).to_pylist()
            reasons = refused.reasons.slice(start, len(batch)).to_pylist()
            start += len(batch)
            for number, why, row in zip(numbers, reasons, batch.to_pylist(), strict=True):
                if not self._store(counted, number, why, self._storable(row)):
                    break

    def _store(self, counted: Counted, number: int, why: str, row: dict[str, Any]) -> bool:
        """Keep a row, unless enough are kept; returns whether it is."""
        if _is_full(counted):
            return False
        text = json.dumps(row, sort_keys=True)
        counted.rows.append(SetAside(number, why, text))
        counted.size += len(text)
        return True

    def _storable(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            _clean(name): "(masked)" if name in self.masked else _clean(value)
            for name, value in row.items()
        }

    def _shown(self, record: str) -> Any:
        if not self.masked:
            return _clean(record)
        # Where the masked columns stand in such a record is unknown.
        digest = hashlib.sha256(_clean(record).encode()).hexdigest()[:12]
        return f"(masked; {len(record)} characters, sha256 {digest})"


def _is_full(counted: Counted) -> bool:
    return len(counted.rows) >= KEPT or counted.size >= KEPT_BYTES


def _clean(value: Any) -> Any:
    """The value as Postgres can store it: no NUL, no half characters, not too long."""
    if value is None or isinstance(value, (bool, int)):
        return value
    text = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(value))
    if len(text) > _LONGEST_VALUE:
        return f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return text
