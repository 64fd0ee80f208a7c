"""Formats of instants: what each reads, and that nothing is guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from include.ingestion.instants import instants
from include.tenants.fields import TimestampFormat

TEN = datetime(2024, 1, 9, 10, tzinfo=UTC)
#: text, and what it says in Vienna by `iso`: hour, minute, second and microsecond of 9 January UTC
SPELLINGS = """
    2024-01-09 10:00:00 UTC             10:00:00.000000
    2024-01-09 10:00:00.123456 UTC      10:00:00.123456
    2024-01-09T10:00:00 GMT             10:00:00.000000
    2024-01-09 10:00:00+00              10:00:00.000000
    2024-01-09 10:00:00 Z               10:00:00.000000
    2024-01-09T10:00:00.1234567Z        10:00:00.123456
    2024-01-09T10:00:00,5Z              10:00:00.500000
    2024-01-09T10:00:00 +0100           09:00:00.000000
    2024-01-09T10:00:00+01:00           09:00:00.000000
    20240109T100000Z                    10:00:00.000000
    2024-01-09 10:00:00 +0000 UTC       10:00:00.000000
    2024-01-09 10:00:00 Asia/Kolkata    04:30:00.000000
    2024-01-09T10:00:00+05:30[Asia/Kolkata]  04:30:00.000000
    2024-01-09 10:00                    09:00:00.000000
    2024-01-09T10:00:60                 09:01:00.000000
    2024-01-08 24:00:00Z                00:00:00.000000
    2024-W02-2T10:00:00Z                10:00:00.000000
"""
UNCLEAR = (
    *("01/09/2024 10:00", "09.01.2024 10:00", "Jan 9, 2024 10:00 AM", "1704794400", "soon"),
    *("2024-13-09 10:00", "2024-01-09 25:00", "2024-01-09 10:00 Nowhere/Land", "9", "2024"),
)


def read(text: str, form: str = "iso", zone: str = "UTC") -> datetime | None:
    """What a text says."""
    (instant,) = instants(pa.array([text]), zone, form).to_pylist()
    return instant  # type: ignore[no-any-return]


@pytest.mark.parametrize("line", SPELLINGS.strip().splitlines(), ids=str.strip)
def test_iso_reads_what_leaves_no_doubt(line: str) -> None:
    """Spellings of databases, languages and people, with their offset or the tenant's zone."""
    text, _, clock = line.strip().rpartition("  ")
    instant = read(text.strip(), zone="Europe/Vienna")
    assert instant is not None
    assert instant.date().isoformat() == "2024-01-09"
    assert f"{instant:%H:%M:%S.%f}" == clock.strip()


@pytest.mark.parametrize("text", UNCLEAR)
def test_iso_guesses_nothing(text: str) -> None:
    """Neither which of two numbers is the day, nor what a number counts."""
    assert read(text) is None


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("epoch_s", "1704794400", TEN),
        ("epoch_s", 1704794400, TEN),
        ("epoch_s", 1704794400.5, TEN.replace(microsecond=500_000)),
        ("epoch_s", "1704794400.25", TEN.replace(microsecond=250_000)),
        ("epoch_ms", 1704794400000, TEN),
        ("epoch_us", "1704794400000000", TEN),
        ("epoch_s", 1704794400000, None),
        ("epoch_ms", "2024-01-09", None),
        ("epoch_s", -1, None),
        ("%d.%m.%Y %H:%M", "09.01.2024 10:00", TEN),
        ("%m/%d/%Y %H:%M", "01/09/2024 10:00", TEN),
        ("%d/%m/%Y %H:%M", "01/13/2024 10:00", None),
        ("%a, %d %b %Y %H:%M:%S %Z", "Tue, 09 Jan 2024 10:00:00 GMT", TEN),
        ("%b %-d, %Y %I:%M %p", "Jan 9, 2024 10:00 AM", TEN),
        ("%Y-%m-%d %H:%M %z", "2024-01-09 11:00 +0100", TEN),
        ("%Y%m%d", 20240109, TEN.replace(hour=0)),
        ("%d.%m.%Y", "09.01.2024 and more", None),
    ],
)
def test_a_declared_format_reads_that_and_nothing_else(
    form: str, value: str | float, expected: datetime | None
) -> None:
    """An epoch counts in its unit; a pattern is the whole of the text."""
    assert instants(pa.array([value]), "UTC", form).to_pylist() == [expected]


def test_a_pattern_without_an_offset_is_read_in_the_zone() -> None:
    """As an ISO time without one is."""
    assert read("09.01.2024 11:00", "%d.%m.%Y %H:%M", "Europe/Vienna") == TEN


@pytest.mark.parametrize("form", ["iso", "epoch_s", "%d.%m.%Y"])
def test_typed_instants_need_no_format(form: str) -> None:
    """A column of timestamps or days is clear, whatever the texts of the source look like."""
    column = pa.array([datetime(2024, 1, 9, 10)], pa.timestamp("ms"))  # noqa: DTZ001
    assert instants(column, "UTC", form).to_pylist() == [TEN]


@given(
    st.lists(
        st.one_of(
            st.datetimes(datetime(1800, 1, 3), datetime(2199, 12, 29)).map(str),  # noqa: DTZ001
            st.sampled_from([*UNCLEAR, *(line.split("  ")[0] for line in SPELLINGS.split("\n"))]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_a_text_says_does_not_depend_on_its_neighbours(values: list[str]) -> None:
    """A column is read as each of its values alone."""
    together = instants(pa.array(values), "Europe/Vienna").to_pylist()
    assert together == [read(text, zone="Europe/Vienna") for text in values]


@pytest.mark.parametrize("form", ["iso", "epoch_us", "%d.%m.%y", "%Y%j", "%-d %B %Y %H:%M:%S.%f%z"])
def test_a_format_that_says_a_day_is_accepted(form: str) -> None:
    """By its unit, or with year, month and day."""
    assert TypeAdapter(TimestampFormat).validate_python(form) == form


@pytest.mark.parametrize("form", ["", "ISO", "epoch", "%Y-%m", "%H:%M", "%Q", "%d.%m.%Y%", "d.m.Y"])
def test_a_format_that_says_none_is_refused(form: str) -> None:
    """The error lists what there is, with an example of a pattern."""
    with pytest.raises(ValidationError, match=r"iso, epoch_s, epoch_ms, epoch_us, or a pattern"):
        TypeAdapter(TimestampFormat).validate_python(form)
