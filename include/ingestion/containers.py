"""What is packed: members of an archive, and text compressed as its name says, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from include.errors import SourceError
from include.ingestion.beneath import has_magic
from include.ingestion.grants import SourceLimits

COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst")
_CHUNK: Final = 1 << 20
_FREE: Final = 1 << 30  #: bytes that anything may expand to
_DIRECTORY_BYTES: Final = 16 << 20  #: of an archive: about 200,000 members
_XZ_MEMORY: Final = 256 << 20
#: Of an archive's members; LZMA lets the archive say how much memory it takes, up to 4 GB.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


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

    def __init__(self, stream: Any, allowance: Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(min(len(buffer), _CHUNK))
        self._allowance.use(len(content))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def decompressed(
    stream: BinaryIO, name: str, stored: int, limits: SourceLimits
) -> Iterator[BinaryIO]:
    """The text of a file, decompressed where its name ends in one of `COMPRESSED`.

    Args:
        stored: the file's size when it was opened; what is added later is left for the next time.
    """
    suffix = PurePosixPath(name).suffix.lower()
    opened: Any
    if suffix not in COMPRESSED:
        opened = _AsOpened(stream, stored)
    elif suffix == ".gz":
        opened = gzip.GzipFile(fileobj=stream)
    elif suffix == ".bz2":
        opened = bz2.BZ2File(stream)
    elif suffix == ".xz":
        opened = _Xz(stream)
    else:
        opened = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    with io.BufferedReader(Bounded(opened, Allowance(stored, limits)), _CHUNK) as unpacked:
        yield cast(BinaryIO, unpacked)


def members(
    archive: BinaryIO, pattern: str, limits: SourceLimits
) -> Iterator[tuple[str, BinaryIO]]:
    """Name and content of an archive's members that a path or glob stands for, by name."""
    allowance = Allowance(archive.seek(0, io.SEEK_END), limits)
    with zipfile.ZipFile(cast(Any, _Sparing(archive))) as opened:
        infos = {info.filename: info for info in opened.infolist() if not info.is_dir()}
        if pattern in infos:
            wanted = [pattern]
        elif has_magic(pattern):
            wanted = sorted(name for name in infos if _matches(name, pattern))
        else:
            wanted = []
        if not wanted:
            raise SourceError("the archive has no member of that name")
        if len(wanted) > limits.files:
            raise SourceError(f"stands for more than {limits.files:,} members; name fewer")
        if (size := sum(infos[name].file_size for name in wanted)) > allowance.most:
            raise SourceError(
                f"what is asked of the archive unpacks to {size:,} bytes, which is more than "
                "`decoded_bytes` and `expansion` allow"
            )
        for name in wanted:
            info = infos[name]
            if info.flag_bits & 1:
                raise SourceError("the archive's member is encrypted")
            if PurePosixPath(name).suffix.lower() in (*COMPRESSED, ".zip"):
                raise SourceError("a member that is packed once more is not read")
            if info.compress_type not in _METHODS:
                raise SourceError("the archive's member is not packed by deflate or bzip2")
            with (
                opened.open(info) as member,
                io.BufferedReader(Bounded(member, allowance), _CHUNK) as content,
            ):
                yield name, cast(BinaryIO, content)


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
