"""Every place that holds data of a tenant: what lies there, and when it goes or why it stays.

The one list that retention, removal and moving go by. A test runs a pipeline and compares the list
with what lies in the lake and in Postgres: a place that is not declared here fails it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from include.handoffs import INSTANTS
from include.tenants.config import Retention

#: Which of the tenant's durations counts, or `kept`.
Clock = Literal["events", "predictions", "kept"]

#: Before this there are no events: retention that looks back further erases nothing.
EARLIEST: Final = INSTANTS[0]
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:T(\d{2})(\d{2})(\d{2})?)?")


@dataclass(frozen=True)
class LakePlace:
    """Files of a tenant's folder, by a pattern of their path in it."""

    pattern: str
    holds: str
    clock: Clock
    why: str = ""  #: of what is kept: why
    #: Of each use case, the newest folder's files stay: something reads them as long as it serves.
    newest_stays: bool = False

    def covers(self, path: str) -> bool:
        """Whether a path relative to the tenant's folder belongs here."""
        return fnmatchcase(path, self.pattern)


@dataclass(frozen=True)
class TablePlace:
    """Rows of a tenant in a Postgres table."""

    table: str
    holds: str
    clock: Clock
    column: str = ""  #: the instant that dates a row
    why: str = ""  #: of what is kept: why
    #: More that a row must fulfil to go, as SQL about `t`.
    only: str = ""


@dataclass(frozen=True)
class Cutoffs:
    """Until when a tenant's data is to be forgotten."""

    events: datetime
    predictions: datetime

    @classmethod
    def at(cls, now: datetime, retention: Retention) -> Cutoffs:
        """Counted back from an instant; never earlier than there is data, however long is kept."""
        return cls(_back(now, retention.events), _back(now, retention.predictions))

    def of(self, clock: Clock) -> datetime | None:
        """The instant of a clock; None where nothing goes."""
        return {"events": self.events, "predictions": self.predictions}.get(clock)


#: The Delta tables come first: what lies below them is the table's own.
LAKE: Final = (
    LakePlace("landing_events/*", "events as they arrived, with the ids of people", "events"),
    LakePlace("events/*", "accepted events, with the ids of people", "events"),
    LakePlace(
        "landing_attributes/*",
        "facts as they arrived: superseded ones go, and those of users and accounts without events",
        "events",
    ),
    LakePlace("attributes/*", "accepted facts, which go as those that arrived", "events"),
    LakePlace("features/*.parquet", "feature vectors of entities, by id", "predictions"),
    LakePlace("spines/*.parquet", "whom a model was trained on, by id", "events"),
    LakePlace("training/*.parquet", "vectors that a candidate was judged on, numbered", "events"),
    LakePlace(
        "training/*.json",
        "evaluation and candidates of a training: figures and models, no rows",
        "events",
        newest_stays=True,
    ),
    LakePlace("reports/quality/*", "pages of the checks, with rows that were set aside", "events"),
    LakePlace("reports/drift/*", "figures and pages of drift", "predictions"),
    LakePlace(
        "models/*/reference.parquet",
        "vectors that a version was judged on, numbered; of a version in force it stays, as drift "
        "is measured against it",
        "events",
    ),
    LakePlace(
        "models/*",
        "versions and their cards",
        "kept",
        "the registry: a model is figures about items and features, and no customer's row; the "
        "ledger names it, and whoever asks who served when needs it",
    ),
    LakePlace(
        "audit/*.json",
        "checkpoints of the audit chains (platform's folder only)",
        "kept",
        "lengths and digests, no rows",
    ),
    LakePlace(
        "members/*.json",
        "which tenants were told of together (platform's folder only)",
        "kept",
        "ids of tenants; without them a difference of two memberships could tell on one",
    ),
    LakePlace(
        "pii_key.json",
        "fingerprint of the key that PII columns are hashed with",
        "kept",
        "a digest of a key, no rows; it tells a lost key from the right one",
    ),
    LakePlace(
        "zone_maps/*.json",
        "when the rows of each block of a source's files arrived: instants, counts and digests; "
        "blocks that the files hold no more go when these are next read",
        "events",
    ),
    LakePlace("tmp*", "what a killed writer left behind", "predictions"),
    LakePlace("*/tmp*", "what a killed writer left behind", "predictions"),
)

_LEDGER: Final = "a ledger: decisions and figures, no customer's id"
_DIGESTS: Final = "names entities by digests only; an experiment counts each of them once for good"

TABLES: Final = (
    TablePlace("predictions", "scores by entity", "predictions", "as_of"),
    TablePlace("shadow_predictions", "a challenger's scores by entity", "predictions", "as_of"),
    TablePlace("quarantine", "rows that were set aside, whole", "events", "interval_end"),
    TablePlace(
        "quality_results", "checks and examples of what failed them", "events", "interval_end"
    ),
    TablePlace(
        "stage_runs",
        "what each stage handed on; the newest of each stays, as it says how far the tenant is",
        "predictions",
        "interval_end",
        only="""EXISTS (SELECT FROM stage_runs later WHERE later.tenant_id = t.tenant_id
                AND later.use_case = t.use_case AND later.stage = t.stage
                AND later.interval_end > t.interval_end)""",
    ),
    TablePlace(
        "drift_profiles",
        "distributions of features, by window; a reference stays, as drift is measured against it",
        "events",
        "as_of",
        only="t.kind = 'window'",
    ),
    TablePlace(
        "online_events",
        "events of the last days, with the ids of people",
        "events",
        "created_timestamp",
    ),
    TablePlace("online_partials", "aggregates by entity, up to an instant", "events", "until"),
    TablePlace("online_delivered", "digests of events that a batch holds", "events", "known_at"),
    TablePlace(
        "online_facts",
        "facts by entity: those the lake has forgotten go",
        "events",
        "created_timestamp",
        only="false",  # see `include.storage.retention`
    ),
    TablePlace("online_groups", "how far the store is", "kept", why="layout and instants, no ids"),
    TablePlace("online_views", "which views are served", "kept", why="names and instants, no ids"),
    TablePlace(
        "slices",
        "what was read of each source, in numbers",
        "kept",
        why="counts; without them a history would be read a second time",
    ),
    TablePlace("incidents", "what went wrong", "kept", why=_LEDGER),
    TablePlace("promotions", "which version served, and why", "kept", why=_LEDGER),
    TablePlace("drift_verdicts", "verdicts and their figures", "kept", why=_LEDGER),
    TablePlace("live_metrics", "metrics of what was served", "kept", why=_LEDGER),
    TablePlace(
        "retrain_ledger", "which retrains were asked for, and what they did", "kept", why=_LEDGER
    ),
    TablePlace("feature_skew", "features that differ when computed again", "kept", why=_LEDGER),
    TablePlace("experiments", "experiments and how they ended", "kept", why=_LEDGER),
    TablePlace("outcomes_measured", "which instants were measured", "kept", why=_LEDGER),
    TablePlace("experiment_outcomes", "outcomes of an experiment", "kept", why=_DIGESTS),
    TablePlace("shadow_outcomes", "outcomes of a challenger", "kept", why=_DIGESTS),
    TablePlace("drift_breaches", "how many drifted (platform's rows only)", "kept", why=_LEDGER),
    TablePlace(
        "audit",
        "what happened to the ledgers, and what operators did",
        "kept",
        why="a chain: decisions, digests and who it was, no customer's id; it outlives the tenant",
    ),
    TablePlace(
        "tenant_owners",
        "who has which id (platform's rows only)",
        "kept",
        why="no data of the tenant's: that it was erased, when and by whom",
    ),
)


def lake_place(path: str) -> LakePlace | None:
    """The place that a path in a tenant's folder belongs to; None where none is declared."""
    return next((place for place in LAKE if place.covers(path)), None)


def dated(path: str) -> datetime | None:
    """The instant that a file of the lake is named after; None where it names none."""
    found = _DATE.search(path)
    if found is None:
        return None
    try:
        return datetime(*(int(part) for part in found.groups(default="0")), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None


def registered(file: Path) -> datetime | None:
    """The instant of the version that a file of the registry belongs to, by its card."""
    try:
        card: Mapping[str, object] = json.loads((file.parent / "card.json").read_bytes())
        return datetime.fromisoformat(str(card["as_of"])).astimezone(UTC)
    except (OSError, ValueError, KeyError):
        return None


def _back(now: datetime, duration: timedelta) -> datetime:
    try:
        return max(now.astimezone(UTC) - duration, EARLIEST)
    except OverflowError:
        return EARLIEST
