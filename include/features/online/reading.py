"""Features of some entities at an instant, from their partial aggregates in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from psycopg.rows import tuple_row

from include.errors import ConfigError
from include.features.columns import read_number, read_text
from include.features.declarations import AttributeLookup
from include.features.engine import finished
from include.features.online.codec import State, decode
from include.features.online.layout import Layout
from include.features.online.records import key_of
from include.features.online.reductions import History, Step, step
from include.features.online.served import stale_reason
from include.features.outputs import Integers, Texts, Values, evaluate
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ENTITY_COLUMNS
from include.storage.postgres import Connection, pooled_transaction
from include.tenants.namespace import GLOBAL, TenantRef

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: Final = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}

_VIEWS: Final = """
    SELECT view_name, fingerprint, group_key, watermark FROM online_views
    WHERE tenant_id = %s AND region = %s AND view_name = ANY(%s)
"""
_LAYOUT: Final = "SELECT layout FROM online_groups WHERE tenant_id = %s AND group_key = %s"
_PARTIALS: Final = """
    SELECT entity_key, fields, words, ends FROM online_partials
    WHERE tenant_id = %s AND group_key = %s AND entity_key = ANY(%s) AND until <= %s
"""
_FACTS: Final = """
    SELECT DISTINCT ON (entity_id, name) entity_id, name, value FROM online_facts
    WHERE tenant_id = %s AND entity = %s AND entity_id = ANY(%s) AND name = ANY(%s)
        AND valid_from <= %s AND created_timestamp <= %s
    ORDER BY entity_id, name, valid_from DESC, created_timestamp DESC, event_id DESC, source DESC
"""


@dataclass(frozen=True)
class OnlineFeatures:
    """The answer to one read."""

    table: pa.Table  #: join keys, `as_of`, then the service's columns, as offline
    stale: Mapping[str, str]  #: view → why its columns are null


class Reader:
    """Answers for one service; remembers how records are laid out."""

    def __init__(self, tenant: TenantRef, service: FeatureService) -> None:
        self._tenant = tenant
        self._service = service
        self._layouts: dict[tuple[str, str], Layout] = {}
        self._steps: dict[tuple[str, str], tuple[Step, ...]] = {}
        pool = TenantRef(GLOBAL.id, tenant.region, GLOBAL.isolation)
        self._owners = [
            (owner, views)
            for owner, scope in ((tenant, "tenant"), (pool, "shared"))
            if (views := [view for view in service.views if view.scope == scope])
        ]

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """The service's features of the entities at an instant.

        Args:
            entities: join key → values, all equally many.

        Raises:
            ConfigError: something that is known only later has been materialized already, the
                entities lack a join key, or `at` is not aware.
        """
        spine = Spine.at(entities, at)
        spine.check_serves(self._service)
        asked = _Asked(entities, spine.table.num_rows, at)
        found: dict[str, pa.Array] = {}
        stale: dict[str, str] = {}
        for owner, views in self._owners:
            with pooled_transaction(owner, snapshot=True) as connection:
                self._read(connection, owner, views, asked, found, stale)
        for view in self._service.views:
            if view.name in stale:
                kinds = view.columns.items()
                found |= {name: pa.nulls(asked.rows, _TYPES[kind]) for name, kind in kinds}
        return OnlineFeatures(finished(self._service, spine, found), stale)

    def _read(
        self,
        connection: Connection,
        owner: TenantRef,
        views: Sequence[FeatureView],
        asked: _Asked,
        found: dict[str, pa.Array],
        stale: dict[str, str],
    ) -> None:
        served = self._served(connection, owner, views)
        histories: dict[str, tuple[History, _Keys]] = {}
        for view in views:
            group_key, reason = _usable(view, served.get((view.name, view.fingerprint)), asked.at)
            if reason:
                stale[view.name] = reason
                continue
            values: dict[str, Values] = {}
            if group_key:
                if group_key not in histories:
                    histories[group_key] = self._history(connection, owner, group_key, asked)
                history, keys = histories[group_key]
                for one in self._steps_of(view, owner, group_key):
                    values[one.feature] = keys.expand(history.value(one))
            if view.attributes:
                values |= _attributes(connection, owner, view.attributes, asked)
            found |= evaluate(view, values, asked.rows)

    def _served(
        self, connection: Connection, owner: TenantRef, views: Sequence[FeatureView]
    ) -> dict[tuple[str, str], tuple[str, datetime]]:
        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(_VIEWS, [owner.id, owner.region, [view.name for view in views]])
        return {(name, print_): (key, mark) for name, print_, key, mark in cursor}

    def _history(
        self, connection: Connection, owner: TenantRef, group_key: str, asked: _Asked
    ) -> tuple[History, _Keys]:
        layout = self._layout(connection, owner, group_key)
        keys = asked.keys(layout.join_keys)
        cursor = connection.cursor(row_factory=tuple_row, binary=True)
        cursor.execute(_PARTIALS, [owner.id, group_key, list(keys.place), asked.at])
        states = [State(keys.place[key], *state) for key, *state in cursor.fetchall()]
        states.sort(key=lambda state: state.entity)
        at = (asked.at - _EPOCH) // timedelta(microseconds=1)
        return History(decode(layout, states), len(keys.place) + 1, at), keys

    def _layout(self, connection: Connection, owner: TenantRef, group_key: str) -> Layout:
        layout = self._layouts.get((owner.id, group_key))
        if layout is None:
            row = connection.execute(_LAYOUT, [owner.id, group_key]).fetchone()
            assert row is not None  # views and groups change in one transaction
            layout = Layout.from_json(row["layout"])
            self._layouts[owner.id, group_key] = layout
        return layout

    def _steps_of(self, view: FeatureView, owner: TenantRef, group_key: str) -> tuple[Step, ...]:
        steps = self._steps.get((view.name, group_key))
        if steps is None:
            layout = self._layouts[owner.id, group_key]
            steps = tuple(step(layout, part, window) for part, window in view.computed())
            self._steps[view.name, group_key] = steps
        return steps


@dataclass(frozen=True)
class _Keys:
    """The distinct entities of the rows."""

    place: Mapping[str, int]  #: entity key → position
    row_of: Integers | None  #: per row its entity, the number of them for null; None: row by row

    def expand(self, values: Values) -> Values:
        """Per row the entity's value."""
        rows = slice(0, len(self.place)) if self.row_of is None else self.row_of
        if isinstance(values, Texts):
            return Texts(values.codes[rows], values.dictionary)
        return values[rows]


class _Asked:
    """Whose features are wanted, and when."""

    def __init__(
        self, entities: Mapping[str, Sequence[str | None]], rows: int, at: datetime
    ) -> None:
        self.entities, self.rows, self.at = entities, rows, at
        self._keys: dict[tuple[str, ...], _Keys] = {}

    def keys(self, join_keys: tuple[str, ...]) -> _Keys:
        """The distinct entities by these join keys."""
        keys = self._keys.get(join_keys)
        if keys is None:
            values = zip(*(self.entities[name] for name in join_keys), strict=True)
            parts = values if join_keys else [()] * self.rows
            texts = [None if None in part else key_of(part) for part in parts]
            place = {key: n for n, key in enumerate(dict.fromkeys(t for t in texts if t))}
            row_of = [len(place) if text is None else place[text] for text in texts]
            plain = row_of == list(range(len(place)))
            keys = _Keys(place, None if plain else np.array(row_of, dtype=np.int64))
            self._keys[join_keys] = keys
        return keys


def _usable(view: FeatureView, there: tuple[str, datetime] | None, at: datetime) -> tuple[str, str]:
    """The view's group, or why it answers null.

    Raises:
        ConfigError: `at` is before what is materialized.
    """
    if there is None:
        return "", "was not materialized as it is declared now; materialize it"
    group_key, watermark = there
    if at < watermark:
        raise ConfigError(
            f"view {view.name!r} is materialized up to {watermark.isoformat()} and cannot be read "
            f"online at {at.isoformat()}; the offline store answers for the past"
        )
    return group_key, stale_reason(watermark, view.ttl, at) or ""


def _attributes(
    connection: Connection, owner: TenantRef, lookups: Sequence[AttributeLookup], asked: _Asked
) -> dict[str, Values]:
    """Each lookup's values, under its feature's name."""
    values: dict[str, Values] = {}
    for kind in dict.fromkeys(lookup.entity_kind for lookup in lookups):
        names = [lookup.name for lookup in lookups if lookup.entity_kind == kind]
        ids = asked.entities[ENTITY_COLUMNS[kind]]
        distinct = list({one for one in ids if one is not None})
        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(_FACTS, [owner.id, kind, distinct, names, asked.at, asked.at])
        facts = {(entity_id, name): value for entity_id, name, value in cursor}
        for lookup in lookups:
            if lookup.entity_kind == kind:
                raw = [facts.get((one, lookup.name)) for one in ids]
                values[lookup.feature] = _read(raw, lookup)
    return values


def _read(raw: Sequence[str | None], lookup: AttributeLookup) -> Values:
    if lookup.reading == "number":
        numbers = [read_number(value) for value in raw]
        return np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
    texts = pa.array([read_text(value) for value in raw], pa.string())
    codes = np.arange(len(raw))
    codes[texts.is_null().to_numpy(zero_copy_only=False)] = -1
    return Texts(codes, texts)
