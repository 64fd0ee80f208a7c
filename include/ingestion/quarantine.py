"""The quarantine of one slice: bad rows with their reasons, as they may be stored."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.corrections import as_read, reason
from include.ingestion.mapping import ROW
from include.ingestion.slices import Counted, Rejected, SetAside
from include.ingestion.text_files import UNPARSED
from include.tenants.config import Source

#: Rows that are kept per slice; beyond, they are only counted.
KEPT: Final = 10_000
#: And how much text they may hold, so that neither memory nor Postgres fills up with rubbish.
KEPT_BYTES: Final = 32_000_000
_LONGEST_VALUE: Final = 1_000


@dataclass
class Quarantine:
    """Collects the rejected rows of one slice."""

    masked: frozenset[str]  #: PII columns
    rejected: Rejected = field(default_factory=Rejected)

    def add(self, rows: pa.Table) -> None:
        """Set aside rows that carry `ROW`, `reason` and, unless unparsed, `created_timestamp`."""
        if "created_timestamp" not in rows.column_names:
            self._keep(self.rejected.undated, rows)
            return
        without_instant = pc.is_null(rows["created_timestamp"])
        rows = rows.drop_columns(["created_timestamp"])
        self._keep(self.rejected.undated, rows.filter(without_instant))
        self._keep(self.rejected.dated, rows.filter(pc.invert(without_instant)))

    def add_changed(self, events: pa.Table, source: Source) -> None:
        """Set aside events that say something else than one of their id, with their positions."""
        for start in range(0, len(events), 1_000):
            part = events.slice(start, 1_000)
            if len(self.rejected.dated.rows) < KEPT:
                self.add(as_read(part, source))
            else:
                self.rejected.dated.reasons[reason(source)] += len(part)

    def _keep(self, where: Counted, rows: pa.Table) -> None:
        for counted in pc.value_counts(rows["reason"]).to_pylist():
            where.reasons[counted["values"]] += counted["counts"]
        for batch in rows.to_batches(max_chunksize=1_000):
            if len(where.rows) >= KEPT or where.size >= KEPT_BYTES:
                break
            for row in batch.to_pylist()[: KEPT - len(where.rows)]:
                number, reason = row.pop(ROW), row.pop("reason")
                text = json.dumps(self._storable(row), sort_keys=True)
                where.rows.append(SetAside(number, reason, text))
                where.size += len(text)

    def _storable(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.masked and UNPARSED in row:
            # Where the masked columns stand in such a line is unknown.
            digest = hashlib.sha256(_clean(row[UNPARSED]).encode()).hexdigest()[:12]
            return {UNPARSED: f"(masked; {len(row[UNPARSED])} characters, sha256 {digest})"}
        return {
            _clean(name): "(masked)" if name in self.masked else _clean(value)
            for name, value in row.items()
        }


def _clean(value: Any) -> Any:
    """The value as Postgres can store it: no NUL, no half characters, not too long."""
    if value is None or isinstance(value, (bool, int)):
        return value
    text = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(value))
    if len(text) > _LONGEST_VALUE:
        return f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return text
