"""The kinds of value a tenant file is made of, each with the bounds that hold for it."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from include.tenants.namespace import NAME, REGIONAL, RESERVED, TENANT_ID
from include.tenants.wording import shown
from include.tenants.yaml_text import Unquoted

#: Values of one condition; more of them are a data set of their own.
MOST_VALUES: Final = 256
LONGEST_TEXT: Final = 200
LONGEST_VALUE: Final = 1_000
LONGEST_CRON: Final = 100
_LONGEST_NUMBER: Final = 25
#: Far beyond any use, and far from the ends of the calendar: years 1900 − 100 and 2999 + 100 exist.
LONGEST_DURATION: Final = timedelta(days=36_525)
#: Ticks further apart leave a model without news for longer than a year has days.
_RAREST_TICK: Final = timedelta(days=366)

#: Names that the system's folder of time zones may hold besides places: what they mean depends on
#: the machine, or on leap seconds.
_NO_PLACE: Final = frozenset({"localtime", "posixrules", "Factory"})
_OTHER_CLOCKS: Final = ("right/", "posix/")


class StrictModel(BaseModel):
    """Strict and frozen: what YAML says is what the code gets, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_tenant_id(value: str) -> str:
    if not TENANT_ID.fullmatch(value):
        raise ValueError(f"must match {TENANT_ID.pattern}")
    if value in RESERVED:
        raise ValueError(f"is reserved; reserved: {', '.join(sorted(RESERVED))}")
    if value.startswith(REGIONAL):
        raise ValueError(
            f"is reserved; ids that begin with {REGIONAL!r} own regions' global models"
        )
    return value


def _check_region(value: str) -> str:
    if not TENANT_ID.fullmatch(value):
        raise ValueError(f"must match {TENANT_ID.pattern}")
    return value


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"must match {NAME.pattern}")
    return value


def _check_timezone(value: str) -> str:
    try:
        if value in _NO_PLACE or value.startswith(_OTHER_CLOCKS):
            raise ValueError
        ZoneInfo(value)
    except Exception:  # ZoneInfo raises four unrelated types for a bad key
        raise ValueError("is not an IANA time zone, such as Europe/Vienna or UTC") from None
    return value


def _check_cron(value: str) -> str:
    bounded = len(value) <= LONGEST_CRON
    if not bounded or len(value.split()) != 5 or not _CRON.fullmatch(value) or not _expands(value):
        raise ValueError(
            "must be a cron expression of five fields, such as '0 4 * * 1', in at most "
            f"{LONGEST_CRON} characters"
        )
    try:
        ticks = croniter(value, _SOME_DAY, max_years_between_matches=9)
        first, second = ticks.get_next(datetime), ticks.get_next(datetime)
    except CroniterBadDateError:
        raise ValueError("names a day that no calendar has, or hardly any") from None
    if second - first > _RAREST_TICK:
        raise ValueError("must tick at least once a year")
    return value


def _expands(value: str) -> bool:
    try:
        return bool(croniter.is_valid(value))
    except Exception:  # for odd input croniter raises whatever its parsing meets
        return False


def shortest_interval(cron: str) -> timedelta:
    """The least time between two ticks of a valid expression, as if it ticked every day."""
    fields = croniter(cron, _SOME_DAY).expanded
    minutes, hours = (
        range(size) if "*" in field else sorted({int(value) for value in field})
        for field, size in zip(fields[:2], (60, 24), strict=True)
    )
    ticks = [60 * hour + minute for hour in hours for minute in minutes]
    return timedelta(minutes=min(b - a for a, b in pairwise([*ticks, ticks[0] + 24 * 60])))


def _check_text(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"must be at most {LONGEST_TEXT} characters long")
    return check_visible(value)


def check_visible(value: str) -> str:
    """The text, unless something in it would break a line or hide."""
    if not value or any(_hides(one) for one in value if not one.isprintable()):
        raise ValueError("must be text without control, bidi or other invisible characters")
    return value


def _hides(character: str) -> bool:
    """Whether a character could break a line, turn the text's direction or not be encoded."""
    joiners = "\u200c\u200d"  # Persian, Indic scripts and emoji are spelled with them
    category = unicodedata.category(character)
    return category in _HIDING and character not in joiners


_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: No `R` or `H`: croniter draws a time for them anew at every reading of the file.
_CRON: Final = re.compile(r"(?:[0-9*/,#L -]|[A-Za-z]{3})+")
_SOME_DAY: Final = datetime(2024, 1, 1)  # noqa: DTZ001  (any day will do)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NEARLY_A_DAY: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?", re.ASCII)
_SHORT: Final = re.compile(r"(\d{1,6})\s?(w|d|h|m|s)", re.ASCII)
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _as_written(value: Any) -> Any:
    """A name that YAML reads as a number or a boolean: say how to write it."""
    if isinstance(value, Unquoted):
        return str(value)
    if isinstance(value, (bool, int, float)):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        raise ValueError(f"is not text; quote it if the text is meant: '{text}'")
    return value


def read_day(value: Any) -> Any:
    """A date, or text of the form of one, is a day; any other text is left as it is."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, str) and _NEARLY_A_DAY.fullmatch(value):
        raise ValueError("must be a day, such as 2024-01-31; a column of this name is not read")
    return value


def _day_only(value: Any) -> Any:
    """Neither seconds since 1970 nor an instant is a day."""
    if isinstance(value, datetime) or not isinstance(value, (date, str)):
        raise ValueError("must be a day, such as 2024-01-31")
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("must be a day, such as 2024-01-31")
    return value


def _check_day(value: date) -> date:
    if not 1900 <= value.year <= 2999:
        raise ValueError("must be a day of the years 1900 to 2999")
    return value


def _read_duration(value: Any) -> Any:
    """`2h` or ISO 8601; a number alone has no unit."""
    if isinstance(value, (bool, int, float)) and value and math.isfinite(value):
        raise ValueError("must carry its unit, such as P30D, PT2H, 30d or 2h")
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ValueError("must be a duration, such as P30D, PT2H, 30d or 2h")
        if found := _SHORT.fullmatch(value):
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
    return value


def _check_longest(value: timedelta) -> timedelta:
    if value > LONGEST_DURATION:
        raise ValueError(f"must be at most {LONGEST_DURATION.days:,} days")
    return value


def _check_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


def _check_not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("cannot be negative")
    return value


def _check_whole_day(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("must be at least a day")
    return value


def _read_number(value: Any) -> Any:
    """A number, also where its spelling left open what it is: `010` is ten."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str) and (len(value) > _LONGEST_NUMBER or not value.isascii()):
        raise ValueError(f"must be a number of at most {_LONGEST_NUMBER} characters")
    return value


def _check_condition(value: Any) -> Any:
    """One value or a list of them, each of which can be meant in one way only."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(
                "an empty list selects no row; list the values that are meant, or leave the "
                "condition out"
            )
        if len(value) > MOST_VALUES:
            raise ValueError(f"must list at most {MOST_VALUES} values")
        return tuple(_check_value(one) for one in value)
    return _check_value(value)


def _check_value(value: Any) -> Any:
    if value is None:
        raise ValueError(
            "selects no row: a condition holds for a value; quote it if text such as 'null' is "
            "meant"
        )
    if isinstance(value, Unquoted):
        raise ValueError(
            f"{shown(str(value))} could be text or something else; quote it if the text is meant, "
            "or write the plain number, true or false"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is no number that a row could hold; quote it if the text is meant")
    if isinstance(value, str):
        if not value:
            raise ValueError("empty text selects no row: it is read as no value")
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"must be at most {LONGEST_VALUE:,} characters long")
        return str(value)
    if not isinstance(value, (bool, int, float)):
        raise ValueError("must be text, a number, true or false, or a list of these")
    return value


def _check_format(value: str) -> str:
    """`iso`, an epoch's unit, or a pattern that says year, month and day and nothing unknown."""
    if value in EPOCHS:
        return value
    marks = _MARK.findall(value)
    if len(value) > LONGEST_TEXT or "%" not in value or value.replace("%%", "").endswith("%"):
        raise ValueError(_FORMATS)
    if unknown := sorted({mark for mark in marks if mark.lstrip("-") not in _MARKS}):
        raise ValueError(f"%{unknown[0]} is no part of a pattern; {_FORMATS}")
    there = {mark.lstrip("-") for mark in marks}
    month = there & {"m", "b", "B"}
    if not there & {"Y", "y"} or not ("j" in there or ("d" in there and month)):
        raise ValueError(f"the pattern does not say year, month and day; {_FORMATS}")
    return value


EPOCHS: Final = ("iso", "epoch_s", "epoch_ms", "epoch_us")
_FORMATS: Final = (
    f"must be one of {', '.join(EPOCHS)}, or a pattern such as '%d.%m.%Y %H:%M' (%z is an offset)"
)
_MARK: Final = re.compile(r"%(-?.)")
_MARKS: Final = frozenset("YymdHIpMSfgnbBaAjzZ%")


_Text = Annotated[str, BeforeValidator(_as_written)]
TenantId = Annotated[_Text, AfterValidator(_check_tenant_id)]
Region = Annotated[_Text, AfterValidator(_check_region)]
Name = Annotated[_Text, AfterValidator(_check_name)]
Timezone = Annotated[_Text, Field(max_length=64), AfterValidator(_check_timezone)]
Text = Annotated[_Text, AfterValidator(_check_text)]
Column = Text  #: a column of the source
TimestampFormat = Annotated[_Text, AfterValidator(_check_format)]
Cron = Annotated[_Text, AfterValidator(_check_cron)]
Day = Annotated[date, BeforeValidator(_day_only), AfterValidator(_check_day)]
_Duration = Annotated[timedelta, BeforeValidator(_read_duration), AfterValidator(_check_longest)]
Duration = Annotated[_Duration, AfterValidator(_check_positive)]
Delay = Annotated[_Duration, AfterValidator(_check_not_negative)]
Retained = Annotated[_Duration, AfterValidator(_check_positive), AfterValidator(_check_whole_day)]
Count = Annotated[int, BeforeValidator(_read_number), Field(le=1_000_000_000)]
Number = Annotated[
    float, BeforeValidator(_read_number), Field(le=1_000_000_000, allow_inf_nan=False)
]
#: A number of a tenant's own data, as far as floats tell whole numbers apart.
Measure = Annotated[
    float, BeforeValidator(_read_number), Field(ge=-(2**53), le=2**53, allow_inf_nan=False)
]
Scalar = bool | int | float | str
Condition = Annotated[Scalar | tuple[Scalar, ...], BeforeValidator(_check_condition)]
