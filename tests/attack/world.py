"""A platform in which every owner has something everywhere, and a way to see what changed.

Tables are filled from Postgres' own catalogue and the lake from the canonical schemas: what is
added to either later is planted without a word here, unless something has to read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql
from psycopg.types.json import Jsonb

from include import use_cases
from include.features.online.layout import layouts
from include.features.views import FeatureView
from include.handoffs import FeaturesBuilt, StoredObject, TableVersion, pack
from include.models.baselines import baseline_model
from include.models.serialise import to_bytes
from include.registry.in_memory import InMemoryRegistry
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.port import CHAMPION, ModelVersion, NewVersion
from include.registry.predictions import Part
from include.scoring.ranks import SCHEMA
from include.storage import audit, ownership
from include.storage.canonical import SCHEMAS, schema_fingerprint
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.stores import Stores
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.tenants.loader import load_tenant
from include.tenants.namespace import database, lake_prefix
from tests.attack.owners import ALDER, AS_OF, CONSENTING, OWNERS, PLATFORMS, USE_CASE, WEEK, Owner
from tests.installation import Installation

TENANT: Final = """\
id: {owner.id}
name: "{owner.id} {owner.secret}"
region: {owner.ref.region}
isolation: {owner.ref.isolation}
timezone: UTC
schedule: "0 0 * * 1"
history_from: 2024-01-01
pooling: {{consent: {consent}}}
sources:
  - name: {owner.source}
    connector: {{type: file, path: "{folder}/orders.csv", format: csv}}
    events:
      event: Order Completed
      event_id: [order_id]
      event_timestamp: ordered_at
      user_id: customer
      item_id: sku
      amount: amount
      properties: {{note: note}}
use_cases:
  churn:
"""

_TENANT_TABLES: Final = """
    SELECT c.table_name, c.column_name, c.data_type, coalesce((
        SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k
        WHERE k.contype = 'c' AND k.conrelid = ('tenantry.' || c.table_name)::regclass
        AND pg_get_constraintdef(k.oid) LIKE '%' || c.column_name || '%'), '')
    FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'tenantry' AND t.table_type = 'BASE TABLE' AND EXISTS (
        SELECT FROM information_schema.columns i WHERE i.table_schema = c.table_schema
        AND i.table_name = c.table_name AND i.column_name = 'tenant_id')
    AND c.is_generated = 'NEVER' AND c.is_identity = 'NO'
    ORDER BY c.table_name, c.ordinal_position
"""


_PLANTED: Final = "mlflow_planted"
_WORLD: Final = "mlflow_world"
_numbers = count()
_MLFLOW: Final = " UNION ALL ".join(
    f"SELECT workspace, '{table}', md5(string_agg(t::text, '|' ORDER BY t::text)) "
    f"FROM {table} t GROUP BY workspace"
    for table in (
        *("experiments", "registered_models", "model_versions", "model_version_tags"),
        "registered_model_aliases",
    )
)


@dataclass
class World:
    """The platform under attack."""

    installation: Installation
    lake: Lake
    tracking_uri: str  #: of a registry that no attempt changes
    configs: dict[str, TenantConfig] = field(default_factory=dict)
    versions: dict[str, ModelVersion] = field(default_factory=dict)  #: in both registries
    _columns: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    _kept: dict[str, dict[str, list[tuple[Any, ...]]]] = field(default_factory=dict)
    _known: dict[tuple[str, int, int, int], str] = field(default_factory=dict)
    _changeable: str | None = None

    @property
    def mlflow(self) -> MlflowRegistry:
        """MLflow with what was planted."""
        return MlflowRegistry(self.tracking_uri, self.lake.root)

    @property
    def changeable_uri(self) -> str:
        """Of a copy of MLflow's database, for attempts that change it."""
        if self._changeable is None:
            self._changeable = f"mlflow_{next(_numbers)}"
            _copy_database(self.installation, _PLANTED, self._changeable)
        return self.installation.server.sqlalchemy_url(self._changeable, "mlflow")

    def forget_changes(self) -> None:
        """Let the next attempts that change MLflow begin with a new copy."""
        self._changeable = None

    @property
    def data(self) -> Path:
        """Where sources lie."""
        return self.installation.state.home / "sources"

    @property
    def kept_files(self) -> Path:
        """A copy of the lake as it was planted."""
        return self.installation.state.home / "kept"

    # rows

    @cached_property
    def admin(self) -> Mapping[str, psycopg.Connection[Any]]:
        """A superuser's connection to every database that holds rows of owners."""
        names = sorted({database(owner.ref) for owner in OWNERS})
        server = self.installation.server
        return {name: psycopg.connect(server.dsn(name), autocommit=True) for name in names}

    def tables(self) -> list[str]:
        """Every table with a `tenant_id`."""
        return list(self._tables())

    def _tables(self) -> dict[str, dict[str, tuple[str, str]]]:
        if not self._columns:
            connection = self.admin[database(ALDER.ref)]
            for table, column, kind, check in connection.execute(_TENANT_TABLES).fetchall():
                self._columns.setdefault(table, {})[column] = (kind, check)
        return self._columns

    def row(self, table: str, owner: Owner, use_case: str) -> dict[str, Any]:
        """A row as it was planted, or would be."""
        return {
            column: _value(self, owner, use_case, table, column, kind, check)
            for column, (kind, check) in self._tables()[table].items()
        }

    def moment(self) -> tuple[str, tuple[int, ...]]:
        """Changes with every write to Postgres, and every file made, replaced or removed; cheap."""
        connection = next(iter(self.admin.values()))
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        assert row is not None
        return row[0], tuple(_touched(folder) for folder in self._folders)

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        return tuple(folder for folder, _, _ in os.walk(self.lake.root))

    def state(self) -> dict[str, str]:
        """Digests of all that each owner has, by owner and place."""
        found: dict[str, str] = {}
        for name, connection in self.admin.items():
            for tenant, table, digest in connection.execute(self._digests).fetchall():
                found[f"{tenant}: {name}.{table}"] = digest
        if self._changeable is not None:
            with psycopg.connect(self.installation.server.dsn(self._changeable)) as mlflow:
                for scope, table, digest in mlflow.execute(_MLFLOW).fetchall():  # type: ignore[arg-type]
                    found[f"{scope}: mlflow.{table}"] = digest
        for owner in OWNERS:
            home = os.path.join(self.lake.root, lake_prefix(owner.ref))
            for folder, _, files in os.walk(home):
                for file in files:
                    path = os.path.join(folder, file)
                    found[f"{owner.id}: {path[len(home) + 1 :]}"] = self._digest(path)
        return found

    @cached_property
    def _digests(self) -> Any:
        return " UNION ALL ".join(
            f"SELECT tenant_id, '{table}', md5(string_agg(t::text, '|' ORDER BY t::text)) "
            f"FROM tenantry.{table} t GROUP BY tenant_id"
            for table in self.tables()
        )

    def _digest(self, path: str) -> str:
        told = os.stat(path)
        key = (path, told.st_mtime_ns, told.st_size, told.st_ino)
        if key not in self._known:
            self._known[key] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return self._known[key]

    def restore(self, owner: Owner, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Put back what of an owner's rows and files is not as it was."""
        changed = {place for place in {*before, *after} if before.get(place) != after.get(place)}
        mine = {place.partition(": ")[2] for place in changed if place.startswith(f"{owner.id}: ")}
        rows = {table for table in self.tables() if f"{database(owner.ref)}.{table}" in mine}
        connection = self.admin[database(owner.ref)]
        with connection.transaction():
            for table in rows:
                name = sql.Identifier("tenantry", table)
                connection.execute(
                    sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(name), [owner.id]
                )
                for row in self._kept[owner.id][table]:
                    again = sql.SQL(
                        "INSERT INTO {0} SELECT (json_populate_record(NULL::{0}, %s)).*"
                    )
                    connection.execute(again.format(name), row)
        if len(mine) > len(rows):
            there, kept = (r / lake_prefix(owner.ref) for r in (self.lake.root, self.kept_files))
            for place in mine:
                if not place.startswith((f"{database(owner.ref)}.", "mlflow.")):
                    _put_back(there / place, kept / place)

    def remove_strangers(self, after: Mapping[str, str]) -> None:
        """Delete rows of owners that nobody planted, such as of a region that there is not."""
        known = {owner.id for owner in OWNERS}
        for place in after:
            stranger, _, where = place.partition(": ")
            name, _, table = where.partition(".")
            if stranger not in known and name in self.admin:
                self.admin[name].execute(
                    sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(
                        sql.Identifier("tenantry", table)
                    ),
                    [stranger],
                )

    def fresh_registry(self) -> InMemoryRegistry:
        """A registry with what every owner has in it, and no more."""
        registry = InMemoryRegistry()
        for owner in OWNERS:
            for use_case in (USE_CASE, owner.use_case):
                version = registry.register(owner.ref, use_case, new_version(owner))
                registry.set_alias(owner.ref, use_case, CHAMPION, version.version)
        return registry

    def fresh_twins(self) -> Stores:
        """What was planted for every owner, in memory."""
        twins, planted = in_memory(), in_postgres()
        for owner in OWNERS:
            streamed = (
                pa.Table.from_batches([canonical(owner, name)]) for name in ("events", "attributes")
            )
            twins.online.append(owner.ref, *streamed)
            for request in planted.retrains.history(owner.ref):
                asked = {"decision": request.decision, "reason": request.reason}
                key = (owner.ref, request.use_case, request.as_of)
                twins.retrains.record(*key, **asked, details=request.details)
            for incident in planted.incidents.about(owner.ref, USE_CASE):
                twins.incidents.put(owner.ref, incident)
            for run in planted.stage_runs.all_of(owner.ref, "scoring"):
                twins.stage_runs.record(owner.ref, run)
            for use_case in (USE_CASE, owner.use_case):
                scope = (owner.ref, use_case)
                for verdict in planted.drift.verdicts(*scope):
                    twins.drift.store_verdict(owner.ref, verdict, {"reasons": verdict.reasons})
                for promotion in planted.promotions.history(*scope):
                    twins.promotions.record(owner.ref, promotion)
                for experiment in planted.experiments.history(*scope):
                    twins.experiments.add(owner.ref, experiment)
                for metric in planted.live_metrics.history(*scope):
                    twins.live_metrics.record(*scope, metric)
                for outcomes in planted.outcomes.of_pairs(*scope):
                    twins.outcomes.keep(*scope, outcomes, AS_OF)
                rows = [
                    row._asdict() | {"details": None}
                    for row in planted.predictions.served(*scope, AS_OF)
                ]
                part = Part(pa.Table.from_pylist(rows, schema=SCHEMA), owner.version)
                twins.predictions.replace(*scope, AS_OF, [part], feature_fingerprint=owner.group)
        return twins

    def keep(self) -> None:
        """Remember what was planted, for `restore`."""
        for owner in OWNERS:
            connection, kept = self.admin[database(owner.ref)], {}
            for table in self.tables():
                rows = connection.execute(
                    sql.SQL("SELECT row_to_json(t)::text FROM {} t WHERE tenant_id = %s").format(
                        sql.Identifier("tenantry", table)
                    ),
                    [owner.id],
                ).fetchall()
                kept[table] = rows
            self._kept[owner.id] = kept
        shutil.copytree(self.lake.root, self.kept_files)


@cache
def new_version(owner: Owner) -> NewVersion:
    """A version of an owner's, as training hands it over."""
    sink = pa.BufferOutputStream()
    reference = {"user_id": [owner.entity, owner.secret], "prediction": [0.1, 0.9]}
    pq.write_table(pa.table(reference), sink)
    column = f"spend_{owner.secret}"
    return NewVersion(
        key="planted",
        rung="own",
        name="lightgbm",
        model=to_bytes(baseline_model({"column": column, "descending": False, "then": ""})),
        reference=sink.getvalue().to_pybytes(),
        parent_version="",
        as_of=AS_OF,
        feature_fingerprint=owner.group,
        parameters={"note": owner.secret},
        metrics={"auc": 0.8},
        lineage={"tables": [{"tenant": owner.id, "note": owner.secret}]},
    )


@contextmanager
def planted(installation: Installation) -> Iterator[World]:
    """The platform, filled."""
    uri = installation.environment["MLFLOW_TRACKING_URI"]
    lake = Lake(installation.state.lake)
    mlflow = MlflowRegistry(uri, lake.root)
    world = World(installation, lake, installation.server.sqlalchemy_url(_WORLD, "mlflow"))
    for owner in OWNERS:
        migrate(owner.ref)
        world.configs[owner.id] = _config(world, owner)
        _plant_lake(world, owner)
        for use_case in (USE_CASE, owner.use_case):
            version = mlflow.register(owner.ref, use_case, new_version(owner))
            mlflow.set_alias(owner.ref, use_case, CHAMPION, version.version)
            world.versions[f"{owner.id}/{use_case}"] = version
    for copy in (_PLANTED, _WORLD):
        _copy_database(installation, "mlflow", copy)
    for owner in OWNERS:
        _plant_rows(world, owner)
        audit.record(owner.ref, "planted", {"note": owner.secret}, owner.secret)
        if owner not in PLATFORMS:
            ownership.enter(owner.ref, "", "active" if owner.live else "sealed", actor="planted")
    world.keep()
    try:
        yield world
    finally:
        for connection in world.admin.values():
            connection.close()


def _config(world: World, owner: Owner) -> TenantConfig:
    home = world.data / owner.id
    home.mkdir(parents=True)
    rows = "\n".join(
        f"o{n},2024-02-{n + 1:02d}T10:00:00,{owner.entity},{owner.item},{n + 1}.5,{owner.secret}"
        for n in range(20)
    )
    header = "order_id,ordered_at,customer,sku,amount,note"
    (home / "orders.csv").write_text(f"{header}\n{rows}\n", encoding="utf-8")
    folder = world.installation.tenants if owner.live else home
    folder.mkdir(parents=True, exist_ok=True)
    reserved = owner in PLATFORMS
    text = TENANT.format(
        owner=owner, folder=home, consent="true" if owner in CONSENTING else "false"
    )
    file = folder / f"{owner.id}.yaml"
    file.write_text(text.replace(f"id: {owner.id}", "id: nobody") if reserved else text, "utf-8")
    config = load_tenant(file, use_cases.names())
    return config.model_copy(update={"id": owner.id}) if reserved else config


def canonical(owner: Owner, table: str, *, rows: int = 3) -> pa.RecordBatch:
    """Rows of an owner's for a table of the lake."""
    schema, at = SCHEMAS[table], AS_OF - timedelta(days=1)
    known: dict[str, Any] = {
        "tenant_id": owner.id,
        "source": owner.source,
        "event": "Order Completed",
        "user_id": owner.entity,
        "account_id": None,
        "item_id": owner.item,
        "group_id": None,
        "quantity": 1.0,
        "amount": 2.5,
        "properties": json.dumps({"note": owner.secret}),
        "entity": "user",
        "entity_id": owner.entity,
        "name": "segment",
        "value": owner.secret,
        "valid_from": at,
        "event_timestamp": at,
        "created_timestamp": at,
        "month": f"{at:%Y-%m}",
    }
    columns = {
        name: [f"{owner.secret}-{n}" if name == "event_id" else known[name] for n in range(rows)]
        for name in schema.names
    }
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def _plant_lake(world: World, owner: Owner) -> None:
    for table in SCHEMAS:
        world.lake.replace_slice(owner.ref, table, owner.source, WEEK, [canonical(owner, table)])
    features = pa.table(
        {
            "user_id": [owner.entity],
            "as_of": pa.array([AS_OF], pa.timestamp("us", tz="UTC")),
            f"spend_{owner.secret}": [1.5],
        }
    )
    world.lake.put_table(owner.ref, owner.table_path, features)
    world.lake.put_table(owner.ref, owner.table_path.replace("features", "spines"), features)
    for path in (
        owner.path,
        "reports/page.html",
        f"evaluations/{owner.id}.json",
        f"members/{owner.digest}.json",
        f"notes/{owner.secret}.txt",
    ):
        world.lake.put(owner.ref, path, owner.content, 1)


def _plant_rows(world: World, owner: Owner) -> None:
    connection = world.admin[database(owner.ref)]
    for table in world.tables():
        if table == "audit":  # a chain, which has to hold
            continue
        for use_case in (USE_CASE, owner.use_case):
            row = world.row(table, owner, use_case)
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
                    sql.Identifier("tenantry", table),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join([sql.Placeholder()] * len(row)),
                ),
                [*row.values()],
            )


def _put_back(there: Path, kept: Path) -> None:
    if kept.is_file():
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(kept, there)
        return
    there.unlink(missing_ok=True)
    folder, was = there.parent, kept.parent
    while not was.is_dir() and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder, was = folder.parent, was.parent


def _copy_database(installation: Installation, source: str, target: str) -> None:
    names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
    with psycopg.connect(installation.server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [source],
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {target} TEMPLATE {source} OWNER mlflow").format(**names)
        )


def _touched(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return 0


# values


def _value(
    world: World, owner: Owner, use_case: str, table: str, column: str, kind: str, check: str
) -> Any:
    special = _READ.get(f"{table}.{column}")
    if special is not None:
        return special(world, owner, use_case)
    if column in _NAMED:
        return _NAMED[column](owner, use_case)
    if "'" in check and kind == "text":
        return check.split("'")[1]
    return _BY_TYPE[kind](owner, column)


def _handoff(world: World, owner: Owner, use_case: str) -> Jsonb:
    return Jsonb(pack(built(world, owner, use_case)))


def built(world: World, owner: Owner, use_case: str = USE_CASE) -> FeaturesBuilt:
    """Features of an owner's, as the stage hands them over."""
    table = world.lake.root / lake_prefix(owner.ref) / owner.table_path
    content = table.read_bytes() if table.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    return FeaturesBuilt(
        tenant=owner.id,
        use_case=use_case,
        as_of=AS_OF,
        features=StoredObject(owner.id, owner.table_path, digest, 1),
        feature_fingerprint=owner.group,
        events=table_version(owner, "events"),
        attributes=table_version(owner, "attributes"),
        training_due=True,
        training_reason=owner.secret,
    )


def table_version(owner: Owner, table: str) -> TableVersion:
    """What was written of a table of an owner's."""
    return TableVersion(owner.id, table, 1, 3, schema_fingerprint(SCHEMAS[table]))


def view() -> FeatureView:
    """A view of a tenant's own that is served online."""
    views = use_cases.get(USE_CASE).features.views
    return next(one for one in views if one.stream and one.ttl)


def _layout(world: World, owner: Owner, use_case: str) -> Jsonb:
    (layout,) = layouts([view()], owner.ref.region, "UTC")
    return Jsonb(layout.to_json())


_PROFILE: Final = {"columns": {}, "entities": 3, "weekdays": [0], "keyed": True}

#: What something reads in a certain form.
_READ: Final[dict[str, Any]] = {
    "stage_runs.handoff": _handoff,
    "stage_runs.stage": lambda world, owner, use_case: "features",
    "promotions.reasons": lambda world, owner, use_case: Jsonb([owner.secret]),
    "promotions.evidence": lambda world, owner, use_case: Jsonb(
        {"metric": "auc", "candidates": [], "incumbent": None, "note": owner.secret}
    ),
    "promotions.version": lambda world, owner, use_case: "1",
    "promotions.digest": lambda world, owner, use_case: hashlib.sha256(
        new_version(owner).model
    ).hexdigest(),
    "promotions.withdrawn": lambda world, owner, use_case: Jsonb([]),
    "promotions.incumbent_version": lambda world, owner, use_case: "",
    "promotions.rung": lambda world, owner, use_case: "own",
    "drift_verdicts.details": lambda world, owner, use_case: Jsonb({"reasons": [owner.secret]}),
    "drift_profiles.profile": lambda world, owner, use_case: Jsonb(_PROFILE),
    "drift_verdicts.report_path": lambda world, owner, use_case: owner.path,
    "quality_results.report_path": lambda world, owner, use_case: owner.path,
    "quality_results.observed": lambda world, owner, use_case: Jsonb(
        {"expectation": "asked", "note": owner.secret}
    ),
    "experiments.policy": lambda world, owner, use_case: Jsonb({"share": 0.5}),
    "experiments.reasons": lambda world, owner, use_case: Jsonb([owner.secret]),
    "experiments.champion_version": lambda world, owner, use_case: "1",
    "experiments.number": lambda world, owner, use_case: 1,
    "online_groups.layout": _layout,
    "online_groups.batches": lambda world, owner, use_case: Jsonb([[AS_OF.isoformat(), 3]]),
    "online_views.source": lambda world, owner, use_case: "",
    "online_views.view_name": lambda world, owner, use_case: view().name,
    "online_views.fingerprint": lambda world, owner, use_case: view().fingerprint,
    "tenant_owners.member": lambda world, owner, use_case: f"former-{owner.number}",
    "tenant_owners.target_region": lambda world, owner, use_case: "",
    "tenant_owners.target_isolation": lambda world, owner, use_case: "",
    "tenant_owners.state": lambda world, owner, use_case: "erased",
    "online_facts.entity": lambda world, owner, use_case: "user",
    "retrain_ledger.effect_details": lambda world, owner, use_case: Jsonb({}),
    "retrain_ledger.decision": lambda world, owner, use_case: "retrain",
    "retrain_ledger.state": lambda world, owner, use_case: "requested",
    "incidents.kind": lambda world, owner, use_case: "data_loss",
    "live_metrics.metric": lambda world, owner, use_case: "auc",
}

#: What a column holds wherever it stands.
_NAMED: Final[dict[str, Any]] = {
    "tenant_id": lambda owner, use_case: owner.id,
    "owner": lambda owner, use_case: owner.id,
    "use_case": lambda owner, use_case: use_case,
    "as_of": lambda owner, use_case: AS_OF,
    "interval_end": lambda owner, use_case: AS_OF,
    "interval_start": lambda owner, use_case: AS_OF - timedelta(days=7),
    "closed_at": lambda owner, use_case: None,
    "model_version": lambda owner, use_case: owner.version,
    "challenger_version": lambda owner, use_case: owner.version,
    "source": lambda owner, use_case: owner.source,
    "region": lambda owner, use_case: owner.ref.region,
    "entity_id": lambda owner, use_case: owner.entity,
    "user_id": lambda owner, use_case: owner.entity,
    "item_id": lambda owner, use_case: owner.item,
    "group_key": lambda owner, use_case: owner.group,
    "trigger": lambda owner, use_case: "scheduled",
    "dag_run_id": lambda owner, use_case: "",
    "arm": lambda owner, use_case: None,
    "experiment": lambda owner, use_case: None,
}


def _instant(owner: Owner, column: str) -> datetime:
    return AS_OF


_BY_TYPE: Final[dict[str, Any]] = {
    "text": lambda owner, column: f"{column} {owner.secret}",
    "jsonb": lambda owner, column: Jsonb({"note": owner.secret}),
    "json": lambda owner, column: Jsonb({"note": owner.secret}),
    "bytea": lambda owner, column: owner.secret.encode(),
    "timestamp with time zone": _instant,
    "date": lambda owner, column: AS_OF.date(),
    "bigint": lambda owner, column: owner.number,
    "integer": lambda owner, column: owner.number,
    "smallint": lambda owner, column: owner.number,
    "numeric": lambda owner, column: owner.number,
    "double precision": lambda owner, column: 0.5 + owner.number / 100,
    "boolean": lambda owner, column: True,
    "uuid": lambda owner, column: hashlib.md5(owner.id.encode()).hexdigest(),  # noqa: S324
}
