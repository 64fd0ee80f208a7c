"""Slices: rows on their way to a table, and what of them a reader sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.handoffs import Interval
from include.storage.slices import Spool, first_arrivals, partitions, predicate, same_rows

SCHEMA = pa.schema([("source", pa.string()), ("event_id", pa.string()), ("n", pa.int64())])
KEYS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=12)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1))  # noqa: DTZ001


def rows(keys: list[tuple[str, str]]) -> pa.Table:
    """One row for each source and id, numbered."""
    return pa.Table.from_pylist(
        [{"source": s, "event_id": e, "n": n} for n, (s, e) in enumerate(keys)], SCHEMA
    )


@given(KEYS)
def test_each_key_is_seen_once_at_its_first_place(keys: list[tuple[str, str]]) -> None:
    """Ids are compared within their source, and the order of the rows stays."""
    expected = [n for n, key in enumerate(keys) if key not in keys[:n]]
    assert first_arrivals(rows(keys))["n"].to_pylist() == expected


@given(st.lists(KEYS, max_size=5), st.integers(0, 20))
def test_a_spool_gives_back_what_was_written(parts: list[list[tuple[str, str]]], few: int) -> None:
    """The rows come back in order, whether they stayed in memory or went through a file."""
    with Spool(SCHEMA, few) as spool:
        for part in parts:
            spool.write(rows(part))
        found = pa.Table.from_batches(spool.batches(), SCHEMA)
        assert spool.in_memory == (sum(map(len, parts)) <= few)
    assert found.to_pylist() == [row for part in parts for row in rows(part).to_pylist()]


def test_a_spool_leaves_no_file_behind() -> None:
    """Its folder goes with it."""
    with Spool(SCHEMA, 1) as spool:
        spool.write(rows([("a", "x"), ("a", "y")]))
        folder = spool.folder
        assert spool.file().exists()
    assert not folder.exists()


@pytest.mark.parametrize("few", [0, 100])
def test_rows_are_the_same_in_any_order_but_not_in_any_number(few: int) -> None:
    """Two bags of rows are compared, not two lists, and not two sets."""
    keys = [("a", "x"), ("a", "y"), ("b", "x")]
    with Spool(SCHEMA, few) as spool:
        spool.write(rows(keys))
        assert same_rows(ds.dataset(rows(keys).take([2, 0, 1])), spool)
        assert not same_rows(ds.dataset(rows(keys).take([0, 0, 1])), spool)
        assert not same_rows(ds.dataset(rows(keys).take([0, 1])), spool)


@given(INSTANTS, st.timedeltas(timedelta(seconds=1), timedelta(days=900)), st.floats(0, 0.999))
def test_every_instant_of_a_slice_lies_in_its_partitions(
    start: datetime, length: timedelta, part: float
) -> None:
    """No row of the slice is in a file that the filter leaves out."""
    interval = Interval(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)
    months = partitions("pos", interval)[1][2]
    assert f"{interval.start + part * length:%Y-%m}" in months


def test_a_source_that_is_no_name_never_reaches_a_predicate() -> None:
    """What Delta reads as SQL holds nothing but names and instants."""
    interval = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="must match"):
        predicate("pos' OR '1'='1", interval)
