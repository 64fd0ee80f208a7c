"""Labelled rows of past snapshots, for one tenant or for several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.features.stage import compute_at
from include.handoffs import TableVersion
from include.storage.canonical import TIMESTAMP
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.rows import Rows
from include.training.windows import Windows, plan
from include.use_cases.declaration import UseCase
from include.use_cases.spines import EVENT_COLUMNS, labels, relevant_items, scoring_spine


@dataclass(frozen=True)
class Pinned:
    """One tenant's tables at the versions a training reads."""

    tenant: TenantConfig
    events: TableVersion
    attributes: TableVersion


@dataclass(frozen=True)
class Dataset:
    """What a training works on."""

    training: Rows
    holdout: Rows
    windows: Windows


def read_events(pinned: Pinned, lake: Lake, as_of: datetime) -> pa.Table:
    """The events that spines and labels need, as known at `as_of`."""
    return lake.read(
        pinned.tenant.ref,
        "events",
        version=pinned.events.version,
        columns=list(EVENT_COLUMNS),
        known_at=as_of,
    )


def build(use_case: UseCase, sources: Sequence[Pinned], as_of: datetime, lake: Lake) -> Dataset:
    """Rows of every tenant in `sources`, cut into training and holdout.

    The windows follow the tenant whose data reaches furthest, so that the snapshots are the same
    instants for all; a tenant whose data ends before a label does gives no rows there.
    """
    histories = [read_events(pinned, lake, as_of) for pinned in sources]
    spans = [_span(use_case, events, as_of) for events in histories]
    known = [span for span in spans if span is not None]
    windows = plan(
        use_case,
        min((span[0] for span in known), default=None),
        max((span[1] for span in known), default=None),
        as_of,
    )
    training: list[Rows] = []
    holdout: list[Rows] = []
    for pinned, events, span in zip(sources, histories, spans, strict=True):
        if span is None:
            continue
        reach = plan(use_case, *span, as_of).known_until
        oldest = span[0] + use_case.snapshots.minimum_history
        newest = reach - use_case.label.horizon
        for instants, rows in ((windows.training, training), (windows.holdout, holdout)):
            told = [at for at in instants if oldest <= at <= newest]
            if told:
                frame = _Frame(use_case, pinned, events, reach, lake)
                rows.append(frame.rows(told, as_of, thin=rows is training))
    return Dataset(_stacked(use_case, training), _stacked(use_case, holdout), windows)


def labelled_rows(
    use_case: UseCase, pinned: Pinned, instants: Sequence[datetime], as_of: datetime, lake: Lake
) -> Rows | None:
    """Every row of the snapshots whose label the tenant's data can tell at `as_of`, if any."""
    events = read_events(pinned, lake, as_of)
    span = _span(use_case, events, as_of)
    if span is None:
        return None
    reach = plan(use_case, *span, as_of).known_until
    told = [at for at in instants if at + use_case.label.horizon <= reach]
    frame = _Frame(use_case, pinned, events, reach, lake)
    return frame.rows(told, as_of, thin=False) if told else None


@dataclass(frozen=True)
class _Frame:
    """One tenant's events, complete up to `known_until`."""

    use_case: UseCase
    pinned: Pinned
    events: pa.Table
    known_until: datetime
    lake: Lake

    def rows(self, instants: Sequence[datetime], as_of: datetime, *, thin: bool) -> Rows:
        """Labelled rows of the snapshots, as known at `as_of`; fewer negatives where `thin`."""
        case = self.use_case
        draw = np.random.default_rng(case.seed)
        spines, targets, weights, relevant = [], [], [], []
        for at in instants:
            spine = _some_entities(case, scoring_spine(case, self.events, at), draw)
            label = labels(case, self.events, spine, self.known_until).to_numpy()
            keep, weight = _thinned(case, label, draw) if thin else _all(label)
            spine = spine.filter(pa.array(keep))
            spines.append(spine)
            targets.append(label[keep])
            weights.append(weight[keep])
            if case.items:
                counts = relevant_items(case, self.events, at, self.known_until)
                users = pd.Series(spine[case.entity].to_pandas(), dtype=object)
                relevant.append(users.map(counts).fillna(0).to_numpy(dtype=np.int64))
            else:
                relevant.append(np.zeros(spine.num_rows, dtype=np.int64))
        spine = pa.concat_tables(spines)
        computed = compute_at(
            self.pinned.tenant,
            case.features,
            spine,
            events=self.pinned.events,
            attributes=self.pinned.attributes,
            known_at=as_of,
            lake=self.lake,
        )
        entity = _texts(spine[case.entity], prefix=f"{self.pinned.tenant.id}/")
        stamps = spine["as_of"].to_numpy().astype("datetime64[us]")
        return Rows(
            computed.select(list(case.features.columns)).replace_schema_metadata(None),
            np.concatenate(targets),
            np.concatenate(weights),
            entity,
            _texts(spine["item_id"]) if case.items else np.full(spine.num_rows, ""),
            np.char.add(np.char.add(entity, "@"), stamps.astype(str)),
            np.concatenate(relevant),
            np.full(spine.num_rows, self.pinned.tenant.id),
            stamps,
        )


def _span(use_case: UseCase, events: pa.Table, as_of: datetime) -> tuple[datetime, datetime] | None:
    """First and last of the use case's events that happened before `as_of`."""
    ours = pc.is_in(events["event"], value_set=pa.array(use_case.events))
    past = pc.less(events["event_timestamp"], pa.scalar(as_of, TIMESTAMP))
    happened = events.filter(pc.and_(ours, past))["event_timestamp"]
    ends = pc.min_max(happened)
    if not ends["min"].is_valid:
        return None
    return ends["min"].as_py(), ends["max"].as_py()


def _some_entities(use_case: UseCase, spine: pa.Table, draw: np.random.Generator) -> pa.Table:
    entities = pc.unique(spine[use_case.entity])
    if len(entities) <= use_case.snapshots.entities:
        return spine
    chosen = draw.choice(len(entities), use_case.snapshots.entities, replace=False)
    return spine.filter(pc.is_in(spine[use_case.entity], value_set=entities.take(pa.array(chosen))))


def _thinned(
    use_case: UseCase, label: npt.NDArray[np.int8], draw: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """All positives and some negatives, each of which then stands for several."""
    positives, negatives = int(label.sum()), int((label == 0).sum())
    wanted = use_case.snapshots.negatives * max(positives, 1)
    if not use_case.snapshots.negatives or negatives <= wanted:
        return _all(label)
    lottery = draw.random(len(label)) < wanted / negatives
    keep = (label == 1) | lottery
    return keep, np.where(label == 1, 1.0, negatives / wanted)


def _all(label: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    return np.ones(len(label), dtype=bool), np.ones(len(label))


def _stacked(use_case: UseCase, parts: Sequence[Rows]) -> Rows:
    return Rows.stacked(parts) if parts else Rows.none(use_case)


def _texts(column: pa.ChunkedArray, prefix: str = "") -> npt.NDArray[np.str_]:
    return np.array([f"{prefix}{value}" for value in column.to_pylist()], dtype=np.str_)
