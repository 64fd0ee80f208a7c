"""Named numpy arrays as bytes: an npz without pickle that is the same for equal arrays, everywhere.

Members stand in the order of their names, stored, not deflated (so that no version of zlib shows),
and dated alike. What is read must be, byte for byte, what would be written of it: a reader that
accepts one spelling only has no corner in which something else could hide.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.errors import ConfigError, IntegrityError

Arrays = Mapping[str, npt.NDArray[Any]]
LARGEST: Final = 50 * 1024 * 1024  #: bytes of all arrays; in base64 it fits into a model
_DTYPES: Final = ("|u1", "<u2", "<i4", "<i8", "<f2", "<f4", "<f8")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")
_MOST: Final = 64  #: arrays
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def to_bytes(arrays: Arrays) -> bytes:
    """The arrays as npz; equal arrays give equal bytes, whatever the order of the mapping.

    Raises:
        ConfigError: a name, type or size that `from_bytes` would refuse.
    """
    for name, values in arrays.items():
        if not _NAME.fullmatch(name) or values.dtype.str not in _DTYPES or values.ndim > 2:
            raise ConfigError(
                f"array {name[:60]!r} of type {values.dtype.str} and {values.ndim} dimensions "
                f"cannot be kept; types: {', '.join(_DTYPES)}, at most 2 dimensions"
            )
    size = sum(values.nbytes for values in arrays.values())
    if size > LARGEST or len(arrays) > _MOST:
        raise ConfigError(
            f"{len(arrays)} arrays of {size:,} bytes in all; at most {_MOST} and {LARGEST:,} are "
            "kept. Fit with fewer items or neighbours"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            member.create_system = 3  # else it names the machine's own
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(arrays[name]), (1, 0), allow_pickle=False
            )
            archive.writestr(member, content.getbuffer())
    return packed.getvalue()


def from_bytes(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays in the bytes, each read-only.

    Raises:
        IntegrityError: they are not, byte for byte, what `to_bytes` writes.
    """
    if len(content) > LARGEST + _MOST * 512:
        raise IntegrityError(f"arrays of {len(content):,} bytes; the most is {LARGEST:,}")
    try:
        arrays = _read(content)
        same = to_bytes(arrays) == content
    except IntegrityError:
        raise
    except Exception as error:  # parsers of hostile input raise what they like
        raise IntegrityError(f"the arrays cannot be read: {type(error).__name__}") from None
    if not same:
        raise IntegrityError("the arrays are not written as Tenantry writes them")
    return arrays


def take(arrays: Arrays, wanted: Mapping[str, tuple[str, int]]) -> list[npt.NDArray[Any]]:
    """The arrays of these names, in this order, each of its (type, dimensions), all finite.

    Raises:
        IntegrityError: other names, types or dimensions, or a number that is not finite.
    """
    if set(arrays) != set(wanted):
        raise IntegrityError(
            f"the model has the arrays {', '.join(sorted(arrays))[:300]}; "
            f"wanted: {', '.join(sorted(wanted))}"
        )
    for name, (dtype, dimensions) in wanted.items():
        values = arrays[name]
        if values.dtype.str != dtype or values.ndim != dimensions:
            raise IntegrityError(f"array {name!r} has another type or shape than a model's")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise IntegrityError(f"array {name!r} has numbers that are not finite")
    return [arrays[name] for name in wanted]


def from_texts(texts: Sequence[str], name: str) -> dict[str, npt.NDArray[Any]]:
    """Texts as two arrays, `{name}_utf8` and `{name}_ends`: no text is as wide as the widest."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(part) for part in encoded], dtype=np.int64)
    return {
        f"{name}_utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}_ends": ends.astype("<i8"),
    }


def to_texts(utf8: npt.NDArray[Any], ends: npt.NDArray[Any]) -> tuple[str, ...]:
    """The texts of `from_texts`.

    Raises:
        IntegrityError: the ends do not rise to the end, or a text is not UTF-8.
    """
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    if (ends < starts).any() or (int(ends[-1]) if len(ends) else 0) != len(utf8):
        raise IntegrityError("the texts of a model do not end where they should")
    content = utf8.tobytes()
    try:
        return tuple(content[a:b].decode() for a, b in zip(starts, ends, strict=True))
    except UnicodeDecodeError:
        raise IntegrityError("a text of a model is not UTF-8") from None


def settings_from(kind: type[Any], header: Mapping[str, Any]) -> Any:
    """The settings, a dataclass, that `asdict` made a header of.

    Raises:
        IntegrityError: it has other fields, or other types or values than they allow.
    """
    fields = {name: type(value) for name, value in asdict(kind()).items()}
    if set(header) != set(fields) or any(type(header[name]) is not fields[name] for name in fields):
        raise IntegrityError(f"the header of a model has the fields {', '.join(fields)}")
    try:
        return kind(**header)
    except ConfigError as error:
        raise IntegrityError(f"the header of a model has wrong values: {error}") from None


def _read(content: bytes) -> dict[str, npt.NDArray[Any]]:
    found: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > _MOST:
            raise IntegrityError(f"{len(members)} arrays; at most {_MOST} are read")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.compress_type != zipfile.ZIP_STORED or not _NAME.fullmatch(name):
                raise IntegrityError(f"member {member.filename[:60]!r} is no array of a model")
            found[name] = _array(archive.read(member))
    return found


def _array(content: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise IntegrityError("an array is of another version of the npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.str not in _DTYPES or fortran or len(shape) > 2 or min(shape, default=0) < 0:
        raise IntegrityError("an array is of a type or shape that is not allowed")
    return np.frombuffer(content, dtype=dtype, offset=stream.tell()).reshape(shape)
