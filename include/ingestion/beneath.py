"""Files beneath a folder, opened so that no link, `..` or race leads out of it.

Every component is opened relative to the descriptor of the folder before it, never through a link;
a link is read and walked like any other path, as far as it stays beneath the root (what Linux calls
`RESOLVE_BENEATH`). What is decided is decided about the descriptors, so that nothing can be swapped
between a look and its use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

from include.errors import IsolationError, SourceError
from include.ingestion.grants import Grants

Identity = tuple[int, int]  #: device and inode
Parts = tuple[str, ...]

#: Where the system has it, for passing through: a folder on the way need not be readable.
_PASS: Final = getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER: Final = _PASS | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_LINKS: Final = 20
_MOST_FOLDERS: Final = 100_000
_MAGIC: Final = frozenset("*?[")


@dataclass(frozen=True)
class Fence:
    """The folders nobody walks into, known by device and inode: a bind mount changes neither."""

    never: frozenset[Identity]
    guarded: frozenset[Identity]
    parents: Mapping[Identity, frozenset[str]]  #: folders of a folder per tenant → one's own
    devices: frozenset[int]  #: of file systems that are the kernel's
    own: tuple[Path, ...] = ()  #: folders that are one's own by their name

    @classmethod
    def around(cls, grants: Grants) -> Fence:
        """The fence of a tenant, as the folders are now."""
        parents: dict[Identity, frozenset[str]] = {}
        for one in grants.parents:
            for identity in _identities([one.folder]):
                parents[identity] = parents.get(identity, frozenset()) | {one.own}
        return cls(
            frozenset(_identities(grants.never)),
            frozenset(_identities(grants.guarded)),
            parents,
            frozenset(device for device, _ in _identities([Path("/proc"), Path("/sys")])),
            tuple(one.folder / one.own for one in grants.parents),
        )

    def check(self, here: int, name: str, there: int, *, below: bool) -> None:
        """Raises IsolationError unless one may step from a folder into another.

        Args:
            below: the step lies beneath a granted root, not on the way to it.
        """
        identity = _identity(os.fstat(there))
        if identity in self.never or identity[0] in self.devices:
            raise IsolationError("leads into the lake or a folder of the platform or the system")
        if below:
            self.check_own(here, name)
            if identity in self.guarded:
                raise IsolationError("leads into a folder of another tenant")

    def check_own(self, here: int, name: str) -> None:
        """Raises IsolationError where the folder holds one per tenant, and this is another's."""
        own = self.parents.get(_identity(os.fstat(here)))
        if own is not None and name not in own:
            raise IsolationError("leads into a folder of another tenant")


def has_magic(text: str) -> bool:
    """Whether the text is a glob."""
    return not _MAGIC.isdisjoint(text)


@contextmanager
def opened_beneath(root: Path, parts: Parts, fence: Fence) -> Iterator[BinaryIO]:
    """The regular file at a path beneath a root, open for reading.

    Raises:
        IsolationError: the path leads out of the root or into a forbidden folder, or the file has
            another name elsewhere.
        SourceError: there is no such file, or it is no regular one.
    """
    with _root(root, fence) as top:
        descriptor = _walk(top, parts, fence)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError("is not a regular file")
        if found.st_dev in fence.devices:
            raise IsolationError("is a file of the system's own")
        if found.st_nlink > 1:
            raise IsolationError(
                "has another name elsewhere (a hard link), which could be anybody's; make it a copy"
            )
        file = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file


def expanded_beneath(root: Path, pattern: Parts, fence: Fence, most: int) -> list[Parts]:
    """Paths of the files that a glob beneath a root stands for, in the order of their names.

    `**` is any number of folders and follows no link; names with a leading dot are only met by a
    pattern that has one. A name that is there as it is written stands for itself alone.

    Raises:
        SourceError: more than `most` files, or too many folders.
    """
    found: set[Parts] = set()
    with _root(root, fence) as top:
        visited = 0
        pending: list[tuple[Parts, Parts]] = [((), pattern)]
        while pending:
            prefix, rest = pending.pop()
            if not rest:
                if _may_be_a_file(top, prefix, fence):
                    found.add(prefix)
                if len(found) > most:
                    raise SourceError(f"stands for more than {most:,} files; name fewer")
                continue
            head, tail = rest[0], rest[1:]
            if not has_magic(head):
                pending.append(((*prefix, head), tail))
                continue
            visited += 1
            if visited > _MOST_FOLDERS:
                raise SourceError(f"spans more than {_MOST_FOLDERS:,} folders; name fewer")
            if head == "**":
                pending.append((prefix, tail or ("*",)))
            names = dict(_listed(top, prefix, fence))
            if head in names:
                pending.append(((*prefix, head), tail))
                continue
            for name, is_folder in names.items():
                if head == "**":
                    if is_folder and not name.startswith("."):
                        pending.append(((*prefix, name), rest))
                elif fnmatchcase(name, head) and (head[0] == "." or name[0] != "."):
                    pending.append(((*prefix, name), tail))
    return sorted(found, key="/".join)


@contextmanager
def _root(root: Path, fence: Fence) -> Iterator[int]:
    """The root's descriptor; where the operator's own path to it has links, they are followed."""
    path = Path(os.path.realpath(root))
    # A folder that bears the tenant's name may be a link, but to none of those beside it.
    beside = _identities([one.parent for one in fence.own if root.is_relative_to(one)])
    here = os.open(path.anchor, _FOLDER)
    try:
        for name in path.parts[1:]:
            there = os.open(name, _FOLDER, dir_fd=here)
            try:
                fence.check(here, name, there, below=False)
                if _identity(os.fstat(here)) in beside:
                    fence.check_own(here, name)
            except BaseException:
                os.close(there)
                raise
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _walk(top: int, parts: Sequence[str], fence: Fence) -> int:
    """A descriptor of what lies at the path; the caller closes it."""
    stack = [os.dup(top)]
    todo = list(reversed(parts))
    links = 0
    try:
        while todo:
            name, here = todo.pop(), stack[-1]
            if name in ("", "."):
                continue
            if name == "..":
                if len(stack) == 1:
                    raise IsolationError("leads out of the folder that is granted")
                os.close(stack.pop())
                continue
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target, links = os.readlink(name, dir_fd=here), links + 1
                if target.startswith("/") or links > _MOST_LINKS:
                    raise IsolationError(
                        "is a link that leads out of the folder that is granted; only relative "
                        "links within it are followed"
                    )
                todo += reversed(target.split("/"))
            elif stat.S_ISDIR(status.st_mode):
                there = os.open(name, _FOLDER, dir_fd=here)
                stack.append(there)
                fence.check(here, name, there, below=True)
            elif any(part not in ("", ".") for part in todo):
                raise SourceError("leads through a file as if it were a folder")
            elif not stat.S_ISREG(status.st_mode):
                raise SourceError("is not a regular file")
            else:
                return os.open(name, _FILE, dir_fd=here)
        return os.dup(stack[-1])
    finally:
        for descriptor in stack:
            os.close(descriptor)


def _listed(top: int, parts: Parts, fence: Fence) -> list[tuple[str, bool]]:
    """Names in a folder, and which are folders themselves; none where there is no folder."""
    try:
        here = _walk(top, parts, fence)
    except (OSError, SourceError):
        return []
    try:
        if not stat.S_ISDIR(os.fstat(here).st_mode):
            return []
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        try:
            with os.scandir(readable) as entries:
                return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(readable)
    finally:
        os.close(here)


def _may_be_a_file(top: int, parts: Parts, fence: Fence) -> bool:
    """Whether a glob means it: a regular file, or a link, which opening will look at."""
    if not parts:
        return False
    try:
        folder = _walk(top, parts[:-1], fence)
    except (OSError, SourceError):
        return False
    try:
        status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            with suppress(OSError):
                target = os.stat(parts[-1], dir_fd=folder)
                return not stat.S_ISDIR(target.st_mode)
        return stat.S_ISREG(status.st_mode)
    except OSError:
        return False
    finally:
        os.close(folder)


def _identities(folders: Sequence[Path] | list[Path]) -> list[Identity]:
    found = []
    for folder in folders:
        with suppress(OSError):
            found.append(_identity(folder.stat()))
    return found


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
