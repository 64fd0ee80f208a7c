"""What crosses a stage border, in flow order: small frozen references, never frames.

Airflow carries them through XCom, `tenantry run` passes them by hand and prints them: a handoff as
text says what its stage did. All instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final, get_args, get_origin, get_type_hints

from include.wall_clock import PLATFORM, local

#: Of a field that says how much one call had to do: a rerun does less, and its handoff is the same.
_NOT_KEPT: Final = {"kept": False}

#: From here on JSON in Postgres makes a float an integer that Airflow's tasks cannot be sent; such
#: a number, and one that is none, is kept as text.
_TOO_LARGE: Final = 2.0**63

#: Instants that the tables hold: what 64 bits of nanoseconds count, which other readers of the lake
#: do, with room on both sides. What lies outside is no instant to anything here.
INSTANTS: Final = (datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Interval:
    """The half-open data interval `[start, end)` that one run is about."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if getattr(self, name).utcoffset() is None:
                raise ValueError(f"Interval.{name} must be an aware datetime")
            object.__setattr__(self, name, getattr(self, name).astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"Interval ends at {self.end}, not after its start {self.start}")


@dataclass(frozen=True)
class LostDays:
    """Time of which rows of a source are missing: what happened then nobody knows."""

    source: str
    start: datetime
    end: datetime

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether some of `[start, end)` is lost."""
        return self.start < end and start < self.end

    def told(self, timezone: str) -> str:
        """The source, and from when to when in a time zone."""
        return f"{self.source} {local(self.start, timezone)} to {local(self.end, timezone)}"


@dataclass(frozen=True)
class Hole:
    """Time of a source that no run had loaded: it was before a run's interval, and came along."""

    source: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.source} {local(self.start, PLATFORM)} to {local(self.end, PLATFORM)}"


@dataclass(frozen=True)
class TableVersion:
    """One version of one Delta table of one tenant."""

    tenant: str
    table: str
    version: int  #: -1 where the table does not exist yet
    rows: int
    schema_fingerprint: str


@dataclass(frozen=True)
class StoredObject:
    """A file in a tenant's part of the lake, named by a path relative to it."""

    tenant: str
    path: str
    digest: str  #: sha256 of the bytes, hex
    rows: int


@dataclass(frozen=True)
class Ingested:
    """ingestion → quality: what arrived in the interval, still in the landing tables."""

    tenant: str
    interval: Interval
    events: TableVersion  #: table `landing_events`
    attributes: TableVersion  #: table `landing_attributes`
    rows: int
    duplicates: int
    quarantined: int
    late: int  #: rows whose event is older than the interval
    read: int = 0  #: rows of the sources: taken in, quarantined, or outside
    outside: int = 0  #: rows of other intervals, and of times that no interval will have
    holes: tuple[Hole, ...] = ()  #: what no run had loaded before, by source and time

    def __str__(self) -> str:
        return (
            f"{self.read:,} rows read: {self.rows:,} new, {self.late:,} late, "
            f"{self.duplicates:,} duplicates, {self.quarantined:,} quarantined, "
            f"{self.outside:,} outside the interval{self._told_holes()}"
        )

    def _told_holes(self) -> str:
        """The holes by source, intervals that follow one another as one stretch of time."""
        stretches: list[Hole] = []
        for hole in self.holes:
            last = stretches[-1] if stretches else None
            if last is not None and (last.source, last.end) == (hole.source, hole.start):
                stretches[-1] = Hole(last.source, last.start, hole.end)
            else:
                stretches.append(hole)
        loaded = f"; loaded first, as no run had: {', '.join(map(str, stretches))}"
        return loaded if stretches else ""


@dataclass(frozen=True)
class Checked:
    """quality → features: the accepted rows, in the tables everything else reads."""

    tenant: str
    interval: Interval
    events: TableVersion  #: table `events`
    attributes: TableVersion  #: table `attributes`
    rows: int  #: rows accepted from this interval
    quarantined: int
    warnings: int
    data_loss: bool  #: the volume fell so far below the tenant's history that it is an incident

    def __str__(self) -> str:
        loss = ", data loss" if self.data_loss else ""
        return (
            f"{self.rows:,} rows accepted, {self.quarantined:,} quarantined, "
            f"{self.warnings} warnings{loss}"
        )


@dataclass(frozen=True)
class Materialized:
    """quality → online store: what the store holds of each view, up to `until`."""

    tenant: str
    until: datetime
    views: tuple[str, ...]  #: those served online; the tenant may have none
    #: Partial aggregates that this call wrote, from so many new events and attributes: none where
    #: the store was there already.
    entities: int = field(default=0, metadata=_NOT_KEPT)
    rows: int = field(default=0, metadata=_NOT_KEPT)

    def __str__(self) -> str:
        return f"{len(self.views)} views, {self.entities:,} entities, from {self.rows:,} rows"


@dataclass(frozen=True)
class FeaturesBuilt:
    """features → training and scoring: point-in-time features of the active entities at `as_of`."""

    tenant: str
    use_case: str
    as_of: datetime
    features: StoredObject
    feature_fingerprint: str
    events: TableVersion
    attributes: TableVersion
    training_due: bool
    training_reason: str  #: why training is due, or why it is not
    #: Items of the shared catalogue that were offered, best first, where the tenant's own sell too
    #: little to be ranked by it.
    catalogue: tuple[str, ...] = ()
    #: What is lost of the events that labels are made of: training leaves out what reaches into it.
    lost: tuple[LostDays, ...] = ()

    def __str__(self) -> str:
        due = "due" if self.training_due else "not due"
        return f"{self.features.rows:,} rows; training {due}: {self.training_reason}"


@dataclass(frozen=True)
class Recipe:
    """features → whoever asks years later: all that a training set is made from.

    With the spine and the declarations as they were, it gives the same bytes again.
    """

    tenant: str
    timezone: str
    service: str
    service_fingerprint: str
    events: TableVersion
    attributes: TableVersion
    known_at: datetime
    spine_digest: str


@dataclass(frozen=True)
class RecordedSet:
    """training → an audit: one tenant's training set, as the evaluation keeps it."""

    recipe: Recipe
    digest: str  #: of the set's canonical bytes
    spine: StoredObject


@dataclass(frozen=True)
class Candidate:
    """A model that could serve, with the evidence it was judged by."""

    rung: str  #: `baseline`, `global` or `own`
    name: str  #: estimator or baseline name, e.g. `lightgbm`, `frequency_90d`
    artifact: StoredObject  #: the serialised model, see `models.model`
    reference: StoredObject  #: Parquet: features and `prediction` of the window it was judged on
    parent_version: str  #: e.g. `global/churn@3` for a global model, else empty
    metric: float
    metric_low: float  #: 95 % interval
    metric_high: float


@dataclass(frozen=True)
class Trained:
    """training → registry: candidates measured on the same later time window."""

    tenant: str
    use_case: str
    as_of: datetime
    trigger: str  #: `scheduled`, `drift` or `manual`
    candidates: tuple[Candidate, ...]
    evaluation: StoredObject  #: JSON: metrics, segments, paired comparisons, windows, lineage
    training_rows: int
    holdout_rows: int

    def __str__(self) -> str:
        figures = ", ".join(f"{c.rung}/{c.name} {c.metric:.3f}" for c in self.candidates)
        return f"{self.training_rows:,} rows; {figures}"


@dataclass(frozen=True)
class Registered:
    """registry → scoring: the decision, and the version that serves from now on."""

    tenant: str
    use_case: str
    as_of: datetime
    promoted: bool
    version: str  #: champion after the decision, e.g. `3`; empty when there is none
    rung: str
    digest: str  #: of the champion's artifact
    reason: str

    def __str__(self) -> str:
        what = "promoted" if self.promoted else "kept"
        return f"{what} {self.version or 'nothing'} ({self.rung}): {self.reason}"


@dataclass(frozen=True)
class GroupExposure:
    """How much of the attention a group of items had in the rankings of an interval."""

    group: str
    candidates: float  #: its share of what could have been shown
    exposure: float  #: its share of the attention, see `scoring.exposure`


@dataclass(frozen=True)
class Scored:
    """scoring → monitoring: predictions of the interval, in Postgres.

    In the registry of runs it is the log of vectors: version `version` read the rows of the file
    `features`, which were made by the declarations `feature_fingerprint` from these tables.
    """

    tenant: str
    use_case: str
    as_of: datetime
    version: str
    feature_fingerprint: str
    features: StoredObject
    events: TableVersion
    attributes: TableVersion
    rows: int
    exposure: tuple[GroupExposure, ...] = ()  #: where the use case declares groups of items

    def __str__(self) -> str:
        return f"{self.rows:,} predictions by version {self.version or 'none'}"


@dataclass(frozen=True)
class Replayed:
    """skew → whoever reads the report: logged vectors, computed again from the lake as it is."""

    tenant: str
    use_case: str
    as_of: datetime
    instants: tuple[datetime, ...]  #: of the logs that were sampled, `as_of` last
    rows: int  #: vectors computed again
    online_rows: int  #: of these, how many were read from the online store too
    features: int  #: compared in each vector
    mismatched: tuple[str, ...]  #: features that differ somewhere, see table `feature_skew`

    def __str__(self) -> str:
        differ = ", ".join(self.mismatched) or "no feature"
        return f"{self.rows:,} vectors of {len(self.instants)} instants; {differ} differs"


@dataclass(frozen=True)
class Monitored:
    """monitoring → retrain loop: the verdict and what was decided about it."""

    tenant: str
    use_case: str
    as_of: datetime
    verdict: str  #: `stable`, `drift`, `data_loss`, `too_few_rows`, `no_model`, `unjudged`
    decision: str  #: `retrain`, `wait` or `suppress`
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict}; {self.decision}: {self.reason}"


def instant(text: str) -> datetime:
    """An ISO 8601 instant as people write it; without an offset it means UTC.

    Raises:
        ValueError: it is none.
    """
    value = datetime.fromisoformat(text)
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def pack(handoff: Any) -> dict[str, Any]:
    """A handoff as JSON-ready data under its class's name; `unpack` reads it back."""
    return {"handoff": type(handoff).__name__, **_pack(handoff)}


def unpack(data: Mapping[str, Any]) -> Any:
    """The handoff that `pack` wrote.

    Raises:
        ValueError: the data is no handoff of this version of Tenantry.
    """
    kind = globals().get(str(data.get("handoff")))
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"{data.get('handoff')!r} is no handoff; clear the task that left it")
    return _unpack(kind, data)


def table_versions(packed: Any) -> set[tuple[str, str, int]]:
    """Tenant, table and version of every table version in something packed, however deep."""
    if isinstance(packed, Mapping):
        if packed.keys() >= {"tenant", "table", "version", "schema_fingerprint"}:
            return {(packed["tenant"], packed["table"], packed["version"])}
        packed = packed.values()
    elif isinstance(packed, str) or not isinstance(packed, Iterable):
        return set()
    return {version for part in packed for version in table_versions(part)}


def _pack(value: Any) -> Any:
    if is_dataclass(value):
        kept = [one.name for one in fields(value) if one.metadata.get("kept", True)]
        return {name: _pack(getattr(value, name)) for name in kept}
    if isinstance(value, tuple):
        return [_pack(one) for one in value]
    if isinstance(value, float) and not abs(value) < _TOO_LARGE:
        return repr(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _unpack(kind: Any, value: Any) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        there = [f for f in fields(kind) if f.name in value or f.default is MISSING]
        return kind(**{f.name: _unpack(hints[f.name], value[f.name]) for f in there})
    if get_origin(kind) is tuple:
        return tuple(_unpack(get_args(kind)[0], one) for one in value)
    if kind is float:
        return float(value)
    return datetime.fromisoformat(value) if kind is datetime else value
