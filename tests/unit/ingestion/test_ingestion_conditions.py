"""Conditions: the same rows are meant, whatever type a format gives a column."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.handoffs import Interval
from include.ingestion.conditions import meant
from include.ingestion.grants import grants_of
from include.ingestion.reading import read_source
from include.tenants.config import Scalar, Source
from tests.unit.ingestion.sources import no_database

INTERVAL = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(min_size=1)
)


def kept(column: pa.Array, wanted: Scalar | tuple[Scalar, ...]) -> list[Any]:
    """Values of the column that the condition keeps."""
    return list(column.filter(meant(pa.table({"c": column}), {"c": wanted})).to_pylist())


@pytest.mark.parametrize(
    ("wanted", "typed", "spelled"),
    [
        (7, pa.array([7, 8, None]), ["7", "8", None]),
        (7, pa.array([7.0, 7.5, None]), ["7", "7.5", None]),
        ((7, 9), pa.array([9, 8, 7]), ["9", "8", "7"]),
        (1.5, pa.array([1.5, 1.0]), ["1.50", "1.0"]),
        (True, pa.array([True, False, None]), ["True", "false", None]),
        ("a", pa.array(["a", "A", "a "]), ["a", "A", "a "]),
        (2**53 + 1, pa.array([2**53, 2**53 + 1]), [str(2**53), str(2**53 + 1)]),
    ],
)
def test_a_value_means_the_same_typed_and_spelled(
    wanted: Any, typed: pa.Array, spelled: list[str | None]
) -> None:
    """Parquet and Postgres have types, CSV has text: the same rows are kept."""
    text = pa.table({"c": pa.array(spelled, pa.string())})
    chosen = meant(pa.table({"c": typed}), {"c": wanted}).to_pylist()
    assert chosen == meant(text, {"c": wanted}).to_pylist()
    assert 0 < sum(chosen) < len(typed)


@given(SCALARS)
def test_nothing_is_never_meant(wanted: Scalar) -> None:
    """Null equals no value of a condition."""
    assert kept(pa.nulls(2, pa.string()), wanted) == []


def test_a_number_finds_its_other_spellings_and_a_text_does_not() -> None:
    """An id with leading zeros is found by its text or by its number."""
    column = pa.array(["007", "7", "7.0"])
    assert kept(column, 7) == ["007", "7", "7.0"]
    assert kept(column, "7") == ["7"]


def test_a_boolean_is_no_number() -> None:
    """`true` does not mean 1."""
    assert kept(pa.array([1, 0]), True) == []


@pytest.mark.parametrize(
    "where",
    [
        {"n": 2},
        {"n": (1, 3)},
        {"s": "b"},
        {"s": ("a", "c")},
        {"f": 1.5},
        {"b": False},
        {"f": "2.5"},
    ],
)
def test_files_of_both_kinds_keep_the_same_rows(
    tmp_path: Path, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed down to Parquet or applied to text, a condition keeps the same ids."""
    monkeypatch.setenv("TENANTRY_SOURCES", f"{{default: {{roots: ['{tmp_path}']}}}}")
    table = pa.table(
        {
            "id": ["x", "y", "z"],
            "at": ["2024-01-01T12:00:00"] * 3,
            "n": [1, 2, 3],
            "s": ["a", "b", "c"],
            "f": [1.5, 2.5, 1.5],
            "b": [True, False, True],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    pc_csv.write_csv(table, tmp_path / "a.csv")
    found = {}
    for kind in ("csv", "parquet"):
        connector = {"type": "file", "path": str(tmp_path / f"a.{kind}"), "format": kind}
        source = Source.model_validate(
            {
                "name": "pos",
                "connector": connector,
                "where": where,
                "events": {
                    "event": "Order Completed",
                    "event_id": ["id"],
                    "event_timestamp": "at",
                    "user_id": "id",
                },
            }
        )
        parts = read_source(source, INTERVAL, grants_of("shop"), no_database)
        found[kind] = [value for part in parts for value in part.table["id"].to_pylist()]
    assert found["csv"] == found["parquet"]
    assert 0 < len(found["csv"]) < 3


def test_no_value_selects_no_row() -> None:
    """A tenant's file cannot say so; whoever builds a source by hand gets no row."""
    assert kept(pa.array(["a", "b", None]), ()) == []
