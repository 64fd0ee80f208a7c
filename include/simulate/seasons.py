"""When people are active: weekdays, hours, the year and the holidays that all tenants share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np

from include.simulate.faults import Drift, Fault, Shock
from include.simulate.seeds import Array

EVEN_WEEK: Final = (1.0,) * 7
OFFICE_WEEK: Final = (1.2, 1.3, 1.3, 1.2, 1.0, 0.25, 0.2)
SHOP_WEEK: Final = (0.85, 0.85, 0.9, 0.95, 1.15, 1.3, 1.0)
FREE_WEEK: Final = (0.9, 0.85, 0.85, 0.9, 1.05, 1.2, 1.25)


@dataclass(frozen=True)
class Season:
    """A kind of business through the week, the day and the year; all factors of its activity."""

    weekday: tuple[float, ...]  #: Monday first
    peaks: tuple[tuple[float, float, float], ...]  #: of the day: hour, deviation in hours, weight
    yearly: float  #: share by which activity swings through the year
    highest: int  #: day of the year when it does so most
    holidays: Literal["shopping", "office", "none"]


def activity(season: Season, start: date, days: int, faults: Iterable[Fault]) -> Array:
    """Factor of every day's activity: about 1 on average, shocks and seasonal swings included."""
    number = np.arange(days)
    weekday = np.asarray(season.weekday) / np.mean(season.weekday)
    factor = weekday[(start.weekday() + number) % 7]
    of_year = np.array([(start + timedelta(days=int(d))).timetuple().tm_yday for d in number])
    factor = factor * (1 + season.yearly * np.cos(2 * np.pi * (of_year - season.highest) / 365.25))
    for year in range(start.year, (start + timedelta(days=days)).year + 1):
        for day, times in holidays(season.holidays, year).items():
            if 0 <= (place := (day - start).days) < days:
                factor[place] *= times
    for fault in faults:
        if isinstance(fault, Shock):
            factor[(number >= fault.at) & (number < fault.at + fault.days)] *= fault.factor
        if isinstance(fault, Drift) and fault.kind == "seasonal":
            factor *= np.exp(0.5 * fault.size * fault.strength(number))
    answer: Array = factor
    return answer


def holidays(kind: str, year: int) -> dict[date, float]:
    """Days of the year unlike others, and how many times as much happens."""
    if kind == "none":
        return {}
    first = date(year, 11, 1)
    thanksgiving = first + timedelta(days=(3 - first.weekday()) % 7 + 21)
    if kind == "office":
        closed = {date(year, 12, day): 0.3 for day in range(24, 32)}
        return {**closed, date(year, 1, 1): 0.2, thanksgiving: 0.7}
    friday = thanksgiving + timedelta(days=1)
    run_up = {date(year, 12, day): 1.4 for day in range(10, 24)}
    weekend = {friday + timedelta(days=offset): 1.8 for offset in (-1, 1, 2)}
    monday = friday + timedelta(days=3)
    return {**run_up, **weekend, friday: 3.0, monday: 2.2, date(year, 12, 25): 0.2}


def hours(season: Season) -> Array:
    """Cumulative chances of the 24 hours of a day."""
    hour = np.arange(24) + 0.5
    density = np.full(24, 0.01)
    for peak, spread, weight in season.peaks:
        apart = np.abs(hour - peak)
        apart = np.minimum(apart, 24 - apart)
        density += weight * np.exp(-0.5 * (apart / spread) ** 2) / spread
    return np.cumsum(density / density.sum())
