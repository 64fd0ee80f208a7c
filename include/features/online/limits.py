"""What Postgres cannot keep is refused before anything is written, and said whose row it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeGuard

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import QualityError

#: An index row holds 2,704 bytes; the tenant, the group and the instant take less than the rest.
MOST_BYTES: Final = 2_400
#: How much longer a character becomes in JSON, at most.
_ESCAPED: Final = 6


def may_be_kept(text: str | None) -> TypeGuard[str]:
    """Whether Postgres can hold a text; it knows nothing of one that it cannot."""
    return text is not None and "\0" not in text


def check_texts(rows: pa.Table, kind: str, names: Sequence[str]) -> None:
    """Refuse the character NUL, which no text in Postgres can hold.

    Args:
        kind: what a row is, an event or a fact; it has a `source` and an `event_id`.

    Raises:
        QualityError: naming the first such row and column.
    """
    for name in names:
        broken = pc.match_substring(rows[name], "\0")
        if pc.any(broken).as_py():
            raise QualityError(
                f"{_first(rows, broken, kind)} has the character NUL in {name!r}, which Postgres "
                "cannot keep; take it out where the row comes from, and send the row again"
            )


def check_keys(rows: pa.Table, kind: str, names: Sequence[str]) -> None:
    """Refuse rows whose ids, together and written as JSON, are too long for an index.

    Raises:
        QualityError: naming the first such row.
    """
    longest = sum(pc.max(pc.binary_length(rows[name])).as_py() or 0 for name in names)
    if longest * _ESCAPED <= MOST_BYTES:
        return
    size = pa.repeat(pa.scalar(0, pa.int64()), len(rows))
    for name in names:
        escaped = pc.count_substring_regex(rows[name], r'["\\]')
        control = pc.count_substring_regex(rows[name], r"[\x00-\x1f]")
        for part, times in ((pc.binary_length(rows[name]), 1), (escaped, 1), (control, 5)):
            bytes_of = pc.multiply(pc.fill_null(part, 0).cast(pa.int64()), times)
            size = pc.add(size, bytes_of)
    too_long = pc.greater(size, MOST_BYTES)
    if pc.any(too_long).as_py():
        raise QualityError(
            f"{_first(rows, too_long, kind)} has ids of {pc.max(size).as_py():,} bytes together "
            f"({', '.join(names)}), and the online store's keys hold {MOST_BYTES:,}; shorten "
            "them where the row comes from, and send the row again"
        )


def _first(rows: pa.Table, broken: pa.ChunkedArray, kind: str) -> str:
    row = rows.slice(pc.index(broken, True).as_py(), 1)
    event_id = str(row["event_id"][0].as_py())
    shown = event_id if len(event_id) <= 60 else f"{event_id[:60]}…"
    return f"{kind} {shown!r} of source {str(row['source'][0].as_py())[:60]!r}"
