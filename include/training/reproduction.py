"""Makes a version again from its record, and compares the result with the original.

The same functions train as did then. Their lake reads the recorded table versions, and keeps what
they write apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.errors import IntegrityError, UnknownNameError
from include.features import inputs
from include.features.spine import Spine
from include.handoffs import (
    Candidate,
    FeaturesBuilt,
    LostDays,
    RecordedSet,
    StoredObject,
    TableVersion,
    Trained,
    unpack,
)
from include.models.serialise import from_bytes
from include.registry.ancestry import ModelName
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotions
from include.registry.recorded import registered
from include.storage.canonical import TIMESTAMP
from include.storage.lake import Lake
from include.storage.scratch import scratch
from include.tenants.config import TenantConfig, UseCaseOverrides
from include.tenants.namespace import TenantRef, global_ref, is_global
from include.training.contenders import Version, baselines
from include.training.stage import train, train_global
from include.use_cases.declaration import UseCase
from include.use_cases.spines import event_columns, scoring_spine
from include.wall_clock import PLATFORM, local_day


@dataclass(frozen=True)
class DigestCheck:
    """One comparison of a recorded value with the value made again."""

    what: str
    recorded: str
    found: str

    @property
    def same(self) -> bool:
        """Whether the two values are the same."""
        return self.recorded == self.found


@dataclass(frozen=True)
class Reproduction:
    """The result of making a version again."""

    model: str  #: `store-367/churn@3`
    rung: str
    how: str  #: in a sentence
    checks: tuple[DigestCheck, ...]  #: what has to be the same
    circumstances: tuple[
        DigestCheck, ...
    ] = ()  #: what explains a difference, and is none by itself

    @property
    def identical(self) -> bool:
        """Whether everything that was compared is the same."""
        return all(check.same for check in self.checks)


@dataclass(frozen=True)
class RecordedLake(Lake):
    """The lake as a training saw it: recorded versions are the newest, and writes go elsewhere."""

    scratch: Lake = field(kw_only=True)
    recorded: Mapping[tuple[str, str], TableVersion] = field(kw_only=True)  #: (tenant, table) → it

    def version(self, tenant: TenantRef, table: str) -> TableVersion:
        """The version that the training read.

        Raises:
            IntegrityError: the training did not read that table.
        """
        recorded = self.recorded.get((tenant.id, table))
        if recorded is None:
            raise IntegrityError(f"the training did not read {table} of {tenant.id}, by its record")
        return recorded

    def put(self, tenant: TenantRef, path: str, content: bytes, rows: int = 0) -> StoredObject:
        """Write beside the lake."""
        return self.scratch.put(tenant, path, content, rows)

    def get(self, tenant: TenantRef, stored: StoredObject) -> bytes:
        """The object as written here, else as the lake holds it."""
        written = self.scratch.file_path(tenant, stored.path).is_file()
        return self.scratch.get(tenant, stored) if written else super().get(tenant, stored)


def reproduce(
    owner: TenantRef,
    version: ModelVersion,
    use_case: UseCase,
    *,
    fleet: Mapping[str, TenantConfig],
    registry: Registry,
    promotions: Promotions,
    lake: Lake,
    code_revision: str,
) -> Reproduction:
    """Make a version again: train it, or for a copied version read the original.

    Args:
        owner: whose version it is; of a global one, the owner of those.
        fleet: the tenants there are now, by id.
        code_revision: of the code that runs.

    Raises:
        IntegrityError: data that the version was made from is gone, or not what was recorded; or
            the registry holds another artifact than the ledger records.
        IsolationError: a tenant whose events the version was made from has withdrawn its consent.
        UnknownNameError: such a tenant does not exist any more.
    """
    name = str(ModelName.of(version))
    decided = promotions.history(owner, version.use_case)
    if registered(owner, version.use_case, version.version, registry, decided) != version:
        raise IntegrityError(
            f"{name} is not what the registry has under that number; read it again"
        )
    lineage: Mapping[str, Any] = json.loads(registry.card(owner, version))["lineage"]
    use_case = use_case.with_seen(lineage.get("seen_items"))
    if version.rung == "global" and not is_global(owner.id):
        return _copied(name, owner, version, registry, promotions)
    if version.rung == "baseline":
        for baseline in baselines(use_case):
            # baselines that learn from rows have other bytes, and are trained again below
            if (baseline.name, baseline.digest) == (version.name, version.digest):
                how = "made from its declaration, which is all a baseline is"
                checks = (DigestCheck("model", version.digest, baseline.digest),)
                return Reproduction(name, version.rung, how, checks)
    declared = use_case.fingerprint
    if version.feature_fingerprint != declared:
        how = (
            f"not trained: its features are declared differently now; check out the code revision "
            f"{lineage.get('code_revision', 'unknown')}"
        )
        checks = (DigestCheck("feature service", version.feature_fingerprint, declared),)
        return Reproduction(name, version.rung, how, checks)
    with scratch(owner.id) as folder:
        again = _Again(owner, version, use_case, lineage, fleet, registry, promotions, lake, folder)
        return again.compare(name, code_revision)


def _copied(
    name: str,
    owner: TenantRef,
    version: ModelVersion,
    registry: Registry,
    promotions: Promotions,
) -> Reproduction:
    """A global model that serves as it is: nothing was trained for the tenant."""
    parent = ModelName.parse(version.parent_version)
    world = global_ref(parent.tenant)
    decided = promotions.history(world, parent.use_case)
    source = registered(world, parent.use_case, parent.version, registry, decided)
    registry.artifact(owner, version)  # both are what their records say
    registry.artifact(world, source)
    how = f"it is {parent} as it is; `tenantry reproduce {parent}` trains that again"
    return Reproduction(
        name, version.rung, how, (DigestCheck("model", version.digest, source.digest),)
    )


@dataclass(frozen=True)
class _Again:
    owner: TenantRef
    version: ModelVersion
    use_case: UseCase
    lineage: Mapping[str, Any]
    fleet: Mapping[str, TenantConfig]
    registry: Registry
    promotions: Promotions
    real: Lake
    folder: Path

    def compare(self, name: str, code_revision: str) -> Reproduction:
        """Train, and compare the result with the record."""
        tables = list(map(_table, self.lineage["tables"]))
        recorded = {(table.tenant, table.table): table for table in tables}
        lake = RecordedLake(self.real.root, scratch=Lake(self.folder), recorded=recorded)
        for table in tables:
            self._check_there(table)
        trained = self._train(lake)
        evaluation = json.loads(lake.get(self.owner, trained.evaluation))
        made = self._made(trained)
        checks = [
            *self._sets(evaluation),
            *(
                DigestCheck(part, _text(self.lineage[part]), _text(evaluation[part]))
                for part in ("windows", "rows")
            ),
            DigestCheck(
                "model", self.version.digest, made.artifact.digest if made else "not trained"
            ),
        ]
        if made is not None and self.lineage["rows"]["holdout"]:
            checks.append(
                DigestCheck(
                    "reference window", self.version.reference_digest, made.reference.digest
                )
            )
        circumstances = [
            DigestCheck("code revision", str(self.lineage.get("code_revision")), code_revision),
            DigestCheck("seed", str(self.lineage.get("seed")), str(evaluation["seed"])),
            *(
                DigestCheck(library, str(self.lineage.get("libraries", {}).get(library)), str(now))
                for library, now in sorted(evaluation["libraries"].items())
            ),
        ]
        zone = PLATFORM if is_global(self.owner.id) else self._tenant(self.owner.id).timezone
        day = local_day(self.version.as_of, zone)
        how = f"trained again as of {day} from the recorded table versions"
        if made is None:
            notes = " ".join(evaluation["evidence"]["notes"])
            how += f", and no {self.version.rung}/{self.version.name} came of it. {notes}"
        return Reproduction(name, self.version.rung, how, tuple(checks), tuple(circumstances))

    def _train(self, lake: RecordedLake) -> Trained:
        as_of, trigger = self.version.as_of, str(self.lineage["trigger"])
        revision = str(self.lineage.get("code_revision", "unknown"))
        if is_global(self.owner.id):
            members = dict.fromkeys(table["tenant"] for table in self.lineage["tables"])
            return train_global(
                self.use_case,
                [self._tenant(id_) for id_ in members],
                as_of,
                lake=lake,
                incumbent=None,
                trigger=trigger,
                code_revision=revision,
                owner=self.owner,
                lost={id_: self._lost(id_) for id_ in members},
            )
        events, attributes = map(_table, self.lineage["tables"])
        built = FeaturesBuilt(
            tenant=self.owner.id,
            use_case=self.use_case.name,
            as_of=as_of,
            features=self._features(lake, events, attributes),
            feature_fingerprint=self.version.feature_fingerprint,
            events=events,
            attributes=attributes,
            training_due=True,
            training_reason="reproduced",
            lost=self._lost(self.owner.id),
        )
        return train(
            self._tenant(self.owner.id),
            self.use_case,
            built,
            lake=lake,
            incumbent=None,
            global_champion=self._global_champion(),
            trigger=trigger,
            code_revision=revision,
        )

    def _tenant(self, tenant_id: str) -> TenantConfig:
        """The tenant as declared now, with timezone, sources and minimum of rows as recorded.

        The tenant's file may by now ask for more rows than the training had.
        """
        if tenant_id not in self.fleet:
            raise UnknownNameError("tenant", tenant_id, self.fleet, "the folder of tenants")
        now = self.fleet[tenant_id]
        zones = [r.recipe.timezone for r in self._recorded_sets() if r.recipe.tenant == tenant_id]
        case = now.use_cases.get(self.use_case.name) or UseCaseOverrides()
        rows, asks = self.lineage["rows"]["training"], case.minimum_rows
        if (asks or self.use_case.gates.minimum_rows) > rows:
            case = case.model_copy(update={"minimum_rows": max(rows, 1)})
        absent = "unknown" if tenant_id in self.lineage.get("absent_unknown", ()) else "zero"
        return now.model_copy(
            update={
                "sources": tuple(
                    source.model_copy(update={"absent_means": absent}) for source in now.sources
                ),
                "timezone": zones[0] if zones else now.timezone,
                "use_cases": {**now.use_cases, self.use_case.name: case},
            }
        )

    def _lost(self, tenant_id: str) -> tuple[LostDays, ...]:
        """The tenant's lost days that the training left out."""
        return tuple(unpack(days) for days in self.lineage.get("lost", {}).get(tenant_id, ()))

    def _global_champion(self) -> Version | None:
        """The global version that the training could build on; None where there was none."""
        judged = json.loads(self.registry.card(self.owner, self.version)).get("judged") or {}
        names = [self.version.parent_version, *judged.get("parents", ())]
        for name in filter(None, names):
            parent = ModelName.parse(name)
            owner = global_ref(parent.tenant)
            decided = self.promotions.history(owner, parent.use_case)
            champion = registered(owner, parent.use_case, parent.version, self.registry, decided)
            return champion, from_bytes(self.registry.artifact(owner, champion))
        return None

    def _made(self, trained: Trained) -> Candidate | None:
        ours = (self.version.rung, self.version.name)
        return next((one for one in trained.candidates if (one.rung, one.name) == ours), None)

    def _sets(self, evaluation: Mapping[str, Any]) -> Iterator[DigestCheck]:
        """The checks of the training sets, and of every part of a recipe that differs."""
        made = {made_set["recipe"]["tenant"]: made_set for made_set in evaluation["training_sets"]}
        for recorded in self.lineage.get("training_sets", ()):
            tenant = recorded["recipe"]["tenant"]
            other = made.pop(tenant, None)
            digest = other["digest"] if other else "none"
            yield DigestCheck(f"training set of {tenant}", recorded["digest"], digest)
            for part, value in recorded["recipe"].items():
                if other and other["recipe"].get(part) != value:
                    now = other["recipe"].get(part)
                    yield DigestCheck(f"its {part.replace('_', ' ')}", _text(value), _text(now))
        for tenant, other in made.items():
            yield DigestCheck(f"training set of {tenant}", "none", other["digest"])

    def _recorded_sets(self) -> Sequence[RecordedSet]:
        return [unpack(one) for one in self.lineage.get("training_sets", ())]

    def _check_there(self, table: TableVersion) -> None:
        shared = is_global(self.owner.id)
        owner = self._tenant(table.tenant).ref if shared else self.owner
        rows = self.real.dataset(owner, table.table, table.version).count_rows()
        if rows != table.rows:
            raise IntegrityError(
                f"version {table.version} of {table.tenant}'s {table.table} has {rows:,} rows, and "
                f"had {table.rows:,} at the training; it is another table, or retention has erased "
                "rows of it: this model cannot be made again"
            )

    def _features(
        self, lake: RecordedLake, events: TableVersion, attributes: TableVersion
    ) -> StoredObject:
        """The scored features, where the reference window is made of them; else an empty table.

        No model is trained on them.
        """
        if self.use_case.lists:
            return self._scored_features(lake, events, attributes)
        types = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
        columns = self.use_case.feature_columns
        schema = pa.schema(
            [
                *(pa.field(key, pa.string()) for key in self.use_case.keys),
                pa.field("as_of", TIMESTAMP),
                *(pa.field(name, types[kind]) for name, kind in columns.items()),
            ]
        )
        return lake.put_table(self.owner, "reproduced.parquet", schema.empty_table())

    def _scored_features(
        self, lake: RecordedLake, events: TableVersion, attributes: TableVersion
    ) -> StoredObject:
        case, as_of = self.use_case, self.version.as_of
        read = inputs.read_pinned(
            self.owner,
            self._tenant(self.owner.id).timezone,
            case.features,
            events=events,
            attributes=attributes,
            known_at=as_of,
            lake=lake,
            also=event_columns(case),
        )
        spine = Spine(scoring_spine(case, read.events, as_of))
        return lake.put_table(self.owner, "reproduced.parquet", read.compute(case.features, spine))


def _table(packed: Mapping[str, Any]) -> TableVersion:
    """A table version as lineage keeps it."""
    return TableVersion(**packed)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
