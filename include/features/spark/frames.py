"""Features of DataFrames: which rows meet in which bucket, one shuffle per set of join keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from include.errors import ConfigError, UnknownNameError
from include.features.engine import (
    checked_attributes,
    checked_events,
    finished,
    required_columns,
    tenant_zone,
)
from include.features.spark import kernels
from include.features.spark.kernels import Carried, Kernel
from include.features.spark.session import local_session
from include.features.spine import AS_OF, Spine
from include.features.views import FeatureService, FeatureView, columns_read
from include.storage.canonical import REPLACED

_TYPES: Final = {"integer": LongType(), "number": DoubleType(), "text": StringType()}
_ROW: Final = "_row"


def compute(
    service: FeatureService,
    spine: Spine,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
) -> pa.Table:
    """See `Engine.compute`; in the active Spark session, or else in `local_session()`."""
    spine.check_serves(service)
    session = local_session()
    numbers = pa.array(range(spine.table.num_rows), pa.int64())
    facts = checked_attributes(service, attributes)
    frame = compute_frames(
        service,
        session.createDataFrame(spine.table.append_column(_ROW, numbers)),
        session.createDataFrame(checked_events(service, events)),
        session.createDataFrame(facts) if facts.num_columns else None,
        timezone,
    )
    computed = frame.select(_ROW, *service.columns).toArrow().sort_by(_ROW).combine_chunks()
    arrays = {name: computed[name] for name in service.columns}
    return finished(service, spine, arrays)


def compute_frames(
    service: FeatureService,
    spine: DataFrame,
    events: DataFrame,
    attributes: DataFrame | None,
    timezone: str,
    *,
    buckets: int | None = None,
) -> DataFrame:
    """The spine with `service.columns` behind its own, every row once, in no particular order.

    Nothing is collected, and nothing is computed before the result is used. The events and spine
    rows of a bucket must fit into the memory of one Python worker. A view without join keys, of the
    whole tenant, has a single bucket.

    Args:
        spine: join keys, `as_of`, and whatever else is to stay with the rows.
        events: one tenant's canonical events, each (source, event_id) once, of which
            `required_columns` are enough; or all versions of them, with `replaced_timestamp`.
        attributes: likewise; None where the service reads none.
        buckets: into how many the entities are hashed; by default as many as the session has
            shuffle partitions.

    Raises:
        ConfigError: the spine lacks a join key or has a column that is called like a feature, the
            time zone is none, or a column or table that the service reads is missing.
    """
    tenant_zone(timezone)
    _check(service, spine)
    count = buckets or int(str(spine.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    needed = required_columns(service)
    history = _in_streams(_select(events, needed.events, "the events"), service.views)
    rows = spine
    if needed.attributes:
        if attributes is None:
            raise ConfigError(f"FeatureService {service.name!r} reads attributes; none were given")
        facts = _select(attributes, needed.attributes, "the attributes")
        for some in _by_entity(_read(service.views)):
            kernel = kernels.look_up(service, some, kernels.EVENT_INSTANTS)
            history = _with_facts(history, "event_id", facts, some, kernel, count)
        for some in _by_entity(_asked(service.views)):
            kernel = kernels.look_up(service, some, kernels.SPINE_INSTANTS)
            rows = _with_facts(rows, AS_OF, facts, some, kernel, count)
    for views in _groups(service):
        part = FeatureService(service.name, tuple(views))
        keys, carried = sorted(part.join_keys), _read(views)
        names = (*required_columns(part).events, *(lookup.column for lookup in carried))
        those = _in_streams(_select(history, names, "the events"), views)
        kernel = kernels.features(part, _asked(views), carried, timezone)
        for key in keys:
            those = those.where(F.col(key).isNotNull())
        bucket = _bucket(keys, count)
        fields = [StructField(name, _TYPES[kind]) for name, kind in part.columns.items()]
        rows = _cogrouped(rows, bucket, those, bucket, kernel, fields)
    return rows.select(*spine.columns, *service.columns)


def _groups(service: FeatureService) -> list[list[FeatureView]]:
    """The views whose rows meet in the same buckets."""
    groups: dict[frozenset[str], list[FeatureView]] = defaultdict(list)
    for view in service.views:
        groups[frozenset(view.entity.join_keys)].append(view)
    return list(groups.values())


def _read(views: Sequence[FeatureView]) -> list[Carried]:
    """The attributes that the views look up for events."""
    columns = [column for view in views for column in columns_read(view)]
    return _carried("event", ((c.entity, c.field) for c in columns if c.origin == "attribute"))


def _asked(views: Sequence[FeatureView]) -> list[Carried]:
    """The attributes that are features of the views."""
    lookups = [lookup for view in views for lookup in view.attributes]
    return _carried("spine", ((lookup.entity_kind, lookup.name) for lookup in lookups))


def _carried(by: str, attributes: Iterable[tuple[str, str]]) -> list[Carried]:
    """Spark's column names know no case and attributes' names do, hence the hex digits."""
    return [
        Carried(entity, name, f"_{by}_{entity}_{name.encode().hex()}")
        for entity, name in sorted(set(attributes))
    ]


def _by_entity(carried: list[Carried]) -> list[list[Carried]]:
    entities = sorted({lookup.entity for lookup in carried})
    return [[lookup for lookup in carried if lookup.entity == entity] for entity in entities]


def _in_streams(events: DataFrame, views: Sequence[FeatureView]) -> DataFrame:
    """The events that a stream of the views may have."""
    names = sorted({name for view in views if view.stream for name in view.stream.events})
    return events.where(F.col("event").isin(names) if names else F.lit(False))


def _with_facts(
    rows: DataFrame,
    spread: str,
    facts: DataFrame,
    carried: list[Carried],
    kernel: Kernel,
    count: int,
) -> DataFrame:
    """Rows with attributes of one entity kind.

    Rows without such an entity find nothing wherever they are, so the column `spread` decides.
    """
    entity, key = carried[0].entity, carried[0].key
    named = F.col("name").isin([lookup.name for lookup in carried])
    facts = facts.where((F.col("entity") == entity) & named)
    nobody = F.col(key).isNull()
    bucket = F.when(nobody, _bucket([spread], count)).otherwise(_bucket([key], count))
    fields = [StructField(lookup.column, StringType()) for lookup in carried]
    return _cogrouped(rows, bucket, facts, _bucket(["entity_id"], count), kernel, fields)


def _bucket(columns: list[str], count: int) -> Column:
    """The bucket of a row; without columns always the same."""
    hashed = F.xxhash64(*columns) if columns else F.lit(0)
    return F.pmod(hashed, F.lit(count))


def _cogrouped(
    left: DataFrame,
    left_bucket: Column,
    right: DataFrame,
    right_bucket: Column,
    kernel: Kernel,
    fields: list[StructField],
) -> DataFrame:
    """The left rows with the columns that the kernel appends to them."""
    schema = StructType([*left.schema.fields, *fields])
    groups = left.groupBy(left_bucket).cogroup(right.groupBy(right_bucket))
    return groups.applyInArrow(kernel, schema)


def _select(frame: DataFrame, names: Sequence[str], where: str) -> DataFrame:
    """These columns and, where they are there, `tenant_id`, so that kernels refuse rows of two
    tenants, and when events were replaced."""
    for name in names:
        if name not in frame.columns:
            raise UnknownNameError("column", name, frame.columns, where)
    also = [name for name in ("tenant_id", REPLACED) if name in frame.columns]
    return frame.select(*dict.fromkeys((*names, *also)))


def _check(service: FeatureService, spine: DataFrame) -> None:
    missing = [name for name in (*service.join_keys, AS_OF) if name not in spine.columns]
    if missing:
        raise ConfigError(
            f"FeatureService {service.name!r} needs {', '.join(missing)} on the spine, which has "
            f"{', '.join(spine.columns)}"
        )
    taken = [name for name in spine.columns if name in service.columns]
    if taken:
        raise ConfigError(f"the spine already has {', '.join(taken)}; rename or drop it")
