"""Text in any encoding → UTF-8, piece by piece; what does not decode there does not decode after.

So that a line is told to be no text where lines are known, not where bytes are read.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from include.ingestion.lines import Readable

_HEAD_BYTES: Final = 1 << 16
_UNDECODABLE: Final = "tenantry.undecodable"
#: The longer ones first: one begins with another.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Half a character where something does not decode: it is none in UTF-8 either."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ud800", error.end


codecs.register_error(_UNDECODABLE, _mark)


@dataclass(frozen=True)
class Text:
    """A file of text."""

    encoding: str  #: what the file is written in
    head: bytes  #: what it begins with, as it is written
    content: Readable  #: as UTF-8, without a byte order mark


class Joined:
    """Bytes that were read before, and those that follow."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """At most so many of the next bytes."""
        if self._head:
            given, self._head = self._head[:size], self._head[size:]
            return given
        return self._rest.read(size)


def opened_text(file: Readable, encoding: str) -> Text:
    """The text of a file; a byte order mark says its encoding, whatever is told."""
    head = b""
    while len(head) < _HEAD_BYTES and (more := file.read(_HEAD_BYTES - len(head))):
        head += more
    written, content = encoding, Joined(head, file)
    for mark, marked in _MARKS:
        if head.startswith(mark):
            written, content = marked, Joined(head[len(mark) :], file)
            break
    if codecs.lookup(written).name in ("utf-8", "utf-8-sig"):
        return Text("utf-8", head, content)
    return Text(written, head, _Decoded(content, written))


class _Decoded:
    """Text as UTF-8."""

    def __init__(self, file: Readable, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(_UNDECODABLE)

    def read(self, size: int, /) -> bytes:
        """The text of at most so many of the next bytes."""
        while True:
            content = self._file.read(size)
            text = self._decoder.decode(content, not content)
            if text or not content:
                return text.encode("utf-8", "surrogatepass")
