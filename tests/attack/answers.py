"""What came of one attempt, as text: looked through for secrets, compared modulo the names asked.

Values, exceptions with their causes, what was printed and what was logged are all an answer.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import re
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from tests.attack.owners import Owner

_MOST: Final = 2_000  #: of whatever is endless
_DIGESTS: Final = re.compile(r"\b[0-9a-f]{12,64}\b")
_TEMPORARY: Final = re.compile(r"/[\w./-]*?tenantry-[\w-]+|0x[0-9a-f]+")
#: A path is quoted as far as it is short.
_CUT: Final = re.compile(r"path '[^']*' leads out")
#: A table is as wide as the names in it.
_DRAWN: Final = re.compile(r"[\s\u2500-\u257f]+")
#: When something was written is nobody's.
_NOW: Final = re.compile(
    r"datetime\.datetime\(20(?!24)\d\d, [^()]*(?:\([^()]*(?:\([^()]*\))?[^()]*\))?[^()]*\)"
    r"|20(?!24)\d\d-\d\d-\d\d[T ][\d:.+]+"
)
_RANDOM: Final = re.compile(r"\btmp[a-z0-9_]{8}\b")


@dataclass(frozen=True)
class Answer:
    """What one attempt gave."""

    raised: str  #: name of the exception's type; empty where something was returned
    text: str  #: value, or the exception with all its causes
    beside: str  #: what was printed and logged

    @property
    def everything(self) -> str:
        """All that whoever asked may get to see."""
        return f"{self.text}\n{self.beside}"

    def modulo(self, *asked: Owner) -> str:
        """Type and text with the names that were asked for taken out."""
        text = _CUT.sub("path <asked> leads out", f"{self.raised}: {self.text}")
        text = _RANDOM.sub("<part>", text)  # first, as its letters may look like something else
        pairs = {pair for owner in asked for pair in owner.names}
        for name, stands_for in sorted(pairs, key=lambda pair: (-len(pair[0]), pair)):
            text = text.replace(name, stands_for)
        text = _DRAWN.sub(" ", text)
        text = _NOW.sub("<now>", _TEMPORARY.sub("<place>", text))
        return _DIGESTS.sub("<digest>", text)


def answer(call: Callable[[], Any]) -> Answer:
    """Perform one attempt, to the end of whatever it returns."""
    printed = io.StringIO()
    with _logged() as lines, redirect_stdout(printed), redirect_stderr(printed):
        try:
            raised, text = "", told(_finished(call()))
        except (Exception, SystemExit) as error:
            raised = type(error).__name__
            text = "".join(
                traceback.TracebackException.from_exception(error).format_exception_only()
            )
            text += "".join(map(_cause, _causes(error)))
    return Answer(raised, text, "\n".join([printed.getvalue(), *lines]))


def told(value: Any) -> str:
    """A value as text, with everything that is in it."""
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("latin-1")
        case str():
            return value
        case Path():
            return str(value)
        case pa.Table() | pa.RecordBatch():
            return told(value.to_pylist())
        case ds.Dataset():
            return told(value.to_table())
        case Mapping():
            return "{" + ", ".join(f"{told(k)}: {told(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(told, value)) + "]"
        case set() | frozenset():
            return "[" + ", ".join(sorted(map(told, value))) + "]"
    if is_dataclass(value) and not isinstance(value, type):
        parts = (f"{one.name}={told(getattr(value, one.name))}" for one in fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    return repr(value)


def _finished(value: Any) -> Any:
    """What a generator yields, a context holds and a coroutine comes to."""
    if inspect.iscoroutine(value):
        return _finished(asyncio.run(value))
    if hasattr(value, "__aenter__"):
        return asyncio.run(_held_asynchronously(value))
    if isinstance(value, AbstractContextManager) and not hasattr(value, "fetchall"):
        with value as held:
            return _rows(held) if hasattr(held, "execute") else _finished(held)
    if isinstance(value, Generator | Iterator):
        return [_finished(one) for one in islice(value, _MOST)]
    return value


#: What somebody with the connection could ask without naming anybody.
_EVERYTHING: Final = "SELECT * FROM tenantry.predictions"


def _rows(connection: Any) -> Any:
    return connection.execute(_EVERYTHING).fetchall()


async def _held_asynchronously(value: Any) -> Any:
    async with value as held:
        cursor = await held.execute(_EVERYTHING)
        return await cursor.fetchall()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    left = [error.__cause__, error.__context__]
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [one.__cause__, one.__context__]


def _cause(error: BaseException) -> str:
    return f"caused by {type(error).__name__}: {error}\n"


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Every line that anything logs meanwhile, at whatever level."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Kept(logging.DEBUG), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
