"""Rows set aside: with the reason, the row, and nothing that is nobody's business."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import Interval
from include.ingestion.mapping import ROW
from include.ingestion.text_files import UNPARSED
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef

#: Rows that are kept per slice; beyond, they are only counted.
KEPT: Final = 10_000
#: And how much text they may hold, so that neither memory nor Postgres fills up with rubbish.
KEPT_BYTES: Final = 32_000_000
#: Row number of the line that says what was counted only.
NOT_KEPT: Final = -1
_LONGEST_VALUE: Final = 1_000
_STAGE: Final = "ingestion"


@dataclass
class Quarantine:
    """The bad rows of one slice."""

    masked: frozenset[str]  #: PII columns
    rows: list[tuple[int, str, str]] = field(default_factory=list)  #: row number, reason, JSON
    reasons: Counter[str] = field(default_factory=Counter)
    _room: int = KEPT_BYTES

    @property
    def count(self) -> int:
        """All of them, kept or not."""
        return self.reasons.total()

    def add(self, rejected: pa.Table) -> None:
        """Set aside rows that carry `ROW` and `reason`."""
        for found in pc.value_counts(rejected["reason"]).to_pylist():
            self.reasons[found["values"]] += found["counts"]
        for batch in rejected.to_batches(max_chunksize=1_000):
            if len(self.rows) >= KEPT or self._room <= 0:
                break
            for row in batch.to_pylist()[: KEPT - len(self.rows)]:
                number, reason = row.pop(ROW), row.pop("reason")
                row.pop("created_timestamp", None)
                text = json.dumps(self._storable(row), sort_keys=True)
                self.rows.append((number, reason, text))
                self._room -= len(text)

    def store(self, tenant: TenantRef, source: str, interval: Interval) -> int:
        """Make these the slice's quarantined rows; once more with the same rows changes nothing.

        A row without a usable instant belongs to no interval and turns up in every run: it stays
        with the first interval that met it.

        Returns:
            how many rows the slice has set aside, without those that stay with an earlier one.
        """
        with tenant_transaction(tenant) as connection:
            connection.execute(
                "DELETE FROM quarantine WHERE tenant_id = %s AND stage = %s AND source = %s "
                "AND interval_start = %s AND interval_end = %s",
                [tenant.id, _STAGE, source, interval.start, interval.end],
            )
            stored = sum(
                _insert(connection, tenant, source, interval, chunk)
                for chunk in _chunks(self.rows, 1_000)
            )
            if more := self.count - len(self.rows):
                summary = {"not_kept": more, "reasons": dict(sorted(self.reasons.items()))}
                reason = f"{more} more rows were set aside and only counted"
                line = (NOT_KEPT, reason, json.dumps(summary, sort_keys=True))
                _insert(connection, tenant, source, interval, [line])
        return self.count - len(self.rows) + stored

    def _storable(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.masked and UNPARSED in row:
            # Nobody knows where in such a line the masked columns stand.
            digest = hashlib.sha256(_clean(row[UNPARSED]).encode()).hexdigest()[:12]
            return {UNPARSED: f"(masked; {len(row[UNPARSED])} characters, sha256 {digest})"}
        return {
            _clean(name): "(masked)" if name in self.masked else _clean(value)
            for name, value in row.items()
        }


def _insert(
    connection: Connection,
    tenant: TenantRef,
    source: str,
    interval: Interval,
    chunk: Sequence[tuple[int, str, str]],
) -> int:
    numbers, reasons, rows = (list(part) for part in zip(*chunk, strict=True))
    done = connection.execute(
        "INSERT INTO quarantine (tenant_id, stage, source, interval_start, interval_end, "
        "row_number, reason, row) "
        "SELECT %(tenant)s, %(stage)s, %(source)s, %(start)s, %(end)s, number, reason, row "
        "FROM unnest(%(numbers)s::bigint[], %(reasons)s::text[], %(rows)s::jsonb[]) "
        "AS line (number, reason, row) "
        "WHERE NOT EXISTS (SELECT FROM quarantine AS q WHERE q.tenant_id = %(tenant)s "
        "AND q.stage = %(stage)s AND q.source = %(source)s AND q.interval_end <= %(start)s "
        "AND q.row = line.row)",
        {
            "tenant": tenant.id,
            "stage": _STAGE,
            "source": source,
            "start": interval.start,
            "end": interval.end,
            "numbers": numbers,
            "reasons": reasons,
            "rows": rows,
        },
    )
    return done.rowcount


def _clean(value: Any) -> Any:
    """The value as Postgres can store it: no NUL, no half characters, not too long."""
    if value is None or isinstance(value, (bool, int)):
        return value
    text = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(value))
    if len(text) > _LONGEST_VALUE:
        return f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return text


def _chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
