"""Labelled rows of past snapshots, for one tenant or for several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.features import inputs, training_set
from include.features.declarations import ACCOUNT, ITEM, USER, AttributeLookup
from include.features.inputs import Inputs
from include.features.request_columns import with_request
from include.features.spine import Spine
from include.features.training_set import TrainingSet
from include.features.views import FeatureService, FeatureView
from include.handoffs import LostDays, RecordedSet, TableVersion
from include.storage.canonical import TIMESTAMP
from include.storage.lake import Lake
from include.storage.versions import counting
from include.tenants.config import TenantConfig
from include.training.rows import LabelledRows, repeated
from include.training.windows import TrainingWindows, plan
from include.use_cases.declaration import UseCase
from include.use_cases.losses import absent_is_unknown, label_reaches
from include.use_cases.spines import (
    basket_spine,
    event_columns,
    labels,
    relevant_items,
    request_spine,
    scoring_spine,
    wanted,
)

#: What can be scored, and so have a group.
ENTITY_KINDS: Final = (USER, ACCOUNT, ITEM)
#: Group of an entity of which the tenant says none.
NONE: Final = "unknown"


@dataclass(frozen=True)
class Pinned:
    """One tenant's tables at the versions a training reads."""

    tenant: TenantConfig
    events: TableVersion
    attributes: TableVersion
    lost: tuple[LostDays, ...] = ()  #: of the events that labels are made of


@dataclass(frozen=True)
class Dataset:
    """The rows of a training, and the windows they come from."""

    training: LabelledRows
    holdout: LabelledRows
    windows: TrainingWindows
    sets: tuple[RecordedSet, ...] = ()  #: one per tenant that gave rows: training, then holdout


def read_events(use_case: UseCase, pinned: Pinned, lake: Lake, as_of: datetime) -> pa.Table:
    """The events that spines and labels need, as known at `as_of`."""
    return lake.read(
        pinned.tenant.ref,
        "events",
        version=pinned.events.version,
        columns=list(event_columns(use_case)),
        known_at=as_of,
    )


def build(use_case: UseCase, sources: Sequence[Pinned], as_of: datetime, lake: Lake) -> Dataset:
    """Rows of every tenant in `sources`, cut into training and holdout.

    The windows follow the tenant whose data reaches furthest, so that snapshots are the same
    instants for all tenants. A tenant whose data ends before a label does gives no rows there. Each
    tenant's spine is kept in the tenant's part of the lake, so that the set can be made again.
    """
    #: One tenant's rows are read once; of many tenants, one at a time is in memory.
    alone = _inputs(use_case, sources[0], as_of, lake) if len(sources) == 1 else None
    spans = [
        _span(
            use_case, alone.events if alone else read_events(use_case, pinned, lake, as_of), as_of
        )
        for pinned in sources
    ]
    reaching = [span for span in spans if span is not None]
    windows = plan(
        use_case,
        min((span[0] for span in reaching), default=None),
        max((span[1] for span in reaching), default=None),
        as_of,
        sources[0].lost if len(sources) == 1 else (),
    )
    training: list[LabelledRows] = []
    holdout: list[LabelledRows] = []
    sets: list[RecordedSet] = []
    for pinned, span in zip(sources, spans, strict=True):
        if span is None:
            continue
        reach = plan(use_case, *span, as_of).known_until
        oldest = span[0] + use_case.snapshots.minimum_history
        newest = reach - use_case.reach
        earlier, later = (
            [at for at in instants if oldest <= at <= newest and _intact(use_case, pinned, at)]
            for instants in (windows.training, windows.holdout)
        )
        if not earlier and not later:
            continue
        case = _of(use_case, pinned)
        frame = _Frame(case, alone or _inputs(use_case, pinned, as_of, lake), reach)
        parts, made, spine = frame.rows([(earlier, True), (later, False)])
        if len(sources) == 1:
            parts = [_grouped(use_case, pinned, rows, as_of, lake) for rows in parts]
        sets.append(_recorded(made, spine, pinned, lake))
        for rows, place in zip(parts, (training, holdout), strict=True):
            place += [rows] if len(rows) else []
    return Dataset(_stacked(use_case, training), _stacked(use_case, holdout), windows, tuple(sets))


def labelled_rows(
    use_case: UseCase, pinned: Pinned, instants: Sequence[datetime], as_of: datetime, lake: Lake
) -> LabelledRows | None:
    """Every row of the snapshots whose labels are known at `as_of`; None where there are none."""
    read = _inputs(use_case, pinned, as_of, lake)
    span = _span(use_case, read.events, as_of)
    if span is None:
        return None
    reach = plan(use_case, *span, as_of).known_until
    labelled = [a for a in instants if a + use_case.reach <= reach and _intact(use_case, pinned, a)]
    if not labelled:
        return None
    return _Frame(_of(use_case, pinned), read, reach).rows([(labelled, False)])[0][0]


def _intact(use_case: UseCase, pinned: Pinned, at: datetime) -> bool:
    """Whether no lost day of the tenant touches the labels of a snapshot."""
    return not label_reaches(use_case, at, pinned.lost)


def _of(use_case: UseCase, pinned: Pinned) -> UseCase:
    """The use case, with the meaning that absent rows have in the tenant's sources."""
    return use_case.with_absent(unknown=absent_is_unknown(use_case, pinned.tenant))


def _grouped(
    use_case: UseCase, pinned: Pinned, rows: LabelledRows, as_of: datetime, lake: Lake
) -> LabelledRows:
    """The rows with each entity's group at the row's instant, where the tenant compares groups."""
    override = pinned.tenant.use_cases.get(use_case.name)
    if override is None or override.fairness is None or use_case.task == "association":
        return rows
    kind = next(kind for kind in ENTITY_KINDS if kind.join_keys == use_case.judged[:1])
    lookup = AttributeLookup(kind.name, override.fairness.attribute)
    view = FeatureView("sensitive", kind, attributes=(lookup,), owner="platform")
    service = FeatureService("fairness", (view,))
    prefix = len(f"{pinned.tenant.id}/")
    spine = Spine(
        pa.table(
            {
                use_case.judged[0]: pa.array([entity[prefix:] for entity in rows.entity.tolist()]),
                "as_of": pa.array(rows.as_of, TIMESTAMP),
            }
        )
    )
    read = inputs.read(
        pinned.tenant,
        service,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=as_of,
        lake=lake,
    )
    groups = pc.fill_null(read.compute(service, spine)[view.column(lookup.feature)], NONE)
    return replace(rows, sensitive=np.array(groups.to_pylist(), dtype=np.str_))


def _inputs(use_case: UseCase, pinned: Pinned, as_of: datetime, lake: Lake) -> Inputs:
    """Everything that spines, labels and features of one tenant read."""
    return inputs.read(
        pinned.tenant,
        use_case.features,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=as_of,
        lake=lake,
        also=event_columns(use_case),
    )


@dataclass(frozen=True)
class _Labelled:
    """Spine rows of some snapshots, and their outcomes."""

    spine: pa.Table
    snapshot: npt.NDArray[np.datetime64]
    label: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    relevant: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.object_]

    @classmethod
    def none(cls, use_case: UseCase) -> _Labelled:
        """No rows at all."""
        fields = [pa.field(key, pa.string()) for key in use_case.judged]
        spine = pa.schema([*fields, pa.field("as_of", TIMESTAMP)]).empty_table()
        nothing = np.empty(0)
        none = np.empty(0, "datetime64[us]")
        return cls(spine, none, nothing, nothing, np.empty(0, np.int64), np.empty(0, object))

    @classmethod
    def stacked(cls, parts: Sequence[_Labelled]) -> _Labelled:
        """The parts, of which there is at least one, below each other."""
        names = ("snapshot", "label", "weight", "relevant", "wanted")
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(pa.concat_tables([part.spine for part in parts]), *arrays)


@dataclass(frozen=True)
class _Frame:
    """One tenant's rows, complete up to `known_until`."""

    use_case: UseCase
    inputs: Inputs
    known_until: datetime

    def rows(
        self, parts: Sequence[tuple[Sequence[datetime], bool]]
    ) -> tuple[list[LabelledRows], TrainingSet, pa.Table]:
        """Labelled rows of each part's snapshots, and the training set of all parts with its spine.

        A part is a list of snapshots, and whether only some of its negatives are kept.
        """
        labelled = [self._labelled(instants, thin=thin) for instants, thin in parts]
        spine = pa.concat_tables([part.spine for part in labelled])
        made = training_set.build(self.use_case.features, spine, self.inputs)
        case, table = self.use_case, made.table
        if case.request:
            table = with_request(case.request, table, self.inputs.events, self.inputs.timezone)
        features = table.select(list(case.feature_columns))
        features = features.replace_schema_metadata(None)
        rows, at = [], 0
        for part in labelled:
            rows.append(self._rows(part, features.slice(at, part.spine.num_rows)))
            at += part.spine.num_rows
        return rows, made, spine

    def _labelled(self, instants: Sequence[datetime], *, thin: bool) -> _Labelled:
        draw = np.random.default_rng(self.use_case.seed)
        parts = [self._at(at, draw, thin=thin) for at in instants]
        return _Labelled.stacked(parts) if parts else _Labelled.none(self.use_case)

    def _at(self, at: datetime, draw: np.random.Generator, *, thin: bool) -> _Labelled:
        case, events, until = self.use_case, self.inputs.events, self.known_until
        if case.task == "association":
            spine = _some_entities(case, basket_spine(case, events, at, until), draw)
            label = np.zeros(spine.num_rows)
        else:
            spine = _some_entities(case, self._spine(at), draw)
            label = labels(case, events, spine, until).to_numpy(zero_copy_only=False)
            has_label = np.isfinite(label)
            spine, label = spine.filter(pa.array(has_label)), label[has_label]
        keep, weight = _thinned(case, label, draw) if thin else _all(label)
        spine = spine.filter(pa.array(keep))
        if case.lists:
            lists = _objects(wanted(case, events, spine, at, until))
            sizes = pd.Series([len(items) for items in lists])
        else:
            lists = repeated((), spine.num_rows)
            counts = relevant_items(case, events, at, until) if case.items else {}
            sizes = pd.Series(spine[case.entity].to_pandas(), dtype=object).map(counts).fillna(0)
        relevant = np.asarray(sizes.to_numpy(), dtype=np.int64)
        snapshot = np.full(spine.num_rows, np.datetime64(at.replace(tzinfo=None), "us"))
        return _Labelled(spine, snapshot, label[keep], weight[keep], relevant, lists)

    def _spine(self, at: datetime) -> pa.Table:
        case, events = self.use_case, self.inputs.events
        if case.request:
            end = at + case.snapshots.every
            return request_spine(case, events, at, end, self.known_until)
        return scoring_spine(case, events, at)

    def _rows(self, labelled: _Labelled, features: pa.Table) -> LabelledRows:
        case, spine, tenant = self.use_case, labelled.spine, self.inputs.tenant.id
        entity = _texts(spine[case.judged[0]], prefix=f"{tenant}/")
        group = np.char.add(np.char.add(entity, "@"), labelled.snapshot.astype(str))
        itemised = "item_id" in case.judged[1:]
        item = _texts(spine["item_id"]) if itemised else np.full(spine.num_rows, "")
        if case.task == "association":  # each item of a basket asks for the others
            group = np.char.add(np.char.add(group, "/"), item)
        return LabelledRows(
            features,
            labelled.label,
            labelled.weight,
            entity,
            item,
            group,
            labelled.relevant,
            np.full(spine.num_rows, tenant),
            labelled.snapshot,
            labelled.wanted,
            np.full(spine.num_rows, ""),
        )


def _recorded(made: TrainingSet, spine: pa.Table, pinned: Pinned, lake: Lake) -> RecordedSet:
    """The set's recipe, with its spine kept under a name that retention can date."""
    recipe = made.recipe
    path = f"spines/{recipe.known_at:%Y-%m-%dT%H%M%S}-{recipe.spine_digest}.parquet"
    return RecordedSet(recipe, made.digest, lake.put_table(pinned.tenant.ref, path, spine))


def _span(use_case: UseCase, events: pa.Table, as_of: datetime) -> tuple[datetime, datetime] | None:
    """First and last of the use case's events that happened before `as_of`."""
    names = (*use_case.events, *use_case.outcomes)
    ours = pc.is_in(events["event"], value_set=pa.array(names))
    past = pc.less(events["event_timestamp"], pa.scalar(as_of, TIMESTAMP))
    known = pc.and_(past, counting(events, as_of))
    happened = events.filter(pc.and_(ours, known))["event_timestamp"]
    ends = pc.min_max(happened)
    if not ends["min"].is_valid:
        return None
    return ends["min"].as_py(), ends["max"].as_py()


def _some_entities(use_case: UseCase, spine: pa.Table, draw: np.random.Generator) -> pa.Table:
    key = use_case.judged[0]
    entities = pc.unique(spine[key])
    if len(entities) <= use_case.snapshots.entities:
        return spine
    chosen = draw.choice(len(entities), use_case.snapshots.entities, replace=False)
    return spine.filter(pc.is_in(spine[key], value_set=entities.take(pa.array(chosen))))


def _thinned(
    use_case: UseCase, label: npt.NDArray[np.float64], draw: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """All positives and some negatives, each of which then stands for several."""
    positives, negatives = int(label.sum()), int((label == 0).sum())
    wanted = use_case.snapshots.negatives * max(positives, 1)
    if not use_case.snapshots.negatives or negatives <= wanted:
        return _all(label)
    lottery = draw.random(len(label)) < wanted / negatives
    keep = (label == 1) | lottery
    return keep, np.where(label == 1, 1.0, negatives / wanted)


def _all(label: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    return np.ones(len(label), dtype=bool), np.ones(len(label))


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _stacked(use_case: UseCase, parts: Sequence[LabelledRows]) -> LabelledRows:
    return LabelledRows.stacked(parts) if parts else LabelledRows.none(use_case)


def _texts(column: pa.ChunkedArray, prefix: str = "") -> npt.NDArray[np.str_]:
    return np.array([f"{prefix}{value}" for value in column.to_pylist()], dtype=np.str_)
