"""Spellings of numbers and of no value, as the connector declares them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.columns import Spelling, numbers
from include.tenants.connectors import FileConnector

#: decimal, thousands, text, the number
TABLE = """
    .  -  9.5         9.5
    .  ,  1,234.50    1234.5
    .  ,  1,234,567   1234567
    .  ,  1234.50     1234.5
    .  ,  1,23        none
    .  ,  9,50        none
    .  -  1,234.50    none
    ,  -  9,50        9.5
    ,  -  9.50        9.5
    ,  .  1.234,50    1234.5
    ,  .  1.234       1234
    ,  .  1.23        none
    ,  .  -1.234,5    -1234.5
    ,  '  1'234,5     1234.5
    .  _  1_000       1000
    .  -  1_000       none
    .  -  $9.50       none
    .  -  (9.50)      none
    .  -  9.50-       none
    ,  -  1,5e3       1500
"""


@pytest.mark.parametrize("line", TABLE.strip().splitlines(), ids=str.strip)
def test_a_number_is_read_as_the_source_writes_it(line: str) -> None:
    """Thousands stand in groups of three; anything else is no number."""
    decimal, thousands, text, value = line.split()
    spelling = Spelling(decimal, None if thousands == "-" else thousands)
    expected = None if value == "none" else float(value)
    assert numbers(pa.array([text]), spelling).to_pylist() == [expected]


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u202f"])
def test_thousands_may_stand_apart_by_any_space(space: str) -> None:
    """Also by those at which no line is broken, as exports of spreadsheets have them."""
    assert numbers(pa.array([f"1{space}234,5"]), Spelling(",", " ")).to_pylist() == [1234.5]


@given(
    st.floats(-1e12, 1e12).map(lambda value: round(value, 3)),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", None), (",", None)]),
)
def test_what_is_written_is_read_back(value: float, marks: tuple[str, str | None]) -> None:
    """With and without groups of thousands."""
    decimal, thousands = marks
    whole, _, fraction = f"{value:,.3f}".partition(".")
    text = f"{whole.replace(',', thousands or '')}{decimal}{fraction}"
    assert numbers(pa.array([text]), Spelling(decimal, thousands)).to_pylist() == [value]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"decimal": ",", "thousands": ","}, "`decimal` and `thousands` are both ','"),
        ({"decimal": ";"}, r"Input should be '.' or ','"),
        ({"null_values": [""]}, "at least 1 character"),
    ],
)
def test_spellings_that_contradict_themselves_are_refused(
    told: dict[str, Any], message: str
) -> None:
    """When the tenant's file is read."""
    with pytest.raises(ValueError, match=message):
        FileConnector.model_validate({"type": "file", "path": "a.csv", "format": "csv", **told})
