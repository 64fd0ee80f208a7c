"""Names that no other test of this process has taken: its modules share one database."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS: Final[Iterator[int]] = count()


def unused(word: str) -> str:
    """`word` with a number that is given out once."""
    return f"{word}-{next(_NUMBERS)}"
