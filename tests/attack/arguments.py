"""What a function is called with by an attacker who knows, or guesses, a neighbour's names.

Every parameter is filled by its name and annotation, so that a new function needs a word here only
where it takes something new. `NEEDED` says what is missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import pyarrow as pa

from include import use_cases
from include.features.online.codec import EntityState
from include.features.online.layout import layouts
from include.features.online.served import Served
from include.features.views import FeatureService
from include.handoffs import (
    Candidate,
    Ingested,
    LostDays,
    Recipe,
    RecordedSet,
    Scored,
    StoredObject,
    TableVersion,
    Trained,
)
from include.incidents import Incident
from include.ingestion import slices
from include.ingestion.corrections import VALUES, CorrectionRule
from include.ingestion.quarantine import Quarantine
from include.models.baselines import baseline_model
from include.monitoring.decisions import Verdict
from include.monitoring.drift_records import DriftVerdict
from include.monitoring.effects import PromotedRetrain, RetrainEffect
from include.monitoring.gate import WindowComparison
from include.monitoring.judgement import Judgement
from include.monitoring.live_metrics import LiveMetric
from include.monitoring.matured import Champion
from include.monitoring.profiles import WindowProfile
from include.monitoring.season import StoredWindow
from include.monitoring.skew_findings import Mismatch, SkewFinding
from include.monitoring.windows import WindowPair
from include.pipeline.consent import Withdrawals
from include.pipeline.consents import Consents
from include.pipeline.outcomes import AnsweredInstant
from include.pipeline.runs import Run
from include.quality import checks
from include.quality.landing import Landing
from include.quality.needs import DataNeeds
from include.registry.ancestry import ModelName
from include.registry.decay import RollbackFacts
from include.registry.experiments import Ending, Experiment
from include.registry.in_memory import InMemoryRegistry
from include.registry.incidents import Suspected
from include.registry.mlflow_records import MlflowRecords
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.outcomes import ArmOutcome, InstantOutcomes, PairOutcome
from include.registry.policy import Policy
from include.registry.port import ModelVersion
from include.registry.predictions import Part, Prediction
from include.registry.promotions import Promotion
from include.registry.suspicions import Standing, Suspicion
from include.registry.withdrawal import Withdrawn
from include.scoring.ranks import SCHEMA
from include.stage_runs import StageRun
from include.storage.chain import Head
from include.storage.claims import TenantOwner
from include.storage.lake import Lake
from include.storage.places import Cutoffs
from include.storage.postgres import tenant_transaction
from include.stores import Stores
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.stores.postgres.online.partials import Batch, Group, Row
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.config import Retention
from include.tenants.limits import Limits
from include.tenants.loader import Fleet
from include.tenants.namespace import lake_prefix
from include.training.reproduction import RecordedLake
from include.use_cases.drift_policy import DriftPolicy
from include.wiring import Platform
from tests.attack.owners import AS_OF, USE_CASE, WEEK, Owner
from tests.attack.surface import Function, Parameter
from tests.attack.world import World, built, canonical, new_version, view

#: How a neighbour's things are asked for: under the attacker's own name, with handoffs that say
#: they are the neighbour's, through paths that climb, or with the neighbour's name on the
#: attacker's own connection.
NAMES, CLAIM, CLIMB, DEPUTY = "names", "claim", "climb", "deputy"

_CLAIMED: Final = (
    *("TableVersion", "StoredObject", "FeaturesBuilt", "Scored", "Ingested", "Checked"),
    *("Trained", "Candidate", "ModelVersion", "Promotion", "Experiment", "Recipe"),
    *("RecordBatch", "pa.Table"),
)
_CONNECTION: Final = ("Connection", "Connection | None")
_CLIMBING: Final = ("StoredObject", "FeaturesBuilt", "Scored", "Trained", "Candidate")


def spellings(function: Function) -> list[str]:
    """The ways of asking that make a difference to a function."""
    found = [NAMES]
    if function.takes(*_CLAIMED):
        found.append(CLAIM)
    named = {one.name for one in function.parameters}
    if function.takes(*_CLIMBING) or named & {"path", "folder", "report_path"}:
        found.append(CLIMB)
    if any(one.kind in _CONNECTION for one in function.parameters):
        found.append(DEPUTY)
    return found


class UnknownError(Exception):
    """Nobody has said what to give for a parameter."""


@dataclass
class Asked:
    """One attacker, whose things are asked for, and how."""

    world: World
    principal: Owner
    named: Owner
    spelling: str = NAMES

    @property
    def claimed(self) -> Owner:
        """Whose a handoff says that it is."""
        return self.named if self.spelling == CLAIM else self.principal

    @property
    def path(self) -> str:
        """Of the named one's file."""
        return self.named.from_a_neighbour if self.spelling == CLIMB else self.named.path

    @property
    def stored(self) -> StoredObject:
        """The named one's file."""
        return StoredObject(self.claimed.id, self.path, self.named.digest, 1)

    @property
    def built(self) -> Any:
        """Features of the named one's."""
        theirs = built(self.world, self.named)
        path = theirs.features.path
        if self.spelling == CLIMB:
            path = self.named.from_a_neighbour.replace(self.named.path, path)
        return replace(
            theirs,
            tenant=self.claimed.id,
            features=replace(theirs.features, tenant=self.claimed.id, path=path),
            events=self.table_version("events"),
            attributes=self.table_version("attributes"),
            feature_fingerprint=use_cases.get(USE_CASE).fingerprint,
        )

    def table_version(self, table: str) -> TableVersion:
        """Of the named one's table."""
        there = self.named if self.named.id in self.world.configs else self.principal
        recorded = self.world.lake.version(there.ref, table)
        return replace(recorded, tenant=self.claimed.id)

    @property
    def scored(self) -> Scored:
        """Predictions of the named one's."""
        made = self.built
        return Scored(
            made.tenant,
            made.use_case,
            made.as_of,
            self.named.version,
            made.feature_fingerprint,
            made.features,
            made.events,
            made.attributes,
            1,
        )

    @property
    def candidate(self) -> Candidate:
        """A model of the named one's."""
        return Candidate("own", "lightgbm", self.stored, self.stored, "", 0.8, 0.7, 0.9)

    @property
    def trained(self) -> Trained:
        """A training of the named one's."""
        return Trained(
            tenant=self.claimed.id,
            use_case=self.named.use_case,
            as_of=AS_OF,
            trigger="manual",
            candidates=(self.candidate,),
            evaluation=self.stored,
            training_rows=1,
            holdout_rows=1,
        )

    @property
    def version(self) -> ModelVersion:
        """A version of the named one's."""
        return new_version(self.named).at(self.claimed.ref, USE_CASE, "1")

    @property
    def promotion(self) -> Promotion:
        """A decision of the named one's."""
        return Promotion(
            tenant=self.claimed.id,
            use_case=self.named.use_case,
            as_of=AS_OF,
            trigger="manual",
            promoted=False,
            version=self.named.version,
            rung="own",
            digest=self.named.digest,
            incumbent_version="",
            reasons=("asked",),
            evidence={"metric": "auc", "candidates": [], "incumbent": None},
        )

    @property
    def experiment(self) -> Experiment:
        """An experiment of the named one's."""
        return Experiment(
            tenant=self.claimed.id,
            use_case=self.named.use_case,
            number=1,
            champion="1",
            challenger=self.named.version,
            digest=self.named.digest,
            policy=Policy(share=0.5),
            started_as_of=AS_OF,
            reasons=(),
            actor="asked",
        )

    @property
    def recipe(self) -> Recipe:
        """What a training set of the named one's was made of."""
        service = self.service
        events, attributes = self.table_version("events"), self.table_version("attributes")
        return Recipe(
            *(self.claimed.id, "UTC", service.name, service.fingerprint, events, attributes),
            *(AS_OF, self.named.digest),
        )

    @property
    def service(self) -> FeatureService:
        """A view of everybody's."""
        return FeatureService("asked", (view(),))

    @property
    def group(self) -> Group:
        """Partial aggregates of the named one's."""
        (layout,) = layouts([view()], self.principal.ref.region, "UTC")
        return Group(self.named.group, layout, AS_OF, (Batch(AS_OF, 1),))

    @property
    def rows(self) -> pa.RecordBatch:
        """Events of the named one's."""
        batch = canonical(self.named, "events")
        secret = pa.array(["asked"] * len(batch), pa.string())
        ids = pa.array([f"asked-{n}" for n in range(len(batch))], pa.string())
        owner = pa.array([self.claimed.id] * len(batch), pa.string())
        for name, values in (("properties", secret), ("event_id", ids), ("tenant_id", owner)):
            batch = batch.set_column(
                batch.schema.get_field_index(name), batch.schema.field(name), values
            )
        return batch

    @property
    def facts(self) -> pa.Table:
        """Attributes of the named one's."""
        batch = canonical(self.named, "attributes")
        values = {"value": "asked", "tenant_id": self.claimed.id}
        table = pa.Table.from_batches([batch])
        for name, value in values.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(name), pa.array([value] * len(batch)))
        ids = pa.array([f"asked-{n}" for n in range(len(batch))])
        at = table.schema.get_field_index("event_id")
        return table.set_column(at, table.schema.field("event_id"), ids)

    @property
    def owned(self) -> TenantOwner:
        """The record of the attacker's own data."""
        ref = self.principal.ref
        return TenantOwner(ref.id, 1, ref.region, ref.isolation, "", "active", "asked", AS_OF)

    @cached_property
    def registry(self) -> InMemoryRegistry:
        """With every owner's versions in it."""
        return self.world.fresh_registry()

    @cached_property
    def twins(self) -> Stores:
        """With every owner's rows in them."""
        return self.world.fresh_twins()

    @property
    def config(self) -> Any:
        """The attacker's own tenant file, with sources that name the neighbour's."""
        return self.world.configs[self.principal.id]


def _platform(a: Asked) -> Platform:
    return Platform(a.world.lake, a.registry, in_postgres(), _nobody)


def _nobody(_: str) -> Any:
    raise AssertionError("no source database is reached here")


_KEYS: Final = pa.schema([("user_id", pa.string()), ("label", pa.int64())])


def _labels(asked: Asked) -> pa.Table:
    return pa.table({"user_id": [asked.named.entity, "other"], "label": [1, 0]}, _KEYS)


def _spine(asked: Asked) -> pa.Table:
    at = pa.array([AS_OF], pa.timestamp("us", tz="UTC"))
    return pa.table({"user_id": [asked.named.entity], "as_of": at})


def _part(asked: Asked) -> Part:
    rows = {
        "entity_id": [asked.named.entity],
        "item_id": [asked.named.item],
        "rank": [1],
        "score": [0.5],
        "baseline_score": [0.5],
        "details": [None],
    }
    return Part(pa.table({n: rows[n] for n in SCHEMA.names}, SCHEMA), asked.named.version)


def _prediction(asked: Asked) -> Prediction:
    return Prediction(asked.named.entity, asked.named.item, 1, 0.5, 0.5, asked.named.version)


def _state(asked: Asked) -> Row:
    return Row(asked.named.entity, "", AS_OF, EntityState(0, b"", b"", b""))


def _answered(version: Any, model: Any, detailed: bool) -> pa.Table:
    return SCHEMA.empty_table()


def _landing(asked: Asked) -> Landing:
    import duckdb

    lake, ref = asked.world.lake, asked.principal.ref
    events, attributes = (lake.dataset(ref, f"landing_{n}") for n in ("events", "attributes"))
    return Landing(events, attributes, duckdb.connect())


def _consents(asked: Asked) -> Consents:
    tenants = {asked.principal.id: asked.config}
    return Consents(Fleet(tenants), tenants)


def _folder(asked: Asked, owner: Owner) -> str:
    return (asked.world.lake.root / lake_prefix(owner.ref)).as_uri()


def _recorded(asked: Asked) -> RecordedLake:
    beside = Lake(asked.world.installation.state.home / "scratch")
    table = {(asked.principal.id, "events"): asked.table_version("events")}
    return RecordedLake(asked.world.lake.root, scratch=beside, recorded=table)


Provider = Callable[[Asked], Any]


def _stored(name: str) -> Provider:
    return lambda a: getattr(in_postgres(), name)


def _twin(name: str) -> Provider:
    return lambda a: getattr(a.twins, name)


#: Port → its adapter for Postgres.
_PORTS: Final[dict[str, Provider]] = {
    str(store.type): _stored(store.name) for store in fields(Stores)
}
#: Adapter → one, with what every owner has in it.
_STORES: Final[dict[str, Provider]] = {
    type(getattr(stores, store.name)).__name__: provider(store.name)
    for stores, provider in ((in_postgres(), _stored), (in_memory(), _twin))
    for store in fields(Stores)
}

#: Annotation → what is given, whatever the parameter is called.
BY_KIND: Final[dict[str, Provider]] = {
    "TenantRef": lambda a: (a.named if a.spelling == DEPUTY else a.principal).ref,
    "TenantConfig": lambda a: a.config,
    "TenantConfig | None": lambda a: a.config,
    "Iterable[TenantRef]": lambda a: [a.principal.ref],
    "Sequence[TenantConfig]": lambda a: [a.config],
    "Mapping[str, TenantConfig]": lambda a: {a.principal.id: a.config},
    "Lake": lambda a: a.world.lake,
    "Registry": lambda a: a.registry,
    "ModelRecords": lambda a: a.registry,
    "Stores": lambda a: in_postgres(),
    **_PORTS,
    "DriftVerdict": lambda a: DriftVerdict(
        USE_CASE, AS_OF, a.named.version, "stable", 0.1, ("asked",), "asked"
    ),
    "wiring.Platform": lambda a: _platform(a),
    "StageRun": lambda a: StageRun(USE_CASE, "scoring", WEEK.start, WEEK.end, a.scored),
    "Incident": lambda a: Incident("data_loss", USE_CASE, AS_OF, "asked", {"asked": True}),
    "Slice": lambda a: slices.Slice(a.named.source, WEEK, 3, 0, 0, 1),
    "Rejected": lambda a: slices.Rejected(slices.Counted([], Counter(["asked"]))),
    "Sequence[Remaining]": lambda a: [slices.Remaining(WEEK, 1, 0)],
    "CorrectionRule": lambda a: CorrectionRule(VALUES),
    "SetAsideRows": lambda a: lambda rows: slices.Counted(),
    "Inspection": lambda a: checks.Inspection(WEEK, (), a.path),
    "Sequence[UnacceptedRows]": lambda a: [
        checks.UnacceptedRows(a.named.source, WEEK, [_set_aside(a)])
    ],
    "Platform": lambda a: _platform(a),
    "Connect": lambda a: _nobody,
    "wiring.Connect": lambda a: _nobody,
    "datetime": lambda a: AS_OF,
    "datetime | None": lambda a: AS_OF,
    "date": lambda a: AS_OF.date(),
    "date | None": lambda a: AS_OF.date(),
    "Interval": lambda a: WEEK,
    "timedelta": lambda a: timedelta(0),
    "StoredObject": lambda a: a.stored,
    "FeaturesBuilt": lambda a: a.built,
    "Scored": lambda a: a.scored,
    "Sequence[Scored]": lambda a: [a.scored],
    "Ingested": lambda a: Ingested(
        a.claimed.id,
        WEEK,
        a.table_version("landing_events"),
        a.table_version("landing_attributes"),
        *(3, 0, 0, 0),
    ),
    "Trained": lambda a: a.trained,
    "Candidate": lambda a: a.candidate,
    "ModelVersion": lambda a: a.version,
    "Promotion": lambda a: a.promotion,
    "Sequence[Promotion]": lambda a: [a.promotion],
    "Sequence[Promotion] | None": lambda a: None,
    "Experiment": lambda a: a.experiment,
    "Recipe": lambda a: a.recipe,
    "RecordedSet": lambda a: RecordedSet(a.recipe, a.named.digest, a.stored),
    "NewVersion": lambda a: replace(
        new_version(a.named), key=f"asked-{a.named.id}", parameters={}, lineage={"tables": []}
    ),
    "UseCase": lambda a: use_cases.get(USE_CASE),
    "FeatureService": lambda a: a.service,
    "FeatureView": lambda a: view(),
    "Sequence[FeatureView]": lambda a: [view()],
    "Group": lambda a: a.group,
    "Layout": lambda a: a.group.layout,
    "Iterable[Row]": lambda a: [_state(a)],
    "Iterable[pa.RecordBatch]": lambda a: [a.rows],
    "pa.RecordBatch": lambda a: a.rows,
    "Policy": lambda a: Policy(share=0.5),
    "DriftPolicy": lambda a: DriftPolicy(),
    "Verdict": lambda a: Verdict("stable", 0.1, ("asked",)),
    "RetrainEffect": lambda a: RetrainEffect(
        "helped", "same labels", "auc", 0.1, 0.0, 0.2, AS_OF, 30
    ),
    "PromotedRetrain": lambda a: PromotedRetrain(AS_OF, "1", a.named.version),
    "Champion": lambda a: Champion(a.named.version, AS_OF, _spine(a), "auc"),
    "Champion | None": lambda a: None,
    "WindowProfile": lambda a: WindowProfile({}, 1, frozenset({0})),
    "StoredWindow": lambda a: StoredWindow(
        AS_OF, a.named.version, WindowProfile({}, 1, frozenset({0}))
    ),
    "Sequence[ColumnDrift]": lambda a: [],
    "WindowPair": lambda a: WindowPair({}, {}, {}),
    "WindowComparison": lambda a: WindowComparison((), None, {}, 1, 1),
    "Sequence[SkewFinding]": lambda a: [
        SkewFinding(
            *(USE_CASE, AS_OF, "offline", Mismatch("asked", 1, 1, 0, None), "past"),
            a.named.version,
        )
    ],
    "Sequence[datetime]": lambda a: [AS_OF],
    "Sequence[LostDays]": lambda a: [LostDays(a.named.id, AS_OF, AS_OF + timedelta(days=1))],
    "Sequence[DataNeeds]": lambda a: [DataNeeds(USE_CASE, ("Order Completed",), ("user_id",))],
    "Landing": _landing,
    "ds.Dataset": lambda a: a.world.lake.dataset(a.principal.ref, "events"),
    "Iterable[TenantConfig]": lambda a: [a.config],
    "Mapping[str, TenantRef]": lambda a: {a.principal.id: a.principal.ref},
    "Mapping[str, tuple[str, ...]]": lambda a: {"asked": ("user_id",)},
    "Mapping[str, tuple[TenantRef, Head]]": lambda a: {
        a.principal.id: (a.principal.ref, Head(1, a.named.digest))
    },
    "Keys | None": lambda a: None,
    "TenantOwner": lambda a: replace(a.owned, tenant=a.named.id),
    "TenantOwner | None": lambda a: a.owned,
    "Retention": lambda a: Retention(),
    "Cutoffs": lambda a: Cutoffs(AS_OF, AS_OF),
    "Limits": lambda a: Limits(),
    "Source": lambda a: a.config.sources[0],
    "Path": lambda a: a.world.lake.root,
    "ModelName": lambda a: ModelName(a.named.id, USE_CASE, "1"),
    "Callable[[TenantRef], datetime | None]": lambda a: lambda tenant: AS_OF,
    "Fallback": lambda a: lambda tenant, use_case: None,
    "Ended": lambda a: "stopped",
    "Suspected": lambda a: Suspected(AS_OF, "asked", (_suspicion(a),), a.named.version, (), None),
    "Sequence[Suspicion]": lambda a: [_suspicion(a)],
    "Answer": lambda a: "dismissed",
    "InstantOutcomes": lambda a: InstantOutcomes(
        AS_OF + timedelta(days=1),
        1,
        (ArmOutcome(a.named.entity, True, 0.5),),
        ("1", a.named.version),
        (PairOutcome(a.named.entity, 0.5, 0.5),),
    ),
    "LiveMetric": lambda a: LiveMetric(AS_OF, "auc", a.named.version, 0.5, 0.1, 1, AS_OF),
    "live.Rows": lambda a: [_prediction(a)],
    "Rows": lambda a: [_prediction(a)],
    "AnsweredInstant": lambda a: AnsweredInstant(AS_OF, [_prediction(a)], [_prediction(a)]),
    "Truth": lambda a: {a.named.entity: 1.0},
    "Ending": lambda a: Ending(AS_OF, "stopped", ("asked",), {}, "asked"),
    "RollbackFacts": lambda a: RollbackFacts(
        a.named.version, "own", "auc", 0.7, 0.1, 0.01, 0.5, 100, AS_OF
    ),
    "Withdrawn": lambda a: Withdrawn(
        a.claimed.id, USE_CASE, frozenset(), {}, {}, PostgresPromotions()
    ),
    "Sequence[Part]": lambda a: [_part(a)],
    "Callable[[ModelVersion, Model, bool], pa.Table]": lambda a: _answered,
    "Sequence[Query]": lambda a: [
        ("SELECT * FROM predictions WHERE tenant_id = $1 OR use_case = $2", [a.named.id, USE_CASE]),
        ("SELECT count(*) FROM promotions", []),
    ],
    "Model | None": lambda a: baseline_model({"column": "x", "descending": False, "then": ""}),
    "Spine": lambda a: __import__("include.features.spine", fromlist=["Spine"]).Spine(_spine(a)),
    "Mapping[str, Sequence[str | None]]": lambda a: {"user_id": [a.named.entity]},
    "Sequence[AttributeLookup]": lambda a: [],
    "Sequence[Served]": lambda a: [
        Served(view().name, view().fingerprint, a.named.group, AS_OF, None, "")
    ],
    "Decision": lambda a: "retrain",
    "Outcome": lambda a: "promoted",
    "Mapping[str, Any]": lambda a: {"asked": 1},
    "Mapping[str, datetime]": lambda a: {a.group.layout.key: AS_OF},
    "Mapping[str, str]": lambda a: {"asked": "asked"},
    "Version | None": lambda a: None,
    "bool": lambda a: True,
    "bytes": lambda a: b"asked",
    "float": lambda a: math.pi,
    "float | None": lambda a: None,
    "int": lambda a: 1,
    "int | None": lambda a: None,
}

#: Name of a parameter → what is given, where its annotation says too little.
BY_NAME: Final[dict[str, Provider]] = {
    "use_case": lambda a: a.named.use_case,
    "version": lambda a: "1",
    "model_version": lambda a: a.named.version,
    "number": lambda a: "1",
    "challenger": lambda a: a.named.version,
    "to": lambda a: a.named.version,
    "trigger": lambda a: "scheduled",
    "table": lambda a: "events",
    "source": lambda a: a.named.source,
    "former": lambda a: a.named.source,
    "path": lambda a: a.path,
    "report_path": lambda a: a.path,
    "folder": lambda a: a.path.rpartition("/")[0],
    "timezone": lambda a: "UTC",
    "tracking_uri": lambda a: a.world.changeable_uri,
    "group_key": lambda a: a.named.group,
    "metric": lambda a: "auc",
    "name": lambda a: "champion",
    "by": lambda a: "asked",
    "because": lambda a: "asked",
    "reason": lambda a: "asked",
    "verdict": lambda a: "stable",
    "dag_run_id": lambda a: a.named.run_id,
    "digest": lambda a: a.named.digest,
    "purpose": lambda a: f"asked-{a.named.id}",
    "secret": lambda a: "s" * 64,
    "action": lambda a: "asked",
    "actor": lambda a: "asked",
    "tables": lambda a: ["promotions"],
    "key": lambda a: None,
    "state": lambda a: "sealed",
    "feature_fingerprint": lambda a: a.named.group,
    "fingerprint": lambda a: a.named.group,
    "code_revision": lambda a: "asked",
    "task": lambda a: "classification",
    "kind": lambda a: "data_loss",
    "stage": lambda a: "scoring",
    "entity": lambda a: "user_id",
    "owners": lambda a: [a.principal.id],
    "members": lambda a: [a.principal.id],
    "keys": lambda a: ["user_id"],
    "reasons": lambda a: ["asked"],
    "decision": lambda a: ["asked"],
    "consenting": lambda a: [],
    "recorded_set": lambda a: RecordedSet(a.recipe, a.named.digest, a.stored),
    "document": lambda a: {"evidence": {}, "models": {}},
    "labels": _labels,
    "old_scores": lambda a: _part(a).rows,
    "facts": lambda a: a.facts,
    "attributes": lambda a: a.facts,
    "events": lambda a: pa.Table.from_batches([a.rows]),
    "features": _spine,
    "rows": lambda a: pa.Table.from_batches([a.rows]),
    "spine": _spine,
    "slices": lambda a: [],
    "incidents": lambda a: [],
    "delivered": lambda a: {},
    "progress": lambda a: None,
    "one": lambda a: 0,
    "other": lambda a: 1,
    "named": lambda a: {(a.named.id, "events", 1)},
}

#: Statements that ask for another tenant's rows by its id.
_SELECT: Final = "SELECT * FROM promotions WHERE tenant_id = %s"
_DELETE: Final = "DELETE FROM incidents WHERE tenant_id = %s"

#: Where a function wants something else than others do: `function:parameter`.
BY_FUNCTION: Final[dict[str, Provider]] = {
    "registry.holding.candidates_held:refused": lambda a: {},
    "registry.holding.candidates_held:serving": lambda a: a.promotion,
    "registry.holding.tell:suspicions": lambda a: Standing((_suspicion(a),), ()),
    "registry.holding.tell:waiting": lambda a: a.version,
    "stores.postgres.statements.select:query": lambda a: _SELECT,
    "stores.postgres.statements.select:key": lambda a: [a.named.id],
    "stores.postgres.statements.select_first:query": lambda a: _SELECT,
    "stores.postgres.statements.select_first:key": lambda a: [a.named.id],
    "stores.postgres.statements.change:statement": lambda a: _DELETE,
    "stores.postgres.statements.change:values": lambda a: [a.named.id],
    "storage.lake.Lake.put_table:table": _spine,
    "storage.lake.Lake.vacuum:named": lambda a: {1},
    "storage.audit.enter:action": lambda a: "promotion",
    "storage.audit.enter:key": lambda a: (a.named.use_case, AS_OF, "scheduled"),
    "storage.ownership.enter:key": lambda a: "",
    "training.told.told:document": lambda a: {
        "tables": [{"tenant": a.claimed.id, "table": "events", "version": 1}]
    },
    "storage.checkpoints.write:where": lambda a: a.world.installation.state.home / "points",
    "storage.verification.verify:where": lambda a: a.world.installation.state.home / "points",
    "registry.consent.withdraw:lost": lambda a: lambda version: "asked",
    "pipeline.consents.Consents.refusing:contributors": lambda a: [a.named.id],
    "registry.mlflow_workspace.readdress:before": lambda a: _folder(a, a.named),
    "registry.mlflow_workspace.readdress:after": lambda a: _folder(a, a.principal),
    "features.inputs.read:events": lambda a: a.table_version("events"),
    "features.inputs.read:attributes": lambda a: a.table_version("attributes"),
    "features.inputs.read_pinned:events": lambda a: a.table_version("events"),
    "features.inputs.read_pinned:attributes": lambda a: a.table_version("attributes"),
    "features.online.stage.materialize:events": lambda a: a.table_version("events"),
    "features.online.stage.materialize:attributes": lambda a: a.table_version("attributes"),
    "ingestion.mapping.constant_arrival:source": lambda a: a.config.sources[0],
    "ingestion.trial.look_into:source": lambda a: a.config.sources[0],
    "pipeline.suitability.compare:use_cases": lambda a: [use_cases.get(USE_CASE)],
    "pipeline.suitability.compare:trials": lambda a: {},
    "ingestion.mapping.map_rows:source": lambda a: a.config.sources[0],
    "ingestion.zone_store.reading_of:source": lambda a: a.config.sources[0],
    "ingestion.zone_store.keep:zones": lambda a: {},
    "training.suspecting.mapping_of:origin": lambda a: "amount",
    "quality.landing.slice_to_check:delivered": lambda a: [],
    "quality.landing.never_judged:judged": lambda a: set(),
    "storage.slices.check_slice:rows": lambda a: a.rows,
    "storage.lake.Lake.keep_sources:names": lambda a: [a.named.source],
    "stores.postgres.online.partials.write:rows": lambda a: [_state(a)],
    "stores.postgres.quarantine.insert:stage": lambda a: "quality",
    "stores.postgres.quarantine.insert:rows": lambda a: [(1, "asked", "{}")],
    "stores.postgres.quarantine.rows:stage": lambda a: "quality",
    "features.description.preview.preview:rows": lambda a: 3,
    "storage.lake_files.LakeFiles.put:rows": lambda a: 1,
    "training.reproduction.RecordedLake.put:rows": lambda a: 1,
    "registry.blast_radius.roll_back_derived:source": lambda a: ModelName(
        a.named.id, USE_CASE, "1"
    ),
    "scoring.stage.score:reasons": lambda a: 1,
    "registry.conclusion.conclude:verdict": lambda a: "stopped",
    "monitoring.drift_page.draw:judgement": lambda a: Judgement(
        "1",
        None,
        AS_OF,
        StoredObject(a.named.id, a.named.path, "0" * 64, 1),
        Verdict("stable", 0.1, ("asked",)),
        WindowComparison((), None, {}, 1, 1),
        DriftPolicy(),
        {},
    ),
    "monitoring.drift_page.draw:reference": _spine,
    "monitoring.drift_page.draw:window": _spine,
    "pipeline.drift_pages.drawn:figures": lambda a: a.named.path,
    "pipeline.in_process.run:use_case": lambda a: USE_CASE,
    "registry.rollback.move:to": lambda a: a.promotion,
    "stores.postgres.retrains.PostgresRetrains.record:decision": lambda a: "retrain",
    "stores.memory.retrains.InMemoryRetrains.record:decision": lambda a: "retrain",
    "stores.postgres.online.partials.forget_streamed:keys": lambda a: [a.named.entity],
}


def _set_aside(a: Asked) -> checks.FailedRow:
    return checks.FailedRow(1, "asked", {"created_timestamp": AS_OF.isoformat()})


def _suspicion(a: Asked) -> Suspicion:
    return Suspicion("amount", ("asked",), ("asked",), (a.named.digest,), ("own/asked",))


#: Class → an instance that is nobody's in particular.
INSTANCES: Final[dict[str, Provider]] = {
    "Lake": lambda a: a.world.lake,
    "LakeFiles": lambda a: a.world.lake,
    "InMemoryRegistry": lambda a: a.registry,
    **_STORES,
    "MlflowRegistry": lambda a: MlflowRegistry(a.world.changeable_uri, a.world.lake.root),
    "MlflowRecords": lambda a: MlflowRecords(a.world.changeable_uri, a.world.lake),
    "RecordedLake": _recorded,
    "NewVersion": lambda a: new_version(a.named),
    "Quarantine": lambda a: Quarantine(frozenset()),
    "Consents": lambda a: _consents(a),
    "Withdrawals": lambda a: Withdrawals(_consents(a), _platform(a)),
    "Run": lambda a: Run(_platform(a), a.config, WEEK),
    "TenantConfig": lambda a: a.config,
}


def missing(function: Function) -> list[str]:
    """Parameters for which nobody has said what to give."""
    needed = [*function.made_with, *function.parameters]
    found = [
        f"{function.name}({one.name}: {one.kind})"
        for one in needed
        if not one.optional and one.kind not in _CONNECTION and _provider(function, one) is None
    ]
    if function.of and not function.made_with and function.of not in INSTANCES:
        found.append(f"{function.name}: an instance of {function.of}")
    return found


def call(function: Function, asked: Asked) -> Any:
    """Call the function as `asked` would.

    Raises:
        UnknownError: nobody has said with what.
    """
    if gaps := missing(function):
        raise UnknownError(", ".join(gaps))
    with _connection(function, asked) as connection:
        target: Callable[..., Any] = function.call
        if function.made_with:
            owner = getattr(__import__(target.__module__, fromlist=["_"]), function.of)
            made = owner(**_given(function, function.made_with, asked, connection))
            target = getattr(made, target.__name__)
        elif function.of:
            target = getattr(INSTANCES[function.of](asked), target.__name__)
        given = _given(function, function.parameters, asked, connection)
        starred = next((one.name for one in function.parameters if one.starred), None)
        if starred is not None:  # what comes before it is given by position, too
            names = [one.name for one in function.parameters if not one.by_keyword]
            before = [given.pop(name) for name in names if name in given and name != starred]
            value = target(*before, *given.pop(starred), **given)
        else:
            value = target(**given)
        return list(value) if connection is not None and hasattr(value, "__next__") else value


def _given(
    function: Function, parameters: Sequence[Parameter], asked: Asked, connection: Any
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for one in parameters:
        provider = _provider(function, one)
        if one.kind in _CONNECTION:
            given[one.name] = connection
        elif provider is not None:
            given[one.name] = provider(asked)
    return given


def _provider(function: Function, one: Parameter) -> Provider | None:
    special = BY_FUNCTION.get(f"{function.name}:{one.name}")
    if special is not None:
        return special
    plain = one.kind in ("str", "str | None") or one.kind not in BY_KIND
    if plain and one.name in BY_NAME:
        return BY_NAME[one.name]
    return BY_KIND.get(one.kind)


@contextmanager
def _connection(function: Function, asked: Asked) -> Iterator[Any]:
    if not any(one.kind in _CONNECTION for one in function.parameters):
        yield None
        return
    with tenant_transaction(asked.principal.ref) as connection:
        yield connection
