"""What became of each entity that a challenger was scored for, once its labels have matured.

An outcome lies between 0 and 1 and rises with quality: 1 less the squared error of a probability
(G. Brier, Monthly Weather Review 78, 1950), 1 less the error of a total as a share of the greater
of the two, or whether a list held something that was wanted. Per experiment, and per pair of
versions, an entity counts once, by what was known of it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from include.handoffs import LostDays, Scored
from include.pipeline import losses
from include.pipeline.runs import Run
from include.registry.experiments import CHALLENGER_ARM
from include.storage.postgres import Connection, tenant_transaction
from include.use_cases.declaration import TOP, UseCase
from include.use_cases.spines import event_columns, matured_labels, wanted_pairs

Rows = Sequence[Mapping[str, Any]]
#: Entity → label, or the items it wanted.
Truth = Mapping[str, Any]

_WAITING: Final = """
    SELECT as_of FROM (
        SELECT as_of FROM shadow_predictions
        WHERE tenant_id = %(tenant)s AND use_case = %(case)s AND as_of <= %(until)s
        UNION
        SELECT as_of FROM predictions WHERE tenant_id = %(tenant)s AND use_case = %(case)s
        AND as_of <= %(until)s AND experiment IS NOT NULL
    ) AS scored
    WHERE NOT EXISTS (SELECT FROM outcomes_measured m WHERE m.tenant_id = %(tenant)s
                      AND m.use_case = %(case)s AND m.as_of = scored.as_of)
    ORDER BY as_of
"""
_SERVED: Final = """
    SELECT entity_id, item_id, rank, score, model_version, experiment, arm FROM predictions
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s ORDER BY entity_id, rank, item_id
"""
_SHADOW: Final = """
    SELECT entity_id, item_id, rank, score, model_version FROM shadow_predictions
    WHERE tenant_id = %s AND use_case = %s AND as_of = %s ORDER BY entity_id, rank, item_id
"""
_MARK: Final = """
    INSERT INTO outcomes_measured (tenant_id, use_case, as_of, position, measured_as_of)
    SELECT %s, %s, %s, coalesce(max(position), 0) + 1, %s FROM outcomes_measured
    WHERE tenant_id = %s AND use_case = %s
    ON CONFLICT (tenant_id, use_case, as_of) DO NOTHING RETURNING position
"""
_KEEP_ARMS: Final = """
    INSERT INTO experiment_outcomes (tenant_id, use_case, as_of, number, entity, challenger,
                                     outcome)
    SELECT %s, %s, %s, %s, line.* FROM unnest(%s::text[], %s::boolean[], %s::float8[]) AS line
    ON CONFLICT DO NOTHING
"""
_KEEP_PAIRS: Final = """
    INSERT INTO shadow_outcomes (tenant_id, use_case, as_of, champion_version, challenger_version,
                                 entity, champion_outcome, challenger_outcome)
    SELECT %s, %s, %s, %s, %s, line.*
    FROM unnest(%s::text[], %s::float8[], %s::float8[]) AS line
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Interval:
    """What was answered at one instant: served, and by the challenger to everybody."""

    as_of: datetime
    served: Rows
    shadow: Rows

    @property
    def experiment(self) -> int | None:
        """The number of the experiment that it was served in."""
        return next((row["experiment"] for row in self.served), None)


def entity_outcome(use_case: UseCase, rows: Rows, truth: Any) -> float:
    """The outcome of what one entity was answered; of nothing, what nothing is worth.

    Args:
        rows: of the one entity.
        truth: its label, or the items it wanted.
    """
    if use_case.task in ("ranking", "association"):
        return float(any(row["rank"] <= TOP and row["item_id"] in truth for row in rows))
    if not rows:
        return 0.0
    said, was = float(rows[0]["score"]), float(truth)
    if use_case.task == "classification":
        return 1 - (min(1.0, max(0.0, said)) - was) ** 2
    return max(0.0, 1 - abs(was - said) / max(abs(was), abs(said), 1.0))


def record_outcomes(run: Run, scored: Scored, lost: Sequence[LostDays] = ()) -> int:
    """Keep the outcomes of every instant whose labels are known by now; return how many.

    An instant is measured once and whole, in a transaction of its own.

    Args:
        lost: of the events that the use case reads; what they touch waits, see `losses`.
    """
    use_case, ref = run.the_use_case(), run.tenant.ref
    until = run.as_of - use_case.label.horizon
    with tenant_transaction(ref) as connection:
        asked = {"tenant": ref.id, "case": use_case.name, "until": until}
        waiting = [row["as_of"] for row in connection.execute(_WAITING, asked)]
    waiting = losses.measurable(run, waiting, lost)
    if not waiting:
        return 0
    events = run.platform.lake.read(
        ref,
        "events",
        version=scored.events.version,
        columns=list(event_columns(use_case)),
        known_at=run.as_of,
    )
    for as_of in waiting:
        with tenant_transaction(ref) as connection:
            key = [ref.id, use_case.name, as_of]
            found = Interval(
                as_of,
                connection.execute(_SERVED, key).fetchall(),
                connection.execute(_SHADOW, key).fetchall(),
            )
            truth = truth_of(use_case, events, found, run.as_of)
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"outcomes/{ref.id}/{use_case.name}"],
            )
            marked = connection.execute(_MARK, [*key, run.as_of, ref.id, use_case.name])
            if marked.fetchone() is not None:
                _keep_arms(connection, key, use_case, found, truth)
                _keep_pairs(connection, key, use_case, found, truth)
    return len(waiting)


def pseudonym(tenant: str, use_case: str, entity: str) -> str:
    """What an outcome calls its entity."""
    return hashlib.sha256("\0".join((tenant, use_case, entity)).encode()).hexdigest()[:32]


def _keep_arms(
    connection: Connection, key: Sequence[Any], use_case: UseCase, found: Interval, truth: Truth
) -> None:
    """Everybody's outcome in an experiment, also of those its arm had nothing to say to."""
    number = found.experiment
    if number is None:
        return
    served = _by_entity(found.served)
    arms = {row["entity_id"]: row["arm"] == CHALLENGER_ARM for row in found.served}
    silent = sorted(_by_entity(found.shadow).keys() - arms.keys())
    arms |= dict.fromkeys(silent, False)  # the challenger speaks to its own
    known = [entity for entity in sorted(arms) if entity in truth]
    connection.execute(
        _KEEP_ARMS,
        [
            *(*key, number, [pseudonym(key[0], key[1], entity) for entity in known]),
            [arms[entity] for entity in known],
            [entity_outcome(use_case, served.get(e, ()), truth[e]) for e in known],
        ],
    )


def _keep_pairs(
    connection: Connection, key: Sequence[Any], use_case: UseCase, found: Interval, truth: Truth
) -> None:
    """Outcomes of both, of the entities that the champion served; in an experiment, of its arm."""
    ours = [row for row in found.served if row["arm"] != CHALLENGER_ARM]
    if not ours or not found.shadow:
        return
    versions = ours[0]["model_version"], found.shadow[0]["model_version"]
    served, shadow = _by_entity(ours), _by_entity(found.shadow)
    sent = {row["entity_id"] for row in found.served} - served.keys()
    known = sorted(e for e in (served.keys() | shadow.keys()) - sent if e in truth)
    connection.execute(
        _KEEP_PAIRS,
        [
            *(*key, *versions, [pseudonym(key[0], key[1], entity) for entity in known]),
            [entity_outcome(use_case, served.get(e, ()), truth[e]) for e in known],
            [entity_outcome(use_case, shadow.get(e, ()), truth[e]) for e in known],
        ],
    )


def truth_of(use_case: UseCase, events: pa.Table, found: Interval, known_until: datetime) -> Truth:
    """The label of every entity that anybody answered, or what it wanted."""
    entities = sorted({row["entity_id"] for row in (*found.served, *found.shadow)})
    if use_case.task in ("ranking", "association"):
        pairs = wanted_pairs(use_case, events, found.as_of, known_until)
        columns = (pairs[name].to_pylist() for name in ("entity_id", "item_id"))
        wanted = _sets(zip(*columns, strict=True))
        return {entity: wanted.get(entity, frozenset()) for entity in entities}
    known = matured_labels(use_case, events, found.as_of, entities, known_until)
    columns = (known[name].to_pylist() for name in ("entity_id", "label"))
    return {entity: label for entity, label in zip(*columns, strict=True) if label is not None}


def _sets(pairs: Iterable[tuple[str, str]]) -> dict[str, Set[str]]:
    found: dict[str, set[str]] = {}
    for owner, item in pairs:
        found.setdefault(owner, set()).add(item)
    return dict(found)


def _by_entity(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["entity_id"], []).append(row)
    return found
