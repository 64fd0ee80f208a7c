"""Columns: what a value becomes does not depend on the values beside it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SourceError
from include.ingestion.columns import joined, numbers, texts
from include.ingestion.instants import instants
from include.ingestion.wanted import Presence, Wanted

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
PARTS = st.lists(st.one_of(TEXT, st.text("\\|a", min_size=1)), min_size=2, max_size=2)
ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Pacific/Kiritimati"])
NAIVE = st.datetimes(datetime(1800, 1, 3), datetime(2199, 12, 29))  # noqa: DTZ001


@given(PARTS, PARTS)
def test_joined_ids_are_equal_only_where_all_parts_are(one: list[str], other: list[str]) -> None:
    """Separators within a part are never taken for separators between parts."""
    found = joined([pa.array(pair) for pair in zip(one, other, strict=True)]).to_pylist()
    assert (found[0] == found[1]) == (one == other)


@given(st.lists(PARTS, min_size=1, max_size=4), PARTS)
def test_joined_ids_of_different_lengths_differ(many: list[list[str]], few: list[str]) -> None:
    """An id of three parts never equals one of two."""
    three = joined([pa.array([row[n % 2] for row in many]) for n in range(3)]).to_pylist()
    assert joined([pa.array([part]) for part in few])[0].as_py() not in three


def test_an_id_with_a_missing_part_is_missing() -> None:
    """Null in one part is null in the whole."""
    assert joined([pa.array(["a", "b"]), pa.array(["c", None])]).to_pylist() == ["a|c", None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_a_float_has_one_spelling(values: list[float]) -> None:
    """The text of a number is the same alone and in company, and reads as that number."""
    together = texts(pa.array(values, pa.float64())).to_pylist()
    assert together == [texts(pa.array([v], pa.float64()))[0].as_py() for v in values]
    assert [float(text) for text in together] == values


@given(st.lists(st.decimals(-(10**10), 10**10, places=8).map(lambda v: v + 0), min_size=1))
def test_a_decimal_is_what_a_file_of_text_says(values: list[Decimal]) -> None:
    """The nearest float, and for an id the digits without an exponent."""
    column = pa.array(values, pa.decimal128(20, 8))
    assert numbers(column).to_pylist() == [float(value) for value in values]
    assert texts(column).to_pylist() == [
        digits.rstrip("0").rstrip(".") for digits in map("{:f}".format, values)
    ]


def test_whole_floats_are_spelled_as_integers() -> None:
    """An id that a null turned into a float is still the same id."""
    assert texts(pa.array([7.0, None, 2.5])).to_pylist() == ["7", None, "2.5"]


def test_text_that_is_none_is_null() -> None:
    """Empty text and bytes that are not UTF-8 are no value."""
    assert texts(pa.array([b"a", b"\xff", b"", None])).to_pylist() == ["a", None, None, None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_numbers_survive_what_stands_beside_them(values: list[float]) -> None:
    """A word in a column of numbers costs its own value only."""
    column = pa.array([*map(repr, values), "word"], pa.string())
    assert numbers(column).to_pylist() == [*values, None]


@pytest.mark.parametrize("value", ["NaN", "inf", "-Infinity", "1e400", "1_000", "0x10", "", "--1"])
def test_what_is_no_finite_number_is_null(value: str) -> None:
    """NaN, infinities and spellings of other languages are no numbers."""
    assert numbers(pa.array([value])).to_pylist() == [None]
    assert numbers(pa.array([math.nan, math.inf, True and 1.0])).to_pylist() == [None, None, 1.0]


@given(st.lists(NAIVE, min_size=1, max_size=3), ZONES)
def test_an_instant_has_one_meaning_whatever_its_type(values: list[datetime], zone: str) -> None:
    """Timestamps, their text, and their text beside rubbish give the same UTC instants."""
    typed = instants(pa.array(values, pa.timestamp("us")), zone).to_pylist()
    spelled = [value.isoformat(" ") for value in values]
    assert instants(pa.array(spelled), zone).to_pylist() == typed
    assert instants(pa.array([*spelled, "rubbish"]), zone).to_pylist() == [*typed, None]


@given(st.datetimes(datetime(1970, 1, 3), datetime(2037, 12, 31)), ZONES)  # noqa: DTZ001
def test_local_times_are_read_by_the_clock_on_the_wall(value: datetime, zone: str) -> None:
    """Converted back, the clock shows the same time, unless it never showed it.

    Up to 2037: beyond, Arrow knows no daylight saving time.
    """
    (found,) = instants(pa.array([value], pa.timestamp("us")), zone).to_pylist()
    shown = found.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    skipped = value.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
    assert shown == value or skipped.replace(tzinfo=None) != value


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2024-03-31 02:30", "2024-03-31 01:00"),  # skipped: the instant of the change
        ("2024-10-27 02:30", "2024-10-27 00:30"),  # twice: the first
        ("2024-10-27 02:30+01:00", "2024-10-27 01:30"),  # says which
        ("2024-07-01", "2024-06-30 22:00"),
    ],
)
def test_clock_changes_have_one_reading(local: str, utc: str) -> None:
    """Gaps and folds of local time are read the same way every time."""
    (found,) = instants(pa.array([local]), "Europe/Vienna").to_pylist()
    assert f"{found:%Y-%m-%d %H:%M}" == utc


@given(st.integers(-(2**62), 2**62), st.sampled_from(["s", "ms", "us", "ns"]))
def test_instants_far_out_are_null_and_never_wrap(value: int, unit: str) -> None:
    """Whatever fits into a timestamp is either within 1800–2199 and right, or null."""
    (found,) = instants(pa.array([value], pa.int64()).cast(pa.timestamp(unit)), "UTC").to_pylist()
    micros = int(Fraction(value * 10**6, {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]))
    if -5_364_662_400 * 10**6 <= micros < 7_258_118_400 * 10**6:
        assert found - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=micros)
    else:
        assert found is None


def test_a_missing_column_is_named_with_those_that_exist() -> None:
    """The message lists what is missing and what there is."""
    with pytest.raises(SourceError, match=r"sales\.csv: no column 'b', 'c'; there are: a, d"):
        Presence(Wanted(("a", "b", "c"))).note(["a", "d"], "sales.csv")
