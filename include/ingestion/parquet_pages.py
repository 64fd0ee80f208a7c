"""The pages of a Parquet file, by their own headers: how large they are before they are unpacked.

A file's footer says what its pages hold, and nothing keeps it from lying: the header of each page
is what a decoder believes, up to 2 GB. So the headers are read first, and nothing else of the page.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from include.errors import SourceError
from include.ingestion.grants import SourceLimits

_DATA: Final = (0, 3)  #: `PageType`, of both versions
_LEAST_READ: Final = 512  #: of a header; one with statistics of long texts takes more
_MOST_READ: Final = 16 << 20  #: as Arrow does
_MOST_PAGES: Final = 4 << 20
_DEEPEST: Final = 8
#: Types of Thrift's compact protocol.
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 7, 8, 12
_LISTS: Final = (9, 10)  #: a list, a set
_SHORT_FOOTER: Final = 2 << 20  #: bytes that cannot hold too much
_LONGEST_FOOTER: Final = 64 << 20
#: Parts of a footer; a decoder takes some 700 bytes for one that has three in the file.
_MOST_PARTS: Final = 1_500_000


@dataclass
class Pages:
    """What the pages of one column of a row group say about themselves."""

    size: int = 0  #: bytes of all, decompressed
    largest: int = 0  #: bytes of one
    densest: int = 0  #: bytes of a value in the page where these are the longest
    values: int = 0


#: The pages of each column, by row group and leaf.
PagesOf = dict[tuple[int, int], Pages]


def check_footer(stream: BinaryIO) -> None:
    """Raises SourceError where the footer alone would fill the memory."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 8))
    length = int.from_bytes(stream.read(8)[:4], "little")
    if not _SHORT_FOOTER < length <= size:
        return  # whoever parses it says what is wrong
    if length > _LONGEST_FOOTER:
        raise SourceError(f"has a footer of {length:,} bytes; at most {_LONGEST_FOOTER:,} are read")
    stream.seek(size - 8 - length)
    try:
        _Compact(stream.read(length)).struct()
    except IndexError:
        raise SourceError("its footer is cut off") from None


def pages_of(
    stream: BinaryIO,
    metadata: Any,
    groups: Sequence[int],
    leaves: Sequence[int],
    limits: SourceLimits,
) -> PagesOf:
    """What the pages say that reading would unpack.

    Raises:
        SourceError: a page is larger than what may be decoded at once, or its header is none.
    """
    found: PagesOf = {}
    count = 0
    for group in groups:
        row_group = metadata.row_group(group)
        for leaf in leaves:
            column = row_group.column(leaf)
            pages = found[group, leaf] = Pages()
            at = column.data_page_offset
            if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < at:
                at = column.dictionary_page_offset
            end = at + column.total_compressed_size
            # As decoders do: until the values that the footer names are there.
            while at < end and pages.values < column.num_values:
                count += 1
                if count > _MOST_PAGES:
                    raise SourceError(f"has more than {_MOST_PAGES:,} pages")
                at = _read_page(stream, at, pages, limits)
    return found


def _read_page(stream: BinaryIO, at: int, pages: Pages, limits: SourceLimits) -> int:
    """Take account of the page at a position. Returns: where the next one begins."""
    header, length = _header(stream, at)
    kind, size, stored = (_number(header, number) for number in (1, 2, 3))
    if max(size, stored) > limits.batch_bytes:
        raise SourceError(
            f"a page holds {max(size, stored):,} bytes; `batch_bytes` allows "
            f"{limits.batch_bytes:,} (write pages of a megabyte, as is usual)"
        )
    pages.size += size
    pages.largest = max(pages.largest, size)
    if kind in _DATA:
        values = _number(header.get(5 if kind == _DATA[0] else 8), 1)
        pages.values += values
        pages.densest = max(pages.densest, -(-size // max(1, values)))
    return at + length + stored


def _number(header: Any, number: int) -> int:
    """A field that every header has."""
    found = header.get(number) if isinstance(header, dict) else None
    if not isinstance(found, int) or found < 0:
        raise SourceError("a page's header says nothing about its size or values")
    return found


def _header(stream: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """The fields of the page header at a position, and its length."""
    length = _LEAST_READ
    while True:
        stream.seek(at)
        content = stream.read(length)
        try:
            reader = _Compact(content)
            return reader.struct(), reader.at
        except IndexError:  # cut off
            if len(content) < length or length >= _MOST_READ:
                raise SourceError("a page's header is cut off or too long") from None
            length = min(_MOST_READ, length * 16)


class _Compact:
    """Thrift's compact protocol, as far as Parquet goes; texts and lists are skipped.

    Raises IndexError where the bytes end too early.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0
        self._parts = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by their numbers."""
        if depth > _DEEPEST:
            raise SourceError("its metadata is nested too deeply")
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise SourceError(
                f"its footer has more than {_MOST_PARTS:,} parts; write larger groups"
            )
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 0x0F != _STOP:
            number = number + (head >> 4) if head >> 4 else self._integer()
            found[number] = self._value(head & 0x0F, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _BYTE:
            return self._skip(1)
        if kind < _DOUBLE:
            return self._integer()
        if kind == _DOUBLE:
            return self._skip(8)
        if kind == _BINARY:
            return self._skip(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            return self._list(depth)
        raise SourceError("its metadata holds what none has")

    def _list(self, depth: int) -> None:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._unsigned()
        kind = head & 0x0F
        for _ in range(size):
            if kind in (_TRUE, _FALSE):
                self._skip(1)
            else:
                self._value(kind, depth)

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._content):
            raise IndexError

    def _unsigned(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 0x80:
            found |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise SourceError("a page's header holds an impossible number")
        return found | byte << shift

    def _integer(self) -> int:
        found = self._unsigned()
        return (found >> 1) ^ -(found & 1)
