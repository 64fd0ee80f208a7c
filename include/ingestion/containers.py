"""What is packed: members of an archive, and compressed text, within bounds.

What a file begins with says how it is packed; its name only says what it should be.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from include.errors import SourceError
from include.ingestion.beneath import has_magic
from include.ingestion.grants import SourceLimits
from include.ingestion.signatures import HEAD_BYTES, packed_as
from include.redaction import names_among

COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst")
_CHUNK: Final = 1 << 20
_FREE: Final = 1 << 30  #: bytes that anything may expand to
_DIRECTORY_BYTES: Final = 16 << 20  #: of an archive: about 200,000 members
_XZ_MEMORY: Final = 256 << 20
#: Of an archive's members; LZMA lets the archive say how much memory it takes, up to 4 GB.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_SYSTEMS_OWN: Final = ("__MACOSX", ".DS_Store", "Thumbs.db")  #: what systems add to an archive
#: What the libraries raise that unpack, where what is packed is damaged.
_DAMAGED: Final = (
    *(EOFError, OSError, ValueError, RuntimeError, NotImplementedError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


class Allowance:
    """What may come out of one file, all that is packed in it taken together."""

    def __init__(self, stored: int, limits: SourceLimits) -> None:
        self.most = min(limits.decoded_bytes, max(_FREE, stored * limits.expansion))
        self.used = 0

    def use(self, size: int) -> None:
        """Raises SourceError where the file has used up what it may."""
        self.used += size
        if self.used > self.most:
            raise SourceError(
                f"unpacks to more than {self.most:,} bytes, which is more than `decoded_bytes` "
                "and `expansion` allow"
            )


class Bounded(io.RawIOBase):
    """A stream that ends in an error where it yields more than one file may hold."""

    def __init__(self, stream: Any, allowance: Allowance, name: str, packed: str | None) -> None:
        self._stream = stream
        self._allowance = allowance
        self._name = name
        self._packed = packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._stream.read(min(len(buffer), _CHUNK))
        except _DAMAGED as error:
            if self._packed is None or getattr(error, "errno", None):
                raise
            raise _damaged(self._name, self._packed) from None
        self._allowance.use(len(content))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def decompressed(
    stream: BinaryIO, name: str, stored: int, limits: SourceLimits
) -> Iterator[BinaryIO]:
    """The text of a file, decompressed where it is compressed.

    Args:
        stored: the file's size when it was opened; what is added later is left for the next time.
    """
    packed = packing(stream)
    opened: Any
    if packed == "gzip":
        opened = gzip.GzipFile(fileobj=stream)
    elif packed == "bzip2":
        opened = bz2.BZ2File(stream)
    elif packed == "xz":
        opened = _Xz(stream)
    elif packed == "zstd":
        opened = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    else:
        opened = _AsOpened(stream, stored)
    bounded = Bounded(opened, Allowance(stored, limits), name, packed)
    with io.BufferedReader(bounded, _CHUNK) as unpacked:
        yield cast(BinaryIO, unpacked)


def packing(file: BinaryIO) -> str | None:
    """How a file is packed: what `signatures` calls it; None where it is not."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return packed_as(head)


def members(
    archive: BinaryIO, name: str, pattern: str | None, limits: SourceLimits
) -> Iterator[tuple[str, BinaryIO]]:
    """Name and content of an archive's members that a path or glob stands for, by name.

    Args:
        name: the archive's, for messages.
        pattern: the only member where there is none.
    """
    allowance = Allowance(archive.seek(0, io.SEEK_END), limits)
    with _directory(archive, name) as opened:
        infos = {info.filename: info for info in opened.infolist() if not info.is_dir()}
        wanted = [_only(infos, name)] if pattern is None else _named(infos, pattern)
        if not wanted:
            raise SourceError(f"{name}: the archive has no member of that name{_there(infos)}")
        if len(wanted) > limits.files:
            raise SourceError(f"stands for more than {limits.files:,} members; name fewer")
        if (size := sum(infos[member].file_size for member in wanted)) > allowance.most:
            raise SourceError(
                f"what is asked of the archive unpacks to {size:,} bytes, which is more than "
                "`decoded_bytes` and `expansion` allow"
            )
        for member in wanted:
            info = infos[member]
            if info.flag_bits & 1:
                raise SourceError(f"{name}: the archive's member is encrypted")
            if PurePosixPath(member).suffix.lower() in (*COMPRESSED, ".zip"):
                raise SourceError(f"{name}: a member that is packed once more is not read")
            if info.compress_type not in _METHODS:
                raise SourceError(f"{name}: the archive's member is not packed by deflate or bzip2")
            try:
                content = opened.open(info)
            except _DAMAGED:
                raise _damaged(name, "zip") from None
            with (
                content,
                io.BufferedReader(Bounded(content, allowance, name, "zip"), _CHUNK) as bounded,
            ):
                yield member, cast(BinaryIO, bounded)


def _directory(archive: BinaryIO, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(cast(Any, _Sparing(archive)))
    except _DAMAGED as error:
        if getattr(error, "errno", None):
            raise
        raise _damaged(name, "zip") from None


def _damaged(name: str, packed: str) -> SourceError:
    return SourceError(
        f"{name}: is damaged or incomplete as {packed}; copy it here again, or export it again"
    )


def _only(infos: dict[str, zipfile.ZipInfo], name: str) -> str:
    """The archive's only member that holds something of its owner's."""
    if "[Content_Types].xml" in infos:
        raise SourceError(
            f"{name}: is an Excel workbook or another Office file; export the table as CSV"
        )
    wanted = [member for member in infos if not set(member.split("/")) & set(_SYSTEMS_OWN)]
    if len(wanted) != 1:
        raise SourceError(
            f"{name}: is an archive of {len(wanted):,} members; put `zip://`, a member's name and "
            f"`::` before the path{_there(infos)}"
        )
    return wanted[0]


def _named(infos: dict[str, zipfile.ZipInfo], pattern: str) -> list[str]:
    if pattern in infos:
        return [pattern]
    return sorted(filter(lambda name: _matches(name, pattern), infos)) if has_magic(pattern) else []


def _there(infos: dict[str, zipfile.ZipInfo]) -> str:
    """The members that look like names, for a message."""
    names = names_among(infos)
    return f"; there are: {', '.join(names)}" if names else ""


def spilled(content: BinaryIO, target: BinaryIO) -> BinaryIO:
    """The content in a file that can be read from any place."""
    shutil.copyfileobj(content, target, _CHUNK)
    target.flush()
    target.seek(0)
    return target


def _matches(name: str, pattern: str) -> bool:
    """As for files: `*` stays within its folder."""
    here, there = name.split("/"), pattern.split("/")
    return len(here) == len(there) and all(map(fnmatchcase, here, there))


class _Sparing:
    """An archive whose directory is not read where it alone would fill the memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY_BYTES:
            raise SourceError(f"the archive's directory is over {_DIRECTORY_BYTES:,} bytes")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _AsOpened:
    """A file as long as it was when it was opened: one that is written to for ever ends, too."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, self._left))
        self._left -= len(content)
        return content


class _Xz:
    """An xz stream whose dictionary stays small: the format allows 1.5 GB of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder: lzma.LZMADecompressor | None = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder is None or self._decoder.eof:
                if self._decoder is not None:
                    self._rest = self._decoder.unused_data
                self._rest = self._rest or self._stream.read(1 << 16)
                if not self._rest.strip(b"\0"):
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
                given, self._rest = self._rest, b""
            elif self._decoder.needs_input:
                given = self._stream.read(1 << 16)
                if not given:
                    raise EOFError("the compressed file ends early")
            else:
                given = b""
            if content := self._decoder.decompress(given, size):
                return content
