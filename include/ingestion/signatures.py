"""What a file is, by the bytes that it begins with."""

from __future__ import annotations

import re
from typing import Final

#: Bytes that are enough to tell.
HEAD_BYTES: Final = 512
JSON: Final = "JSON"
#: What is unpacked.
_PACKED: Final = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip"),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08PK)"), "zip"),
)
#: What is not, in the words of a message.
_OTHERS: Final = (
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive"),
    (re.compile(rb"Rar!\x1a\x07"), "a RAR archive"),
    (re.compile(rb"(?s:.{257})ustar"), "a tar archive"),
    (re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"), "an lz4 file"),
    (re.compile(rb"\xff\x06\x00\x00sNaPpY"), "a snappy file"),
    (
        re.compile(rb"LZIP\x01|\x1f\x9d|\x1f\xa0|\x5d\x00\x00"),
        "a file compressed by lzip, LZW or LZMA",
    ),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an Excel workbook or another Office file"),
    (re.compile(rb"PAR1[\x00-\x1f]"), "a Parquet file"),
    (re.compile(rb"ARROW1|\xff\xff\xff\xff"), "an Arrow file"),
    (re.compile(rb"ORC[\x00-\x1f\x80-\xff]"), "an ORC file"),
    (re.compile(rb"Obj\x01"), "an Avro file"),
    (re.compile(rb"SQLite format 3\x00"), "a SQLite database"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (
        re.compile(rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body|!--))"),
        "a page of HTML",
    ),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|[A-Za-z]+[ >])"), "XML"),
    (re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*"|\[\s*[{\[])'), JSON),
)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1e]")


def packed_as(head: bytes) -> str | None:
    """How what begins so is packed, where it can be unpacked."""
    return next((name for pattern, name in _PACKED if pattern.match(head)), None)


def named(head: bytes) -> str | None:
    """What begins so, where it is no table of text."""
    if packed := packed_as(head):
        return f"packed twice ({packed} is within), which is not read"
    for pattern, name in _OTHERS:
        if pattern.match(head):
            return name
    return None


def is_binary(head: bytes) -> bool:
    """Whether characters are among the bytes that no text has, in an encoding of single bytes."""
    return _BINARY.search(head) is not None
