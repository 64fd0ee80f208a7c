"""Collects the material that is searched for target leakage: rows, events, fresh rows, logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IntegrityError
from include.features import inputs
from include.features.columns import parse_column
from include.features.conditions import present
from include.features.declarations import ACCOUNT, ITEM, USER, Aggregation, EventStream
from include.features.fingerprints import digest
from include.features.inputs import Inputs
from include.features.origins import EVENT, TIMING, by_origin, origins
from include.features.request_columns import with_request
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.handoffs import Scored
from include.registry.suspicions import Suspicion
from include.storage.canonical import TIMESTAMP
from include.storage.lake import Lake
from include.tenants.config import Source, TenantConfig
from include.training import leakage
from include.training.dataset import Dataset, Pinned
from include.training.evaluation import Contender
from include.training.leakage import Fresh, Logged, Looks, SuspectedOrigin
from include.training.leakage.power import Floats
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase
from include.use_cases.spines import event_columns, labels

#: Logs that are computed again, the newest whose outcomes are known, and rows of each.
LOGS, LOGGED_ROWS = 3, 2_000
#: How far back final events are looked at, in horizons.
FINAL: Final = 3
_KINDS: Final = {one.join_keys[0]: one for one in (USER, ACCOUNT, ITEM)}
_MEASURES: Final = ("amount", "quantity")


@dataclass(frozen=True)
class Material:
    """The data that one training read."""

    use_case: UseCase
    data: Dataset
    sources: Sequence[Pinned]
    as_of: datetime
    lake: Lake


def suspect(
    material: Material,
    contenders: Sequence[Contender],
    recent: pa.Table | None,
    logs: Sequence[Scored] = (),
) -> list[dict[str, Any]]:
    """Every suspicion of the training, as the evaluation keeps them (`registry.suspicions`)."""
    suspicions = []
    for suspected in look(material, recent, logs):
        models = tuple(c.key for c in contenders if _reads(material.use_case, c, suspected.columns))
        mappings = {mapping_of(source.tenant, suspected.origin) for source in material.sources}
        suspicion = Suspicion(
            suspected.origin, suspected.columns, suspected.reasons, tuple(sorted(mappings)), models
        )
        suspicions += [asdict(suspicion)] if models else []
    return suspicions


def look(
    material: Material, recent: pa.Table | None, logs: Sequence[Scored] = ()
) -> tuple[SuspectedOrigin, ...]:
    """Every origin that looks like the outcome.

    Args:
        recent: features of the rows that are to be scored next; None where there are none.
        logs: earlier scorings, whose vectors are compared with those computed now.
    """
    data = material.data
    parts = [rows for rows in (data.training, data.holdout) if len(rows)]
    if not parts or material.use_case.lists:
        return ()
    rows = leakage.sampled(LabelledRows.stacked(parts))
    looks = Looks(recent, _fresh(material, rows), _logged(material, logs))
    return leakage.find(material.use_case, rows, looks)


def mapping_of(tenant: TenantConfig, origin: str) -> str:
    """Digest of how the tenant's sources map an origin; any change of the mapping changes it."""
    return digest(
        [origin, *(part for source in tenant.sources for part in _read_as(source, origin))]
    )


def _read_as(source: Source, origin: str) -> Iterator[list[Any]]:
    events, facts = source.events, source.attributes
    where: list[Any] = [source.name, source.connector.model_dump(mode="json")]
    where.append({name: str(value) for name, value in source.conditions.items()})
    if expressions := dict(source.expressions()):
        where.append(expressions)
    if events is not None:
        how = events.model_dump(mode="json")
        name = "properties" if origin.startswith("properties.") else origin
        read: dict[str, Any] = {
            key: how[key] for key in ("event_timestamp", "arrival", "event", "event_column")
        }
        if name == "properties":
            read["column"] = events.properties.get(origin.partition(".")[2])
        elif name in how:
            read["column"] = how[name]
        if name in (TIMING, *how) or origin.startswith(EVENT) or name == "properties":
            yield [*where, read]
    if facts is not None and parse_kind(origin) == facts.entity:
        column = facts.names.get(origin.partition(".")[2])
        if column is not None:
            mapping = facts.model_dump(mode="json")
            yield [*where, column, mapping["valid_from"], mapping["arrival"]]


def parse_kind(origin: str) -> str:
    """The entity kind of an attribute's origin; empty for other origins."""
    return origin.partition(".")[0] if "." in origin and " " not in origin else ""


def _reads(use_case: UseCase, contender: Contender, columns: Sequence[str]) -> bool:
    if contender.rung != "baseline":
        return True
    for rule in use_case.baselines:
        if rule.name == contender.name:
            return bool({rule.column, rule.then, *rule.columns} & set(columns))
    return False


def _fresh(material: Material, rows: LabelledRows) -> Mapping[str, Sequence[Fresh]]:
    """The measures of each row's young and final events, by origin."""
    use_case = material.use_case
    if use_case.items or use_case.request or use_case.judged[0] not in _KINDS:
        return {}
    read = origins(use_case.features)
    measures = {
        origin: _stream(use_case, names)
        for origin, names in by_origin(read).items()
        if origin in _MEASURES or origin.startswith("properties.")
        if origin != use_case.label.value and "number" in parse_column(origin, "a probe").readings
    }
    if not measures:
        return {}
    views = tuple(
        _probe(f"probe_{number}", use_case, stream, origin)
        for number, (origin, stream) in enumerate(measures.items())
    )
    service = FeatureService("probe", views)
    values = np.full((len(rows), len(service.columns)), np.nan)
    for pinned in material.sources:
        mine = rows.tenant == pinned.tenant.id
        if mine.any():
            prefix = len(f"{pinned.tenant.id}/")
            spine = Spine(
                pa.table(
                    {
                        use_case.judged[0]: [one[prefix:] for one in rows.entity[mine].tolist()],
                        "as_of": pa.array(rows.as_of[mine], TIMESTAMP),
                    }
                )
            )
            table = _inputs(material, pinned, service, ()).compute(service, spine)
            values[mine] = np.column_stack(
                [table[name].cast(pa.float64()).to_numpy() for name in service.columns]
            )
    return {
        origin: _mean_and_presence(origin, values[:, 6 * number : 6 * number + 6])
        for number, origin in enumerate(measures)
    }


def _stream(use_case: UseCase, names: Sequence[str]) -> EventStream:
    for view in use_case.features.views:
        if view.stream is not None and any(name in view.columns for name in names):
            return EventStream(view.stream.events, view.stream.where)
    return EventStream(use_case.events)


def _probe(name: str, use_case: UseCase, stream: EventStream, origin: str) -> FeatureView:
    horizon = use_case.label.horizon
    windows = (horizon, FINAL * horizon)
    given = (present(origin),)
    parts = (
        Aggregation("sum", origin, windows),
        Aggregation("count", None, windows, given, "given"),
        Aggregation("count", None, windows),
    )
    return FeatureView(name, _KINDS[use_case.judged[0]], stream, parts, owner="platform")


def _mean_and_presence(origin: str, parts: Floats) -> tuple[Fresh, Fresh]:
    """The mean of a measure and its share of events that have it, of young and of final events.

    Args:
        parts: per row, sum, events with the measure and all events, each over one and all horizons.
    """
    young, whole = parts[:, ::2], parts[:, 1::2]
    answers = []
    for total, given, events in (young.T, (whole - young).T):
        with np.errstate(all="ignore"):
            mean = np.where(given > 0, total / given, np.nan)
            answers.append((mean, np.where(events > 0, given / events, np.nan)))
    (mean, share), (final_mean, final_share) = answers
    return (
        Fresh(f"the mean {origin}", mean, final_mean),
        Fresh(f"whether {origin} is there", share, final_share),
    )


def _logged(material: Material, logs: Sequence[Scored]) -> Logged | None:
    """Logged vectors beside those computed for the same rows now; None where none may differ."""
    use_case, windows = material.use_case, material.data.windows
    if len(material.sources) != 1:
        return None
    (pinned,) = material.sources
    ready = [
        log
        for log in sorted(logs, key=lambda log: log.as_of)
        if log.feature_fingerprint == use_case.fingerprint
        and log.as_of + use_case.label.horizon <= windows.known_until
        and _may_differ(material.lake, pinned, log)
    ][-LOGS:]
    tables = []
    for log in ready:
        try:
            vectors = material.lake.get_table(pinned.tenant.ref, log.features)
        except IntegrityError:  # retention took it, or its features were built anew
            continue
        if vectors.num_rows:
            step = -(-vectors.num_rows // LOGGED_ROWS)
            chosen = pa.array(np.arange(0, vectors.num_rows, step))
            tables.append(vectors.take(chosen).replace_schema_metadata(None))
    if not tables:
        return None
    then = pa.concat_tables(tables, promote_options="default")
    spine = then.select([*use_case.keys, "as_of"])
    read = _inputs(material, pinned, use_case.features, event_columns(use_case))
    if use_case.request:  # an event that is gone is no row
        still_there = pc.is_in(
            spine[use_case.entity], value_set=read.events[use_case.entity].combine_chunks()
        )
        then, spine = then.filter(still_there), spine.filter(still_there)
    now = read.compute(use_case.features, Spine(spine))
    if use_case.request:
        now = with_request(use_case.request, now, read.events, read.timezone)
    label = labels(use_case, read.events, spine, windows.known_until).to_numpy()
    entity = np.array(spine[use_case.judged[0]].to_pylist(), dtype=np.str_)
    return Logged(then, now, label, np.unique(entity, return_inverse=True)[1])


def _may_differ(lake: Lake, pinned: Pinned, log: Scored) -> bool:
    """Whether the tables have changed, since the log, in rows that were known at its instant."""
    return not all(
        lake.same_until(pinned.tenant.ref, now.table, then.version, now.version, log.as_of)
        for then, now in ((log.events, pinned.events), (log.attributes, pinned.attributes))
    )


def _inputs(
    material: Material, pinned: Pinned, service: FeatureService, also: Sequence[str]
) -> Inputs:
    return inputs.read_pinned(
        pinned.tenant.ref,
        pinned.tenant.timezone,
        service,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=material.as_of,
        lake=material.lake,
        also=also,
    )
