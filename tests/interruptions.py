"""Work that ends in the middle: whatever a function is called for the n-th time, it stops there."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Ended(BaseException):
    """As after a kill, nothing catches it but what closes files and connections."""


@contextmanager
def ended_after(calls: int, names: Collection[str]) -> Iterator[list[str]]:
    """End the block at the call after so many of functions with these names.

    Yields:
        A list that holds the function's name afterwards, if the block did not come to its end.
    """
    left, ended = calls, list[str]()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "call" and frame.f_code.co_name in names and not ended:
            left -= 1
            if left < 0:
                ended.append(frame.f_code.co_name)
                raise Ended

    sys.setprofile(count)
    try:
        yield ended
    except Ended:
        return
    finally:
        sys.setprofile(None)
