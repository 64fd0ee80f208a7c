"""Takes files apart down to the texts and bytes in them, however they are packed.

JSON, base64, zip (so npz and skops too), npy, Parquet, gzip and zstandard are read, also in each
other, down to a limit of depth and size. Whatever cannot be taken apart is reported in `unread`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_DEPTH: Final = 8
_LARGEST: Final = 512 * 1024 * 1024  #: bytes in all
_SHORTEST: Final = 24  #: characters of base64 that are tried
_MAGIC_ZIP, _MAGIC_NPY, _MAGIC_GZIP = b"PK\x03\x04", b"\x93NUMPY", b"\x1f\x8b"
_MAGIC_ZSTD, _MAGIC_PARQUET = b"\x28\xb5\x2f\xfd", b"PAR1"
_MAGICS: Final = (_MAGIC_ZIP, _MAGIC_NPY, _MAGIC_GZIP, _MAGIC_ZSTD, _MAGIC_PARQUET)
#: Of a skops archive: names and settings of scikit-learn, whose reader allows no others.
_SCHEMA: Final = "schema.json"
#: How LightGBM's text begins: its words are LightGBM's, and its reader allows no others.
_TREES: Final = "tree\nversion="


@dataclass
class Unpacked:
    """The texts and bytes of some files."""

    texts: set[str] = field(default_factory=set)  #: each a value or a key
    contents: list[bytes] = field(default_factory=list)  #: everything, as bytes
    unread: str = ""  #: why something could not be taken apart; empty where all was
    size: int = 0


def unpacked(files: Sequence[bytes], coded: Collection[str] = ()) -> Unpacked:
    """The texts and bytes in some files.

    Args:
        coded: columns of Parquet whose texts are codes; they do not count as texts.
    """
    result = Unpacked()
    for content in files:
        _take(content, result, frozenset(coded), 0)
    return result


def _take(content: bytes, into: Unpacked, coded: frozenset[str], depth: int) -> None:
    into.size += len(content)
    if depth > _DEPTH or into.size > _LARGEST:
        into.unread = into.unread or "it is packed too deeply or too large"
        return
    into.contents.append(content)
    try:
        if content.startswith(_MAGIC_ZIP):
            _archive(content, into, coded, depth)
        elif content.startswith(_MAGIC_NPY):
            _texts_of_array(np.load(io.BytesIO(content), allow_pickle=False), into)
        elif content.startswith(_MAGIC_PARQUET):
            _table(pq.read_table(pa.BufferReader(content)), into, coded)
        elif content.startswith(_MAGIC_GZIP):
            with gzip.open(io.BytesIO(content)) as file:
                _take(file.read(_LARGEST + 1), into, coded, depth + 1)
        elif content.startswith(_MAGIC_ZSTD):
            with pa.input_stream(pa.BufferReader(content), compression="zstd") as stream:
                _take(stream.read(_LARGEST + 1), into, coded, depth + 1)
        else:
            _text(content, into, coded, depth)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
        into.unread = into.unread or type(error).__name__


def _archive(content: bytes, into: Unpacked, coded: frozenset[str], depth: int) -> None:
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if into.size + member.file_size > _LARGEST:
                into.unread = into.unread or "it unpacks to too much"
                return
            inner = archive.read(member)
            if inner.startswith(_MAGIC_NPY):
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.load(io.BytesIO(inner), allow_pickle=False)
            if member.filename == _SCHEMA:
                into.contents.append(inner)
                continue
            _take(inner, into, coded, depth + 1)
    for name, values in arrays.items():
        if values.dtype == np.uint8:
            joined, start = values.tobytes(), 0
            ends = arrays.get(f"{name.removesuffix('_utf8')}_ends")
            for end in [len(joined)] if ends is None else ends.ravel().tolist():
                into.texts.add(joined[start:end].decode("utf-8", "replace"))
                start = end


def _texts_of_array(values: np.ndarray[Any, Any], into: Unpacked) -> None:
    if values.dtype.kind in "US":
        for value in values.ravel().tolist():
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            into.texts.add(text)
            into.contents.append(text.encode())


def _table(table: pa.Table, into: Unpacked, coded: frozenset[str]) -> None:
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values = pc.unique(column).drop_null().to_pylist()
            into.contents.append("\0".join(values).encode())
            into.texts |= set() if name in coded else set(values)


def _text(content: bytes, into: Unpacked, coded: frozenset[str], depth: int) -> None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    try:
        document = json.loads(text)
    except ValueError:
        _string(text, into, coded, depth)
        return
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            into.texts |= set(part)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str):
            _string(part, into, coded, depth)


def _string(text: str, into: Unpacked, coded: frozenset[str], depth: int) -> None:
    if len(text) >= _SHORTEST and len(text) % 4 == 0:
        try:
            inner = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            inner = b""
        if inner.startswith(_MAGICS):
            _take(inner, into, coded, depth + 1)
            return
        into.contents.append(inner)
    into.contents.append(text.encode("utf-8", "replace"))
    if not text.startswith(_TREES):
        into.texts |= {text, *(part.strip() for part in text.splitlines())}
