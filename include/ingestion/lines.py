"""Text files in blocks of whole records; a line that would spoil its neighbours is taken out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

_BLOCK_BYTES: Final = 4 << 20
#: A longer record is no record: nothing else bounds what a file without line ends costs.
LONGEST_RECORD: Final = 1 << 20
#: How many lines one quoted value may span; a quote that stays open longer is a stray one.
_MOST_LINES: Final = 50
_SHOWN: Final = 2_000  #: characters of a bad line that are kept

NOT_UTF8: Final = "the line is not UTF-8"
TOO_LONG: Final = f"the line is over {LONGEST_RECORD:,} bytes"
OPEN_QUOTE: Final = "the line cannot be parsed: a quote is not closed"
UNPARSABLE: Final = "the line cannot be parsed"


@dataclass
class Block:
    """Records that decode, one after the other, and the lines taken out around them."""

    content: bytes = b""  #: ends with a line end, unless it is empty
    bad: list[tuple[str, str]] = field(default_factory=list)  #: line, reason

    def reject(self, line: bytes | str, reason: str) -> None:
        """Take a line out."""
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        self.bad.append((text[:_SHOWN].strip("\r\n"), reason))


def blocks(file: IO[bytes], *, quoted: bool, block_bytes: int = _BLOCK_BYTES) -> Iterator[Block]:
    """The file's records in blocks; memory holds one block.

    Args:
        quoted: a record may span lines inside double quotes, as in CSV. Where a quote is opened and
            not closed soon, only its own line is bad.
    """
    rest = b""
    skipping = False  # inside a line that is too long
    first = True
    while chunk := file.read(block_bytes):
        if first:
            chunk, first = chunk.removeprefix(b"\xef\xbb\xbf"), False
        block = Block()
        if skipping:
            _, end, chunk = chunk.partition(b"\n")
            skipping = not end
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            content, unfinished = _records(whole + end, block, quoted=quoted, last=False)
            block.content = _decodable(content, block)
            rest = unfinished + rest
        if len(rest) > LONGEST_RECORD:
            block.reject(rest[:_SHOWN], TOO_LONG)
            rest, skipping = b"", True
        if block.content or block.bad:
            yield block
    if rest:
        block = Block()
        content, _ = _records(rest.rstrip(b"\n") + b"\n", block, quoted=quoted, last=True)
        block.content = _decodable(content, block)
        if block.content or block.bad:
            yield block


def _records(content: bytes, block: Block, *, quoted: bool, last: bool) -> tuple[bytes, bytes]:
    """Content without lines that are too long or open a quote for good, and the unfinished rest."""
    lines = _lines(content)
    out = {number for number, line in enumerate(lines) if len(line) > LONGEST_RECORD}
    for number in sorted(out):
        block.reject(lines[number][:_SHOWN], TOO_LONG)
    unfinished = len(lines)
    if quoted and b'"' in content:
        stray, unfinished = _stray_quotes(lines, out, last=last)
        for number in stray:
            block.reject(lines[number], OPEN_QUOTE)
        out.update(stray)
    if not out and unfinished == len(lines):
        return content, b""
    kept = b"".join(line for n, line in enumerate(lines[:unfinished]) if n not in out)
    return kept, b"".join(lines[unfinished:])


def _stray_quotes(lines: list[bytes], out: set[int], *, last: bool) -> tuple[list[int], int]:
    """Lines whose quote nothing closes soon, and where a record starts that is not over yet."""
    odd = [n for n, line in enumerate(lines) if line.count(b'"') & 1 and n not in out]
    stray: list[int] = []
    position = 0
    while position < len(odd):
        opened, closed = odd[position], odd[position + 1 : position + 2]
        if closed and closed[0] - opened < _MOST_LINES:
            position += 2
        elif not closed and not last and len(lines) - opened < _MOST_LINES:
            return stray, opened
        else:
            stray.append(opened)
            position += 1
    return stray, len(lines)


def _decodable(content: bytes, block: Block) -> bytes:
    """Content without the lines that are no text."""
    try:
        content.decode()
    except UnicodeDecodeError:
        good = []
        for line in _lines(content):
            try:
                line.decode()
            except UnicodeDecodeError:
                block.reject(line, NOT_UTF8)
            else:
                good.append(line)
        return b"".join(good)
    return content


def _lines(content: bytes) -> list[bytes]:
    r"""Lines with their ends; only `\n` ends one, so that `\r\n` stays together."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]]
