"""Text files in blocks of whole records; a line that would spoil its neighbours is taken out.

A block whose quotes are all in their places goes through as a whole, found by one regular
expression. Only in a block that holds something odd are records looked at one by one: where a line
begins no record, that line alone is taken out, and the next one begins a record again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

_BLOCK_BYTES: Final = 4 << 20
#: A longer record is no record: nothing else bounds what a file without line ends costs.
LONGEST_RECORD: Final = 1 << 20
#: How many lines one value may span: 50; a quote that stays open longer is a stray one.
_MORE_LINES: Final = rb"{0,49}+"
_SHOWN: Final = 2_000  #: characters of a bad line that are kept

TOO_LONG: Final = f"the line is over {LONGEST_RECORD:,} bytes"
UNPARSABLE: Final = "the line cannot be parsed"
OPEN_QUOTE: Final = f"{UNPARSABLE}: a quote is not closed"
AFTER_QUOTE: Final = (
    f"{UNPARSABLE}: text follows a closing quote; `escape` says what stands before a quote that "
    "is part of a value, where it is not another quote"
)

_END: Final = rb"(?:\r\n?|\n)"
_LINE: Final = re.compile(rb"[^\r\n]*+" + _END)


def undecodable(encoding: str) -> str:
    """The reason for which a line that does not decode is set aside."""
    return f"the line is not {encoding.upper()}; `encoding` says what a file is written in"


class Readable(Protocol):
    """What gives bytes, piece by piece; none at its end."""

    def read(self, size: int, /) -> bytes:
        """At most so many of the next bytes."""


#: How many bytes at its end a block leaves to the next, where nobody asks for its records; else
#: None, and it is taken apart.
Passed = Callable[[bytes], int | None]


@dataclass(frozen=True)
class Lines:
    """Files in which every line is a record."""

    encoding: str = "utf-8"  #: of the file, before its text was turned into UTF-8

    @property
    def record(self) -> re.Pattern[bytes]:
        """A record with its line end."""
        return _LINE

    def whole(self, content: bytes) -> int:
        """A position up to which content is whole records, found without a look at each."""
        return len(content)

    def bad(self, content: bytes, start: int) -> tuple[str, bool]:
        """Why no record begins at a position, and whether more content could make it one."""
        raise NotImplementedError  # every line is one


@dataclass(frozen=True)
class Dialect(Lines):
    """Files of fields between separators, in quotes where they hold one, as CSV."""

    separator: str = ","
    escape: str | None = None  #: stands before a character that means nothing
    spaced: bool = False  #: whether blanks behind a separator belong to it

    @property
    def _blanks(self) -> bytes:
        return rb" *+" if self.spaced else b""

    @property
    def _escape(self) -> bytes:
        return re.escape((self.escape or "").encode())

    @property
    def _ending(self) -> bytes:
        """What ends a field without quotes, as the inside of a set of characters."""
        return re.escape(self.separator.encode()) + rb"\r\n"

    @property
    def _opened(self) -> bytes:
        """A quote and what is within, up to the quote that closes it."""
        escaped = rb"|" + self._escape + rb"[^\r\n]" if self.escape else b""
        text = rb'(?:[^"\r\n' + self._escape + rb']++|""' + escaped + rb")*+"
        end = rb"(?:" + self._escape + rb")?" + _END
        return rb'"' + text + rb"(?:" + end + text + rb")" + _MORE_LINES

    @property
    def _bare(self) -> bytes:
        """A field without quotes."""
        if not self.escape:
            return rb"[^" + self._ending + rb"]*+"
        plain = rb"[^" + self._ending + self._escape + rb"]++"
        text = rb"(?:" + plain + rb"|" + self._escape + rb"[^\r\n])*+"
        return text + rb"(?:" + self._escape + rb"[\r\n]" + text + rb")" + _MORE_LINES

    @property
    def _fields(self) -> bytes:
        """A record's fields up to the last, each with its separator."""
        return rb"(?:" + self._field + re.escape(self.separator.encode()) + rb")*+"

    @property
    def _field(self) -> bytes:
        return (
            rb"(?:" + self._blanks + self._opened + rb'"|' + self._blanks + rb'(?!")' + self._bare
        ) + rb")"

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A record with its line end."""
        return re.compile(self._fields + self._field + _END)

    @cached_property
    def _open(self) -> re.Pattern[bytes]:
        """A record up to the end of a value that nothing closes yet."""
        return re.compile(
            self._fields + rb"(?:" + self._blanks + self._opened + rb"|" + self._bare + rb")"
        )

    @cached_property
    def _regular(self) -> re.Pattern[bytes]:
        """Text in which every quote that begins a field is closed at the end of one."""
        begins, ends = rb"(?<![^" + self._ending + rb"])", rb"[" + self._ending + rb"]"
        simple = begins + rb'(?:"[^"\r\n]*+"' + ends + rb"++)++"  # the most frequent, and fast
        quoted = begins + self._opened + rb'"(?=' + ends + rb")"
        within = rb"(?!" + begins + rb')"' + self._bare
        return re.compile(rb"(?:" + rb"|".join((simple, rb'[^"]++', quoted, within)) + rb")*+")

    @cached_property
    def blanks(self) -> re.Pattern[bytes]:
        """Blanks behind a separator or line end, and the field after them."""
        behind = rb"[" + self._ending + rb"]++"
        return re.compile(rb" *+((?:" + self._opened + rb'"|' + self._bare + rb")" + behind + rb")")

    def whole(self, content: bytes) -> int:
        """A position up to which content is whole records, found without a look at each."""
        if self.spaced or (self.escape and self.escape.encode() in content):
            return 0
        if b'"' not in content:
            return len(content)
        until = self._regular.match(content).end()  # type: ignore[union-attr]
        if until == len(content):
            return until
        start = max(content.rfind(b"\n", 0, until), content.rfind(b"\r", 0, until)) + 1
        # The line may begin within a value: only what is regular without it ends with a record.
        return start if self._regular.match(content, 0, start).end() == start else 0  # type: ignore[union-attr]

    def bad(self, content: bytes, start: int) -> tuple[str, bool]:
        """Why no record begins at a position, and whether more content could make it one."""
        until = self._open.match(content, start).end()  # type: ignore[union-attr]
        if until == len(content):
            return OPEN_QUOTE, len(content) - start <= LONGEST_RECORD
        stopped = content[until : until + 1]
        if stopped == b'"':
            return AFTER_QUOTE, False
        return (OPEN_QUOTE if stopped in b"\r\n" else UNPARSABLE), False


@dataclass
class Block:
    """Records that decode, one after the other, and the lines taken out around them."""

    source: bytes = b""  #: what is taken apart
    content: bytes = b""  #: ends with a line end, unless it is empty
    bad: list[tuple[str, str]] = field(default_factory=list)  #: line, reason
    #: Bytes at the source's end that begin a record of the next block; None where no such bytes
    #: are kept, as a line is too long, or where no other block follows.
    left: int | None = None
    passed: bool = False  #: whether it was not taken apart

    def reject(self, line: bytes | str, reason: str) -> None:
        """Take a line out."""
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        self.bad.append((text[:_SHOWN].strip("\r\n"), reason))


def blocks(
    file: Readable,
    kind: Lines,
    passed: Passed = lambda source: None,
    *,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[Block]:
    r"""The file's records in blocks; memory holds one block.

    Args:
        file: of UTF-8; a line ends with `\n`, `\r\n` or `\r`, outside of quotes.
    """
    rest = b""  # a record that is not over, and a line that is not
    skipping = False  # inside a line that is too long
    while chunk := file.read(block_bytes):
        if skipping:
            end = min((at for at in map(chunk.find, (b"\n", b"\r")) if at >= 0), default=-1)
            skipping, chunk = end < 0, chunk[end + 1 :] if end >= 0 else b""
        content = rest + chunk
        if (left := passed(content)) is not None:
            rest = content[len(content) - left :]
            yield Block(content, left=left, passed=True)
            continue
        block = Block(content)
        # What ends in `\r` may go on with `\n`.
        end = max(content.rfind(b"\n"), content.rfind(b"\r", 0, -1)) + 1
        whole, line = content[:end], content[end:]
        skips = len(line) > LONGEST_RECORD
        unfinished = _take(whole, block, kind, last=skips)
        if skips:
            block.reject(line[:_SHOWN], TOO_LONG)
            line, skipping = b"", not line.endswith(b"\r")
        rest = unfinished + line
        block.left = None if skips else len(rest)
        if block.content or block.bad:
            yield block
    if rest:
        block = Block(rest)
        _take(rest if rest.endswith((b"\n", b"\r")) else rest + b"\n", block, kind, last=True)
        if block.content or block.bad:
            yield block


def _take(content: bytes, block: Block, kind: Lines, *, last: bool) -> bytes:
    """Fill the block with the good records of whole lines; returns a record that is not over."""
    fine = _decodes(content)
    start = kind.whole(content) if fine and not _has_long_line(content) else 0
    good, rest = [content[:start]] if start else [], b""
    while start < len(content):
        line_end = _LINE.match(content, start).end()  # type: ignore[union-attr]
        record = kind.record.match(content, start)
        if line_end - start > LONGEST_RECORD:
            block.reject(content[start : start + _SHOWN], TOO_LONG)
        elif record is not None:
            line_end = record.end()
            text = content[start:line_end]
            if fine or _decodes(text):
                good.append(text)
            else:
                block.reject(text, undecodable(kind.encoding))
        else:
            reason, may_go_on = kind.bad(content, start)
            if may_go_on and not last:
                rest = content[start:]
                break
            block.reject(content[start:line_end], reason)
        start = line_end
    block.content = b"".join(good)
    return rest


def _decodes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_long_line(content: bytes) -> bool:
    start = 0
    while len(content) - start > LONGEST_RECORD:
        until = start + LONGEST_RECORD
        if (
            start := max(content.rfind(b"\n", start, until), content.rfind(b"\r", start, until)) + 1
        ) == 0:
            return True
    return False
