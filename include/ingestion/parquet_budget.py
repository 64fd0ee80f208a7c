"""What decoding a Parquet file may cost: judged from its metadata first, then batch by batch.

A small file can decode to any size: a dictionary of one long text and a run of a billion references
to it take a few bytes, and no size in the metadata tells. So four things are looked at: counts that
the metadata names; the headers of the pages, which say what is unpacked at once; the dictionaries
themselves, whose longest text bounds how many rows are decoded at once; and the bytes that have
come out, which end the file where they pass its budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import SourceError
from include.ingestion.grants import SourceLimits
from include.ingestion.parquet_pages import Pages, PagesOf

BATCH_ROWS: Final = 65_536
BUFFER_BYTES: Final = 1 << 20  #: of each column, held while reading
_FREE: Final = 1 << 30  #: bytes that any file may decode to
#: Bytes that a value takes at least and at most.
_WIDTHS: Final = {
    "BOOLEAN": (0, 1),
    "INT32": (1, 4),
    "INT64": (1, 8),
    "INT96": (8, 8),
    "FLOAT": (4, 4),
    "DOUBLE": (8, 8),
}
#: A value of such a page repeats the beginning of the one before: it may be as long as the page.
_PREFIXED: Final = "DELTA_BYTE_ARRAY"
_LISTED: Final = 12  #: bytes that a value in a list takes beside its own


@dataclass(frozen=True)
class TextLengths:
    """The lengths, in bytes, of what a dictionary holds."""

    shortest: int
    longest: int


#: What each dictionary holds, by row group and leaf.
TextsOf = dict[tuple[int, int], TextLengths]


@dataclass
class Decoded:
    """What has come out of a file so far."""

    limits: SourceLimits
    stored: int  #: bytes of the file
    total: int = 0
    rows: int = 0

    @property
    def most(self) -> int:
        """Bytes that the file may decode to."""
        return min(self.limits.decoded_bytes, max(_FREE, self.stored * self.limits.expansion))

    def add(self, batch: pa.RecordBatch) -> None:
        """Raises SourceError where the file has used up what it may."""
        self.total += batch.nbytes
        self.rows += batch.num_rows
        self.require(self.total, "decodes to")
        if self.rows > self.limits.rows:
            raise SourceError(f"holds more rows than `rows` allows ({self.limits.rows:,})")

    def require(self, size: int, what: str) -> None:
        """Raises SourceError where a size is more than the file may decode to."""
        if size > self.most:
            raise SourceError(
                f"{what} {size:,} bytes or more from {self.stored:,}; `decoded_bytes` and "
                f"`expansion` in TENANTRY_SOURCES allow {self.most:,}"
            )


def check_metadata(metadata: Any, budget: Decoded) -> None:
    """Raises SourceError where the file's own figures are beyond its budget, or impossible."""
    limits = budget.limits
    for what, found, most in (
        ("columns", metadata.num_columns, limits.columns),
        ("row_groups", metadata.num_row_groups, limits.row_groups),
        ("rows", metadata.num_rows, limits.rows),
    ):
        if not 0 <= found <= most:
            raise SourceError(f"has {found:,} {what.replace('_', ' ')}; `{what}` allows {most:,}")


def rows_at_once(
    metadata: Any,
    groups: Sequence[int],
    leaves: Sequence[int],
    pages: PagesOf,
    texts: TextsOf,
    budget: Decoded,
) -> int:
    """How many rows may be decoded at once, so that `batch_bytes` are not passed.

    Args:
        leaves: numbers of the columns that are read, as Parquet counts them.
        pages: what the pages say of a row group and leaf.
        texts: what the dictionary of a row group and leaf holds, where it has one.

    Raises:
        SourceError: what is read is certain to decode to more than the file may.
    """
    certain = widest = 0
    for group in groups:
        row_group = metadata.row_group(group)
        rows, width = max(1, row_group.num_rows), 0
        for leaf in leaves:
            column, kind = row_group.column(leaf), metadata.schema.column(leaf)
            values, there = column.num_values, pages[group, leaf]
            if not 0 <= values <= budget.limits.rows or row_group.num_rows < 0:
                raise SourceError("its metadata names an impossible number of values or bytes")
            least, most = _bytes_of_a_value(column, kind, there, texts.get((group, leaf)))
            if kind.max_repetition_level and values * (least + _LISTED) > _FREE:
                raise SourceError(
                    f"a row group's lists hold {values:,} values, all of which could be one "
                    "row's; write smaller row groups"
                )
            certain += max(there.size, values * least)
            width += most * max(1, -(-values // rows))
        widest = max(widest, width)
    budget.require(certain, "decodes to")
    return max(1, min(BATCH_ROWS, budget.limits.batch_bytes // max(1, widest)))


def dictionaries(
    stream: BinaryIO, metadata: Any, groups: Sequence[int], leaves: Sequence[int]
) -> TextsOf:
    """The lengths of the texts in each dictionary; of those that cannot be read, nothing."""
    names = {
        leaf: metadata.schema.column(leaf).path
        for leaf in leaves
        if metadata.schema.column(leaf).physical_type == "BYTE_ARRAY"
        and metadata.schema.column(leaf).max_repetition_level == 0
        and "." not in metadata.schema.column(leaf).path
    }
    found: dict[tuple[int, int], TextLengths] = {}
    if not names:
        return found
    with pq.ParquetFile(
        stream,
        metadata=metadata,
        read_dictionary=list(names.values()),
        buffer_size=BUFFER_BYTES,
        pre_buffer=False,
    ) as file:
        for group in groups:
            there = {
                leaf: name
                for leaf, name in names.items()
                if metadata.row_group(group).column(leaf).has_dictionary_page
            }
            if there:
                first = next(file.iter_batches(1, row_groups=[group], columns=[*there.values()]))
                for leaf, name in there.items():
                    found[group, leaf] = _lengths(first[name])
    return found


def _lengths(column: pa.Array) -> TextLengths:
    dictionary = column.dictionary if pa.types.is_dictionary(column.type) else column
    lengths = pc.min_max(pc.binary_length(dictionary.cast(pa.large_binary())))
    return TextLengths(lengths["min"].as_py() or 0, lengths["max"].as_py() or 0)


def _bytes_of_a_value(
    column: Any, kind: Any, pages: Pages, texts: TextLengths | None
) -> tuple[int, int]:
    """How many bytes a value takes for certain, and how many it may take, decoded."""
    if kind.physical_type == "FIXED_LEN_BYTE_ARRAY":
        width = max(1, kind.length)
        return (width, width) if _no_nulls(column) else (0, width)
    if kind.physical_type in _WIDTHS:
        return _WIDTHS[kind.physical_type]
    if _PREFIXED in column.encodings:
        return 0, pages.largest
    if texts is not None:
        certain = texts.shortest if _no_nulls(column) and _only_dictionary(column) else 0
        return certain, max(texts.longest, pages.densest) + 4
    if column.has_dictionary_page:  # nested: nobody has looked
        return 0, pages.largest
    return 0, pages.densest + 4


def _no_nulls(column: Any) -> bool:
    statistics = column.statistics
    return statistics is not None and statistics.has_null_count and statistics.null_count == 0


def _only_dictionary(column: Any) -> bool:
    """Whether no page can hold the texts themselves: `PLAIN` also names a dictionary's own."""
    return bool(column.total_uncompressed_size < 2 * column.num_values)


def leaves_of(metadata: Any, columns: Sequence[str]) -> list[int]:
    """Numbers of the leaves that belong to top-level columns."""
    wanted = set(columns)
    paths = (metadata.schema.column(leaf).path for leaf in range(metadata.num_columns))
    return [
        leaf for leaf, path in enumerate(paths) if path in wanted or path.split(".")[0] in wanted
    ]


def joined_batches(batches: Iterator[pa.RecordBatch], budget: Decoded) -> Iterator[pa.RecordBatch]:
    """The batches, small ones put together, counted against the budget."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        budget.add(batch)
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= BATCH_ROWS or size >= budget.limits.batch_bytes // 2:
            joined = _one(waiting)
            waiting, rows, size = [], 0, 0
            yield joined
    if waiting:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
