"""Days on which trade rests in many countries: a dip on one of them alone says nothing.

Which of them a tenant keeps nobody knows, so they are neither expected nor missed. What else a
tenant keeps it announces itself (`closures`).
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache


@cache
def feasts(year: int) -> frozenset[date]:
    """New Year, Easter from Good Friday on, May Day, Thanksgiving, and Christmas with its eves."""
    easter = easter_sunday(year)
    november = date(year, 11, 1)
    thanksgiving = november + timedelta(days=(3 - november.weekday()) % 7 + 21)
    fixed = ((1, 1), (5, 1), (12, 24), (12, 25), (12, 26), (12, 31))
    moving = (*(easter + timedelta(days=days) for days in (-2, 0, 1)), thanksgiving)
    return frozenset((*(date(year, *one) for one in fixed), *moving))


def easter_sunday(year: int) -> date:
    """The Gregorian one (J. Meeus, "Astronomical Algorithms", 1991, chapter 8)."""
    century, rest = divmod(year, 100)
    leap, odd = divmod(century, 4)
    moon = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * (year % 19) + century - leap - moon + 15) % 30
    weekday = (32 + 2 * odd + 2 * (rest // 4) - epact - rest % 4) % 7
    shift = (year % 19 + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)
