"""The Spark engine gives what the other engines give, whatever the session and the buckets are."""

from __future__ import annotations

import pyarrow as pa
import pytest
import spark_rows
from pyspark.sql import SparkSession

from include.errors import ConfigError, IsolationError, UnknownNameError
from include.features import in_memory, spark, vectorized
from include.features.spine import Spine
from include.features.views import FeatureService
from include.storage.canonical import ATTRIBUTES, EVENTS

pytestmark = pytest.mark.integration

SPINE = spark_rows.spine(1, 60)
EVENTS_OF_ACME = spark_rows.events(2, 400)
FACTS = spark_rows.attributes(3, 150)
INPUTS = (SPINE, EVENTS_OF_ACME, FACTS, "Europe/Vienna")


def _frames(session: SparkSession, **spine_columns: pa.Array) -> tuple[object, ...]:
    table = SPINE.table
    for name, values in spine_columns.items():
        table = table.append_column(name, values)
    return tuple(session.createDataFrame(one) for one in (table, EVENTS_OF_ACME, FACTS))


def test_every_function_equals_the_reference() -> None:
    """Spark's features of a hard history are the reference's: types, nulls, order, metadata."""
    found = spark.compute(spark_rows.EVERYTHING, *INPUTS)
    wanted = in_memory.compute(spark_rows.EVERYTHING, *INPUTS)
    assert found.schema.equals(wanted.schema, check_metadata=True)
    for name in wanted.column_names:
        values = wanted[name].to_pylist()
        unused = name == "users__share_item_tier_7d_3"
        assert unused or set(values) != {None}, f"{name} compares nothing"
        if pa.types.is_floating(wanted[name].type):
            values = [None if v is None else pytest.approx(v, rel=1e-9) for v in values]
        assert found[name].to_pylist() == values, name


def test_the_values_are_the_fast_engines_to_the_bit() -> None:
    """How entities are spread over buckets changes no bit of any value."""
    found = spark.compute(spark_rows.EVERYTHING, *INPUTS)
    wanted = vectorized.compute(spark_rows.EVERYTHING, *INPUTS)
    assert [n for n in wanted.column_names if not found[n].equals(wanted[n])] == []


def test_the_session_decides_nothing_about_values() -> None:
    """Another time zone, re-planning and more buckets than entities give the same values."""
    session = spark.local_session()
    number = pa.array(range(SPINE.table.num_rows), pa.int64())
    settings = {
        "spark.sql.session.timeZone": "Asia/Kathmandu",
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.shuffle.partitions": "3",
    }
    before = {name: session.conf.get(name) for name in settings}
    for name, value in settings.items():
        session.conf.set(name, value)
    try:
        frames = _frames(session, label=number)
        answer = spark.compute_frames(spark_rows.EVERYTHING, *frames, "Europe/Vienna", buckets=40)
        found = answer.toArrow().sort_by("label")
    finally:
        for name, value in before.items():
            session.conf.set(name, str(value))
    wanted = vectorized.compute(spark_rows.EVERYTHING, *INPUTS)
    assert found["label"].to_pylist() == number.to_pylist()
    assert found.select(wanted.column_names).cast(wanted.schema).equals(wanted)


def test_a_spine_made_of_the_events_themselves() -> None:
    """Spine and events may come from the same table: nothing is mistaken for the other's."""
    session = spark.local_session()
    events = session.createDataFrame(EVENTS_OF_ACME.slice(1))
    spine = events.selectExpr("user_id", "event_timestamp AS as_of", "event_id", "source")
    service = FeatureService("one", (spark_rows.OF_USERS,))
    facts = session.createDataFrame(FACTS)
    found = spark.compute_frames(service, spine, events, facts, "UTC").toArrow()
    rows = EVENTS_OF_ACME.slice(1).select(["user_id", "event_timestamp"])
    wanted = in_memory.compute(
        service, Spine(rows.rename_columns(["user_id", "as_of"])), EVENTS_OF_ACME, FACTS, "UTC"
    )
    by_id = dict(zip(found["event_id"].to_pylist(), found.to_pylist(), strict=True))
    for row, event_id in zip(
        wanted.to_pylist(), EVENTS_OF_ACME["event_id"][1:].to_pylist(), strict=True
    ):
        assert by_id[event_id]["users__count_7d"] == row["users__count_7d"]
        assert by_id[event_id]["users__age"] == row["users__age"]


@pytest.mark.parametrize("rows", [0, 60])
def test_without_history_every_spine_row_still_comes_back(rows: int) -> None:
    """Empty tables give the same nulls and zeros as on the other engines, for every spine row."""
    inputs = (
        Spine(SPINE.table.slice(0, rows)),
        EVENTS.empty_table(),
        ATTRIBUTES.empty_table(),
        "UTC",
    )
    found = spark.compute(spark_rows.EVERYTHING, *inputs)
    assert found.num_rows == rows
    assert found.equals(vectorized.compute(spark_rows.EVERYTHING, *inputs))


def test_rows_of_two_tenants_are_refused() -> None:
    """Whoever passes the events of two tenants gets an error, not a mixture."""
    both = pa.concat_tables([EVENTS_OF_ACME, spark_rows.events(4, 150, "bit")])
    with pytest.raises(IsolationError):
        spark.compute(spark_rows.EVERYTHING, SPINE, both, FACTS, "UTC")
    session = spark.local_session()
    spine, _, facts = _frames(session)
    answer = spark.compute_frames(
        spark_rows.EVERYTHING, spine, session.createDataFrame(both), facts, "UTC"
    )
    with pytest.raises(Exception, match="IsolationError: features are computed for one tenant"):
        answer.count()


def test_mistakes_are_told_before_anything_runs() -> None:
    """A missing key, column or table, or a name that is taken, is told at once."""
    session = spark.local_session()
    spine, events, facts = _frames(session)
    service = spark_rows.EVERYTHING
    with pytest.raises(ConfigError, match="needs user_id on the spine"):
        spark.compute_frames(service, spine.drop("user_id"), events, facts, "UTC")
    with pytest.raises(UnknownNameError, match="unknown column 'amount' in the events; known:"):
        spark.compute_frames(service, spine, events.drop("amount"), facts, "UTC")
    with pytest.raises(ConfigError, match="reads attributes; none were given"):
        spark.compute_frames(service, spine, events, None, "UTC")
    named = spine.withColumnRenamed("account_id", "items__trend_7d")
    with pytest.raises(ConfigError, match="the spine already has items__trend_7d"):
        spark.compute_frames(
            FeatureService("some", (spark_rows.OF_ITEMS,)), named, events, None, "UTC"
        )
