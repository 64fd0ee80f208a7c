"""Rows set aside: with the reason, the row, and nothing that is nobody's business."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import Interval
from include.ingestion.mapping import ROW
from include.ingestion.text_files import UNPARSED
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

#: Rows that are kept per slice; beyond, they are only counted.
KEPT: Final = 10_000
#: And how much text they may hold, so that neither memory nor Postgres fills up with rubbish.
KEPT_BYTES: Final = 32_000_000
#: Row number of the line that says what was counted only.
NOT_KEPT: Final = -1
_LONGEST_VALUE: Final = 1_000
_STAGE: Final = "ingestion"
_OWN: Final = "tenant_id = %s AND source = %s AND interval_start = %s AND interval_end = %s"


@dataclass
class Kept:
    """Rows set aside, the first of them in full, all of them counted."""

    rows: list[tuple[int, str, str]] = field(default_factory=list)  #: row number, reason, JSON
    reasons: Counter[str] = field(default_factory=Counter)
    room: int = KEPT_BYTES

    @property
    def count(self) -> int:
        """All of them."""
        return self.reasons.total()


@dataclass
class Quarantine:
    """The bad rows of one slice.

    A row without a usable instant of arrival is undated: it belongs to no interval, and turns up
    whenever its source is read. It is set aside and counted with the first interval that met it.
    """

    masked: frozenset[str]  #: PII columns
    dated: Kept = field(default_factory=Kept)
    undated: Kept = field(default_factory=Kept)

    def add(self, rejected: pa.Table) -> None:
        """Set aside rows that carry `ROW`, `reason` and, unless unparsed, `created_timestamp`."""
        if "created_timestamp" not in rejected.column_names:
            self._keep(self.undated, rejected)
            return
        nobody_knows = pc.is_null(rejected["created_timestamp"])
        rows = rejected.drop_columns(["created_timestamp"])
        self._keep(self.undated, rows.filter(nobody_knows))
        self._keep(self.dated, rows.filter(pc.invert(nobody_knows)))

    def store(
        self, connection: Connection, tenant: TenantRef, source: str, interval: Interval
    ) -> tuple[int, int]:
        """Make these the slice's quarantined rows; once more with the same rows changes nothing.

        Returns:
            how many rows the slice has set aside, kept or not, and how many of them are undated.
        """
        own = [tenant.id, source, interval.start, interval.end]
        connection.execute(
            f"DELETE FROM quarantine WHERE stage = '{_STAGE}' AND {_OWN}",  # noqa: S608
            own,
        )
        elsewhere = connection.execute(
            "SELECT coalesce(sum(undated), 0)::bigint AS count FROM slices "  # noqa: S608
            f"WHERE tenant_id = %s AND source = %s AND NOT ({_OWN})",
            [tenant.id, source, *own],
        ).fetchone()
        assert elsewhere is not None  # an aggregate without GROUP BY always has one row
        undated = max(0, self.undated.count - elsewhere["count"])
        kept = list(self.dated.rows)
        if undated:
            known = _known_digests(connection, tenant, source) if elsewhere["count"] else set()
            kept += [row for row in self.undated.rows if _digest(row) not in known][:undated]
        count = self.dated.count + undated
        if more := count - len(kept):
            reasons = dict(sorted((self.dated.reasons + self.undated.reasons).items()))
            summary = json.dumps({"not_kept": more, "reasons": reasons}, sort_keys=True)
            kept.append((NOT_KEPT, f"{more} more rows were set aside and only counted", summary))
        for start in range(0, len(kept), 1_000):
            _insert(connection, tenant, source, interval, kept[start : start + 1_000])
        return count, undated

    def _keep(self, where: Kept, rejected: pa.Table) -> None:
        for found in pc.value_counts(rejected["reason"]).to_pylist():
            where.reasons[found["values"]] += found["counts"]
        for batch in rejected.to_batches(max_chunksize=1_000):
            if len(where.rows) >= KEPT or where.room <= 0:
                break
            for row in batch.to_pylist()[: KEPT - len(where.rows)]:
                number, reason = row.pop(ROW), row.pop("reason")
                text = json.dumps(self._storable(row), sort_keys=True)
                where.rows.append((number, reason, text))
                where.room -= len(text)

    def _storable(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.masked and UNPARSED in row:
            # Nobody knows where in such a line the masked columns stand.
            digest = hashlib.sha256(_clean(row[UNPARSED]).encode()).hexdigest()[:12]
            return {UNPARSED: f"(masked; {len(row[UNPARSED])} characters, sha256 {digest})"}
        return {
            _clean(name): "(masked)" if name in self.masked else _clean(value)
            for name, value in row.items()
        }


def _known_digests(connection: Connection, tenant: TenantRef, source: str) -> set[str]:
    found = connection.execute(
        "SELECT row FROM quarantine WHERE tenant_id = %s AND stage = %s AND source = %s "
        "AND row_number <> %s",
        [tenant.id, _STAGE, source, NOT_KEPT],
    )
    return {_digest((0, "", json.dumps(row["row"], sort_keys=True))) for row in found}


def _digest(row: tuple[int, str, str]) -> str:
    return hashlib.sha256(row[2].encode()).hexdigest()


def _insert(
    connection: Connection,
    tenant: TenantRef,
    source: str,
    interval: Interval,
    chunk: Sequence[tuple[int, str, str]],
) -> None:
    numbers, reasons, rows = (list(part) for part in zip(*chunk, strict=True))
    connection.execute(
        "INSERT INTO quarantine (tenant_id, stage, source, interval_start, interval_end, "
        "row_number, reason, row) "
        "SELECT %s, %s, %s, %s, %s, number, reason, row "
        "FROM unnest(%s::bigint[], %s::text[], %s::jsonb[]) AS line (number, reason, row)",
        [tenant.id, _STAGE, source, interval.start, interval.end, numbers, reasons, rows],
    )


def _clean(value: Any) -> Any:
    """The value as Postgres can store it: no NUL, no half characters, not too long."""
    if value is None or isinstance(value, (bool, int)):
        return value
    text = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(value))
    if len(text) > _LONGEST_VALUE:
        return f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return text
