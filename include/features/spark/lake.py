"""The lake's tables as DataFrames: the same rows of the same version that `Lake.read` returns."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.pandas.types import from_arrow_schema

from include.errors import IntegrityError, IsolationError
from include.features.engine import required_columns
from include.features.spark.frames import compute_frames
from include.features.views import FeatureService
from include.handoffs import TableVersion
from include.storage.canonical import REPLACED, SCHEMAS
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, lake_table


def compute_from_lake(
    tenant: TenantRef,
    timezone: str,
    service: FeatureService,
    spine: DataFrame,
    *,
    events: TableVersion,
    attributes: TableVersion,
    known_at: datetime,
    lake: Lake,
    buckets: int | None = None,
) -> DataFrame:
    """`compute_frames` over the rows that `inputs.read_pinned` reads with the same arguments.

    Spark reads the data files of the pinned versions; the driver reads the tables' logs only. The
    lake's folder must be the same on every executor.

    Raises:
        IntegrityError: a table version is gone.
    """
    foreign = {table.tenant for table in (events, attributes)} - {tenant.id}
    if foreign:
        raise IsolationError(f"tables of {', '.join(foreign)} were pinned for {tenant.id}")
    session, needed = spine.sparkSession, required_columns(service)

    def rows(table: str, version: int, columns: tuple[str, ...]) -> DataFrame:
        found = read(session, lake, tenant, table, version, known_at)
        return found.select(*columns, *(name for name in (REPLACED,) if name in found.columns))

    facts = needed.attributes
    return compute_frames(
        service,
        spine,
        rows("events", events.version, needed.events),
        rows("attributes", attributes.version, facts) if facts else None,
        timezone,
        buckets=buckets,
    )


def read(
    session: SparkSession,
    lake: Lake,
    tenant: TenantRef,
    table: str,
    version: int,
    known_at: datetime,
) -> DataFrame:
    """Rows of a pinned version known at an instant, each `(source, event_id)` as it first arrived.

    Where the table has versions of events, all of them, with `replaced_timestamp`.

    Args:
        version: -1 is no rows.

    Raises:
        IntegrityError: the version is gone, as retention has erased rows it held.
    """
    folder = lake.root / lake_table(tenant, table)
    files = [folder / name for name in getattr(lake.dataset(tenant, table, version), "files", [])]
    gone = [path for path in files if not path.is_file()]
    if gone:
        raise IntegrityError(
            f"version {version} of {tenant.id}'s {table} cannot be read any more: {gone[0].name} "
            f"and {len(gone) - 1} other files are gone; use the newest version"
        )
    schema = from_arrow_schema(SCHEMAS[table])
    if not files:
        return session.createDataFrame([], schema)
    # the schema is given, so that no partition is taken for a number or a date
    reader = session.read.schema(schema).option("basePath", str(folder))
    stored = reader.parquet(*(str(path) for path in files))
    known = stored.where(F.col("created_timestamp") <= F.lit(known_at))
    arrivals = Window.partitionBy("source", "event_id").orderBy("created_timestamp")
    numbered = known.withColumn("_arrival", F.row_number().over(arrivals))
    sources = lake.versioned(tenant, table, version)
    if not sources:
        return numbered.where("_arrival = 1")
    corrected = F.col("source").isin(*sources)
    next_known = F.when(corrected, F.lead("created_timestamp").over(arrivals))
    return numbered.withColumn(REPLACED, next_known).where(corrected | (F.col("_arrival") == 1))
