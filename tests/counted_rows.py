"""Every row that ingestion read is in, set aside or outside: held against what it wrote."""

from __future__ import annotations

from typing import Any

import pytest

from include.ingestion import stage
from include.ingestion.slices import Slice
from include.tenants.config import Source


def require_counted(source: Source, recorded: Slice) -> None:
    """The rows read are those taken in, set aside and outside, and what is taken in was written."""
    counts = (
        *(recorded.read, recorded.quarantined, recorded.outside, recorded.taken),
        *(recorded.rows, recorded.duplicates, recorded.late, recorded.undated),
    )
    assert min(counts) >= 0, recorded
    assert recorded.read == recorded.taken + recorded.quarantined + recorded.outside, recorded
    per_row = len(source.attributes.names) if source.attributes else 1
    written = recorded.rows + recorded.duplicates
    if source.connector.cursor_column:  # rows that have moved out of the slice since stay in it
        assert written >= recorded.taken * per_row, recorded
    else:
        assert written == recorded.taken * per_row, recorded


def count_every_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every slice that is ingested from now on be held against `require_counted`."""
    ingest_slice = stage._ingest_slice

    def counted(reading: Any, source: Source, interval: Any) -> Slice:
        recorded = ingest_slice(reading, source, interval)
        require_counted(source, recorded)
        return recorded

    monkeypatch.setattr(stage, "_ingest_slice", counted)
