"""The memory of one task: a limit that ends it alone, and first in line where the machine runs out.

The limit is on what the process may write to (`RLIMIT_DATA`), beyond what it had when it began: a
process forked from a parent with every library loaded starts with hundreds of megabytes.
"""

from __future__ import annotations

import logging
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from include.errors import ConfigError, UnavailableError

VARIABLE: Final = "TENANTRY_TASK_MEMORY"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEAST: Final = 64 << 20  #: below, not even a stage's own code could be loaded
#: How much likelier than others the kernel takes this process where memory has run out.
_FIRST_IN_LINE: Final = "500"
#: How libraries say that they got no memory, where they do not raise MemoryError.
_TOLD: Final = ("bad_alloc", "out of memory", "cannot allocate memory", "malloc of size")

log = logging.getLogger(__name__)


def allowed() -> int | None:
    """Bytes that `$TENANTRY_TASK_MEMORY` allows a task beyond its start, such as `2G`; or None.

    Raises:
        ConfigError: it is no size, or one too small for any task.
    """
    told = os.environ.get(VARIABLE, "").strip()
    if not told:
        return None
    parts = re.fullmatch(r"([0-9]{1,15}) ?([KMG]?)(?:i?B)?", told, re.IGNORECASE)
    size = int(parts[1]) * _UNITS[parts[2].upper()] if parts else 0
    if size < _LEAST:
        raise ConfigError(f"{VARIABLE} is {told[:40]!r}; it is a size such as 2G, at least 64M")
    return size


@contextmanager
def bounded_memory(task: str) -> Iterator[None]:
    """Run a task in no more memory than is allowed.

    Raises:
        UnavailableError: the task needed more; says what to change.
    """
    size = allowed()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if size is not None:
        most = _written() + size
        if before[1] != resource.RLIM_INFINITY:
            most = min(most, before[1])
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
        log.info("memory: %s may use %d MB (%s)", task, size >> 20, VARIABLE)
    try:
        yield
    except Exception as error:
        if size is None or not ran_out(error):
            raise
        resource.setrlimit(resource.RLIMIT_DATA, before)
        # Not chained: the traceback of a task without memory is long and says nothing.
        raise UnavailableError(
            f"{task} needs more memory than {VARIABLE} allows ({size >> 20} MB, "
            f"{type(error).__name__}). Only this task ended. Make its sources' files or intervals "
            "smaller, or let the operator raise the limit"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def ran_out(error: BaseException) -> bool:
    """Whether an error, or one it came from, is a lack of memory."""
    while True:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(told in text for told in _TOLD):
            return True
        if error.__cause__ is None and error.__context__ is None:
            return False
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _written() -> int:
    """Bytes of private memory that this process may write to already."""
    with suppress(OSError):
        line = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if line:
            return int(line[1]) << 10
    return 0


@contextmanager
def first_in_line() -> Iterator[None]:
    """Where the machine's memory runs out, a task goes before the servers that run tasks."""
    path = Path("/proc/self/oom_score_adj")
    before = None
    with suppress(OSError):
        if int(now := path.read_text()) < int(_FIRST_IN_LINE):
            path.write_text(_FIRST_IN_LINE)
            before = now
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):
                path.write_text(before)
