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
from typing import Any

import pyarrow as pa

from include.handoffs import LostDays, Scored
from include.monitoring.live import Rows, of_champion
from include.pipeline import losses
from include.pipeline.runs import Run
from include.registry.experiments import CHALLENGER_ARM
from include.registry.outcomes import ArmOutcome, InstantOutcomes, PairOutcome
from include.registry.predictions import Prediction
from include.tenants.namespace import TenantRef
from include.use_cases.declaration import TOP, UseCase
from include.use_cases.spines import event_columns, matured_labels, wanted_pairs

#: Entity → label, or the items it wanted.
Truth = Mapping[str, Any]


@dataclass(frozen=True)
class AnsweredInstant:
    """What was answered at one instant: served, and by the challenger to everybody."""

    as_of: datetime
    served: Rows
    shadow: Rows

    @property
    def experiment(self) -> int | None:
        """The number of the experiment that it was served in."""
        return self.served[0].experiment if self.served else None


def entity_outcome(use_case: UseCase, rows: Rows, truth: Any) -> float:
    """The outcome of what one entity was answered; of nothing, what nothing is worth.

    Args:
        rows: of the one entity.
        truth: its label, or the items it wanted.
    """
    if use_case.task in ("ranking", "association"):
        return float(any(row.rank <= TOP and row.item_id in truth for row in rows))
    if not rows:
        return 0.0
    said, was = rows[0].score, float(truth)
    if use_case.task == "classification":
        return 1 - (min(1.0, max(0.0, said)) - was) ** 2
    return max(0.0, 1 - abs(was - said) / max(abs(was), abs(said), 1.0))


def record_outcomes(run: Run, scored: Scored, lost: Sequence[LostDays] = ()) -> int:
    """Keep the outcomes of every instant whose labels are known by now; return how many.

    Args:
        lost: of the events that the use case reads; what they touch waits, see `losses`.
    """
    use_case, ref = run.the_use_case(), run.tenant.ref
    predictions, outcomes = run.platform.stores.predictions, run.platform.stores.outcomes
    challenged = predictions.challenged(ref, use_case.name, run.as_of - use_case.label.horizon)
    measured = set(outcomes.measured(ref, use_case.name)) if challenged else set()
    waiting = losses.measurable(run, [at for at in challenged if at not in measured], lost)
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
        answered = AnsweredInstant(
            as_of,
            predictions.served(ref, use_case.name, as_of),
            predictions.shadow(ref, use_case.name, as_of),
        )
        truth = truth_of(use_case, events, answered, run.as_of)
        known = outcomes_of(ref, use_case, answered, truth)
        outcomes.keep(ref, use_case.name, known, run.as_of)
    return len(waiting)


def outcomes_of(
    tenant: TenantRef, use_case: UseCase, answered: AnsweredInstant, truth: Truth
) -> InstantOutcomes:
    """What became of whom a challenger was scored for, where that is known."""
    ours = of_champion(answered.served)
    compared = bool(ours and answered.shadow)
    return InstantOutcomes(
        answered.as_of,
        answered.experiment,
        _arms(tenant, use_case, answered, truth) if answered.experiment is not None else (),
        (ours[0].model_version, answered.shadow[0].model_version) if compared else ("", ""),
        _pairs(tenant, use_case, answered, truth) if compared else (),
    )


def pseudonym(tenant: str, use_case: str, entity: str) -> str:
    """What an outcome calls its entity."""
    return hashlib.sha256("\0".join((tenant, use_case, entity)).encode()).hexdigest()[:32]


def _arms(
    tenant: TenantRef, use_case: UseCase, answered: AnsweredInstant, truth: Truth
) -> tuple[ArmOutcome, ...]:
    """Everybody's outcome in an experiment, also of those its arm had nothing to say to."""
    served = _by_entity(answered.served)
    arms = {row.entity_id: row.arm == CHALLENGER_ARM for row in answered.served}
    silent = _by_entity(answered.shadow).keys() - arms.keys()
    arms |= dict.fromkeys(silent, False)  # the challenger speaks to its own
    return tuple(
        ArmOutcome(
            pseudonym(tenant.id, use_case.name, entity),
            arms[entity],
            entity_outcome(use_case, served.get(entity, ()), truth[entity]),
        )
        for entity in sorted(arms)
        if entity in truth
    )


def _pairs(
    tenant: TenantRef, use_case: UseCase, answered: AnsweredInstant, truth: Truth
) -> tuple[PairOutcome, ...]:
    """Outcomes of both, of the entities that the champion served; in an experiment, of its arm."""
    served, shadow = _by_entity(of_champion(answered.served)), _by_entity(answered.shadow)
    sent = {row.entity_id for row in answered.served} - served.keys()
    return tuple(
        PairOutcome(
            pseudonym(tenant.id, use_case.name, entity),
            entity_outcome(use_case, served.get(entity, ()), truth[entity]),
            entity_outcome(use_case, shadow.get(entity, ()), truth[entity]),
        )
        for entity in sorted((served.keys() | shadow.keys()) - sent)
        if entity in truth
    )


def truth_of(
    use_case: UseCase, events: pa.Table, answered: AnsweredInstant, known_until: datetime
) -> Truth:
    """The label of every entity that anybody answered, or what it wanted."""
    entities = sorted({row.entity_id for row in (*answered.served, *answered.shadow)})
    if use_case.task in ("ranking", "association"):
        pairs = wanted_pairs(use_case, events, answered.as_of, known_until)
        columns = (pairs[name].to_pylist() for name in ("entity_id", "item_id"))
        wanted = _sets(zip(*columns, strict=True))
        return {entity: wanted.get(entity, frozenset()) for entity in entities}
    known = matured_labels(use_case, events, answered.as_of, entities, known_until)
    columns = (known[name].to_pylist() for name in ("entity_id", "label"))
    return {entity: label for entity, label in zip(*columns, strict=True) if label is not None}


def _sets(pairs: Iterable[tuple[str, str]]) -> dict[str, Set[str]]:
    items_by_owner: dict[str, set[str]] = {}
    for owner, item in pairs:
        items_by_owner.setdefault(owner, set()).add(item)
    return dict(items_by_owner)


def _by_entity(rows: Rows) -> dict[str, list[Prediction]]:
    by_entity: dict[str, list[Prediction]] = {}
    for row in rows:
        by_entity.setdefault(row.entity_id, []).append(row)
    return by_entity
