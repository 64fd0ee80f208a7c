"""Work that ends in the middle: whatever a function is called for the n-th time, it stops there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


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


def end_after_write(patch: pytest.MonkeyPatch, number: int, *writes: tuple[object, str]) -> None:
    """Have whatever comes after so many calls of these functions, all together, never happen.

    Args:
        writes: an owner and the name of its function; that call itself is carried out.
    """
    done = 0

    def ending(write: Callable[..., Any]) -> Callable[..., Any]:
        def carried_out(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            result = write(*args, **kwargs)
            done += 1
            if done == number:
                raise Ended
            return result

        return carried_out

    for owner, name in writes:
        patch.setattr(owner, name, ending(getattr(owner, name)))
