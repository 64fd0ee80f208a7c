"""Text files read as sources read them, without an installation around them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

from include.ingestion import text_files
from include.ingestion.lines import blocks
from include.ingestion.rows import Unread
from include.ingestion.text_files import read_csv
from include.ingestion.wanted import Presence, Wanted
from include.tenants.connectors import FileConnector

Row = tuple[str | None, ...]


def read_rows(
    content: bytes, columns: Sequence[str], *, block_bytes: int = 4 << 20, **keys: Any
) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows of a CSV file, and the lines set aside with their reasons.

    Args:
        keys: of the connector.
    """
    connector = FileConnector(type="file", path="x.csv", format="csv", **keys)
    presence = Presence(Wanted(tuple(columns)))
    rows: list[Row] = []
    aside: list[tuple[str, str]] = []
    with patch.object(text_files, "blocks", partial(blocks, block_bytes=block_bytes)):
        for part in read_csv(io.BytesIO(content), "x.csv", presence, connector, 1_000):
            if isinstance(part, Unread):
                aside += zip(part.records, part.reasons, strict=True)
            else:
                values = [part[name].to_pylist() for name in columns]
                rows += zip(*values, strict=True)
    return rows, aside
