"""The version beside the champion: scored in the shadow, and served where an experiment says so.

Nothing about it ever fails serving: a challenger that cannot be read or scored is left out, and the
log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, IntegrityError, TenantryError
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry import recorded
from include.registry.experiments import (
    CHALLENGER_ARM,
    CHAMPION_ARM,
    Experiment,
    Experiments,
    challenger_at,
    in_force,
)
from include.registry.port import ModelVersion, Registry
from include.registry.predictions import Part
from include.registry.promotions import Promotion, Promotions
from include.registry.withdrawal import Withdrawn, lost_for_good
from include.scoring.ranks import SCHEMA
from include.tenants.namespace import TenantRef

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Challenged:
    """What a challenger answered, and the experiment it is served in, if it is."""

    version: str
    rows: pa.Table  #: of `ranks.SCHEMA`, for all entities
    experiment: Experiment | None

    @property
    def shadow(self) -> Part:
        """All it answered."""
        return Part(self.rows, self.version)


def challenged(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    champion: ModelVersion,
    answer: Callable[[ModelVersion, Model, bool], pa.Table],
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
) -> Challenged | None:
    """The challenger of that instant, scored; None where there was none, or it cannot be.

    That of the experiment in force, else the one that the promotions name.

    Args:
        answer: gives a version's rows; the last argument says whether they may be served.
    """
    trial = in_force(experiments.history(tenant, use_case), as_of)
    if trial is not None and trial.champion != champion.version:
        trial = None
    decided = promotions.history(tenant, use_case)
    number = trial.challenger if trial else challenger_at(decided, as_of)
    if not number or number == champion.version:
        return None
    try:
        version = recorded.registered(tenant, use_case, number, registry, decided)
        _check(tenant, use_case, trial, version, registry, decided, promotions)
        model = from_bytes(registry.artifact(tenant, version))
        return Challenged(number, answer(version, model, trial is not None), trial)
    except Exception as error:  # whatever it is, serving goes on
        log.warning(
            "scoring: %s/%s@%s challenges at %s, and was left out: %s",
            *(tenant.id, use_case, number, as_of, error),
            exc_info=not isinstance(error, TenantryError),
        )
        return None


def served(rows: pa.Table, champion: str, found: Challenged | None, *, lists: bool) -> list[Part]:
    """What each entity is served: by its arm in an experiment, else by the champion.

    An entity of the challenger's arm to which the challenger has nothing to say is served by the
    champion, and still counts for the challenger.

    Args:
        rows: the champion's, of `ranks.SCHEMA`.
        lists: ranks are of each entity's list, not over all entities.
    """
    if found is None or found.experiment is None:
        return [Part(rows, champion)]
    trial, theirs = found.experiment, found.rows
    entities = pc.unique(pa.chunked_array([*rows[0].chunks, *theirs[0].chunks], pa.string()))
    arms = np.array(trial.split.arms_of(entities.to_pylist()))
    sent = entities.filter(pa.array(arms == CHALLENGER_ARM))
    answered = _of(theirs, sent)
    left = entities.filter(pa.array(arms == CHAMPION_ARM))
    silent = sent.filter(pc.invert(pc.is_in(sent, value_set=pc.unique(answered[0]))))
    parts = [
        Part(_of(rows, left), champion, trial.number, CHAMPION_ARM),
        Part(answered, found.version, trial.number, CHALLENGER_ARM),
        Part(_of(rows, silent), champion, trial.number, CHALLENGER_ARM),
    ]
    return parts if lists else _ranked_together(parts)


def _check(
    tenant: TenantRef,
    use_case: str,
    trial: Experiment | None,
    version: ModelVersion,
    registry: Registry,
    decided: Sequence[Promotion],
    promotions: Promotions,
) -> None:
    """Refuse one that must not be served; to be compared in the shadow, consent is enough."""
    if reason := lost_for_good(version, registry, promotions):
        raise ConfigError(f"it must not be used: {reason}")
    if trial is None:
        return
    if version.digest != trial.digest:
        raise IntegrityError(f"it is not the artifact that {trial.name} was started with")
    if reason := Withdrawn.of(tenant, use_case, decided, promotions).why(version, registry):
        raise ConfigError(f"it must not serve: {reason}")


def _of(rows: pa.Table, entities: pa.Array) -> pa.Table:
    return rows.filter(pc.is_in(rows["entity_id"], value_set=entities))


def _ranked_together(parts: Sequence[Part]) -> list[Part]:
    """The same rows with ranks over all of them."""
    marked = [
        part.rows.append_column("part", pa.repeat(pa.scalar(at, pa.int32()), part.rows.num_rows))
        for at, part in enumerate(parts)
    ]
    order = [("score", "descending"), ("entity_id", "ascending"), ("item_id", "ascending")]
    rows = pa.concat_tables(marked).sort_by(order)
    at = rows.schema.get_field_index("rank")
    rows = rows.set_column(at, "rank", pa.array(np.arange(1, rows.num_rows + 1), pa.int32()))
    return [
        Part(
            rows.filter(pc.equal(rows["part"], at)).select(SCHEMA.names).cast(SCHEMA),
            part.model_version,
            part.experiment,
            part.arm,
        )
        for at, part in enumerate(parts)
    ]
