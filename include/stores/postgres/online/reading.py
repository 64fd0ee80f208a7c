"""Features of some entities at an instant, from their partial aggregates.

Idea: a reader remembers which group each of its views is read from, so one round trip asks for
everything: which groups serve the views now, and the states in the groups that served them before.

Invariant: the answer is of one snapshot, in which those groups are the ones that serve. Where they
are not any more, as after a view was declared anew, the reader learns the new ones and asks again.

    views, states, facts ── one snapshot ──> decode ──> `History` ──> features
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from include.features.columns import read_number, read_text
from include.features.declarations import AttributeLookup
from include.features.engine import answer
from include.features.online.codec import decode
from include.features.online.layout import Layout
from include.features.online.limits import may_be_kept
from include.features.online.reductions import History, Step, steps
from include.features.online.request import Request
from include.features.online.served import unanswered
from include.features.online.store import OnlineFeatures
from include.features.outputs import Texts, Values, evaluate, nulls
from include.features.spine import AS_OF, Spine, key_columns
from include.features.views import FeatureService
from include.storage.canonical import TIMESTAMP
from include.storage.entities import ENTITY_COLUMNS
from include.storage.postgres import Query, snapshot
from include.tenants.namespace import TenantRef

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_VIEWS: Final = """
    SELECT view_name, fingerprint, group_key, watermark FROM online_views
    WHERE tenant_id = $1 AND region = $2 AND view_name = ANY($3)
"""
_LAYOUTS: Final = """
    SELECT group_key, layout FROM online_groups WHERE tenant_id = $1 AND group_key = ANY($2)
"""
#: Keys are JSON on one line each.
_PARTIALS: Final = r"""
    SELECT entity_key, fields, words, ends FROM online_partials
    WHERE tenant_id = $1 AND group_key = $2 AND entity_key = ANY(string_to_array($3, E'\n'))
        AND until <= $4
"""
_FACTS: Final = """
    SELECT DISTINCT ON (entity_id, name) entity_id, name, value FROM online_facts
    WHERE tenant_id = $1 AND entity = $2 AND entity_id = ANY($3) AND name = ANY($4)
        AND valid_from <= $5 AND created_timestamp <= $5
    ORDER BY entity_id, name, valid_from DESC, created_timestamp DESC, event_id DESC, source DESC
"""


#: (entity kind, its id, name) → value.
_Facts: TypeAlias = Mapping[tuple[str, str, str], str | None]


@dataclass(frozen=True)
class _Known:
    """Where records are, and what to make of them."""

    group_of: Mapping[str, str]  #: view → group key; empty where all features are attributes
    layouts: Mapping[str, Layout]  #: by group key
    steps: Mapping[str, Sequence[Step]]  #: by view


@dataclass(frozen=True)
class _Found:
    """What one snapshot of the store holds for a read."""

    watermarks: Mapping[str, datetime]  #: of the views that are served
    states: Mapping[str, Sequence[tuple[Any, ...]]]  #: by group key
    facts: _Facts


class PostgresReader:
    """Answers for one service; remembers where its views' records are."""

    def __init__(self, tenant: TenantRef, service: FeatureService) -> None:
        self._tenant, self._service = tenant, service
        self._views = {view.name: view for view in service.views}
        self._lookups: dict[str, set[str]] = {}
        for lookup in (lookup for view in service.views for lookup in view.attributes):
            self._lookups.setdefault(lookup.entity_kind, set()).add(lookup.name)
        self._last_known = _Known({}, {}, {})
        self._served: set[tuple[str, ...]] = set()  #: join keys that were found to be enough

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """See `Reader.read`."""
        keys = self._keys(entities, at)
        asked = Request(entities, len(keys[AS_OF]), at)
        with np.errstate(all="ignore"):
            columns, stale = self._answered(asked)
        return OnlineFeatures(answer(self._service, keys, columns), stale)

    def _keys(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> dict[str, Any]:
        """The columns of the spine: a `Spine` itself is checked for the first of its kind alone."""
        if at.utcoffset() is None or tuple(entities) not in self._served:
            Spine.at(dict.fromkeys(entities, ()), at).check_serves(self._service)
            self._served.add(tuple(entities))
        columns = key_columns(entities)
        rows = len(next(iter(columns.values()))) if columns else 1
        as_of = pa.repeat(pa.scalar(at, TIMESTAMP), rows)
        return columns | {AS_OF: as_of}

    def _answered(self, asked: Request) -> tuple[dict[str, pa.Array], dict[str, str]]:
        """The views' columns, and why those of a view are null."""
        known, found = self._found(asked)
        histories = {
            key: _history(known.layouts[key], states, asked) for key, states in found.states.items()
        }
        columns: dict[str, pa.Array] = {}
        stale: dict[str, str] = {}
        for name, view in self._views.items():
            reason = unanswered(view, found.watermarks.get(name), asked.at)
            if reason:
                stale[name] = reason
                columns |= nulls(view, asked.rows)
                continue
            values: dict[str, Values] = {}
            if known.group_of[name]:
                keys = asked.keys(view.entity.join_keys)
                history = histories[known.group_of[name]]
                for step in known.steps[name]:
                    answers = history.answers(step.question)
                    for feature, row in step.features:
                        values[feature] = keys.expand(answers[row])
            for lookup in view.attributes:
                values[lookup.feature] = _attribute(lookup, found.facts, asked)
            columns |= evaluate(view, values, asked.rows)
        return columns, stale

    def _found(self, asked: Request) -> tuple[_Known, _Found]:
        tenant, names = self._tenant, list(self._views)
        while True:
            known = self._last_known
            queries: list[Query] = [(_VIEWS, [tenant.id, tenant.region, names])]
            for key, layout in known.layouts.items():
                texts = "\n".join(asked.keys(layout.join_keys).place)
                queries.append((_PARTIALS, [tenant.id, key, texts, asked.at]))
            for kind, attributes in self._lookups.items():
                ids = list(filter(may_be_kept, set(asked.entities[ENTITY_COLUMNS[kind]])))
                queries.append((_FACTS, [tenant.id, kind, ids, list(attributes), asked.at]))
            views, *rows = snapshot(tenant, queries)
            served = {
                name: (group_key, watermark)
                for name, fingerprint, group_key, watermark in views
                if fingerprint == self._views[name].fingerprint
            }
            group_of = {name: group_key for name, (group_key, _) in served.items()}
            if group_of == known.group_of:
                break
            self._last_known = self._learnt(group_of)
        states = dict(zip(known.layouts, rows, strict=False))
        facts = {
            (kind, one, name): value
            for kind, some in zip(self._lookups, rows[len(states) :], strict=True)
            for one, name, value in some
        }
        return known, _Found({name: mark for name, (_, mark) in served.items()}, states, facts)

    def _learnt(self, group_of: Mapping[str, str]) -> _Known:
        keys = list({key for key in group_of.values() if key})
        (rows,) = snapshot(self._tenant, [(_LAYOUTS, [self._tenant.id, keys])])
        layouts = {key: Layout.from_json(layout) for key, layout in rows}
        steps_of = {
            name: steps(layouts[key], self._views[name].computed())
            for name, key in group_of.items()
            if key in layouts
        }
        there = {name: key for name, key in group_of.items() if not key or key in layouts}
        return _Known(there, layouts, steps_of)


def _history(layout: Layout, rows: Sequence[tuple[Any, ...]], asked: Request) -> History:
    keys = asked.keys(layout.join_keys)
    states = [(keys.place[key], fields, words, ends) for key, fields, words, ends in rows]
    states.sort(key=itemgetter(0))
    return History(decode(layout, states), keys.entities, (asked.at - _EPOCH) // _MICROSECOND)


def _attribute(lookup: AttributeLookup, facts: _Facts, asked: Request) -> Values:
    ids = asked.entities[ENTITY_COLUMNS[lookup.entity_kind]]
    raw = [
        None if one is None else facts.get((lookup.entity_kind, one, lookup.name)) for one in ids
    ]
    if lookup.reading == "number":
        numbers = [read_number(value) for value in raw]
        return np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
    texts = pa.array([read_text(value) for value in raw], pa.string())
    codes = np.arange(len(raw))
    codes[texts.is_null().to_numpy(zero_copy_only=False)] = -1
    return Texts(codes, texts)
