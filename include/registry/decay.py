"""Goes back to the global model when a tenant's own decays, judged on labels that have matured.

`decide_rollback` is the decision, `roll_back_if_decayed` carries it out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import IntegrityError
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry import recorded
from include.registry.aliases import follow_ledger
from include.registry.ancestry import ModelName
from include.registry.decline import PromisedFigure, Window, chance_of_fall
from include.registry.port import ModelVersion, NewVersion, Registry
from include.registry.promotions import Promotion, Promotions, promoted_from
from include.registry.rollback import Fallback, move
from include.registry.withdrawal import Withdrawn, earlier, newest_usable
from include.tenants.namespace import TenantRef
from include.wall_clock import PLATFORM, local_day

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RollbackFacts:
    """The champion's figures on labels it had not seen, beside those at its promotion."""

    version: str  #: made the predictions that were measured
    rung: str
    metric: str  #: higher is better
    low: float | None  #: of the 95 % interval at promotion; None where it was never measured
    live: float
    live_error: float  #: standard error of `live`
    baseline: float | None  #: the baseline's figure on the same labels
    labels: int
    measured_at: datetime  #: `as_of` of the predictions
    minimum_labels: int = 30
    tolerance: float = 0.0  #: how far below `low` is still good enough
    error_rate: float = 0.01  #: of the one-sided test that the metric is below the floor
    effective: float = math.inf  #: labels that `live_error` rests on
    promised: PromisedFigure | None = None  #: the metric at promotion, less the tolerance
    #: Earlier windows of the same version, oldest first, none overlapping: the metric, and what it
    #: was above the baseline's.
    before: Sequence[Window] = ()
    gains: Sequence[Window] = ()
    timezone: str = PLATFORM  #: the tenant's, which days are told in


@dataclass(frozen=True)
class RollbackDecision:
    """Whether to go back, with reasons either way."""

    back: bool
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The reasons as one text."""
        return " ".join(self.reasons)


def decide_rollback(facts: RollbackFacts) -> RollbackDecision:
    """Go back where the live metric lies significantly below a floor.

    There are two floors: what the version promised when it was promoted, less a tolerance; and its
    baseline on the same labels. A baseline that serves has neither. Several windows have to be low,
    beyond what windows swing by (`decline`).
    """
    on = local_day(facts.measured_at, facts.timezone)
    live = f"{facts.metric} {facts.live:.4f} on {facts.labels} labels of {on}"
    if facts.rung == "baseline":
        return RollbackDecision(False, ("A baseline serves, and it cannot decay below itself.",))
    if facts.labels < facts.minimum_labels:
        return RollbackDecision(
            False, (f"{live} are too few to decide by (at least {facts.minimum_labels}).",)
        )
    floors: list[tuple[str, float | None]] = []
    if facts.low is not None and facts.promised is not None:
        floor = facts.low - facts.tolerance
        chance = _chance(facts, facts.live, facts.before, facts.promised)
        floors.append(
            (f"its floor of {floor:.4f} at promotion", chance if facts.live < floor else 0.5)
        )
    if facts.baseline is not None:
        gain = facts.live - facts.baseline
        chance = _chance(facts, gain, facts.gains, PromisedFigure(0.0))
        floors.append((f"its baseline's {facts.baseline:.4f}", chance if gain < 0 else 0.5))
    below = [name for name, p in floors if p is not None and p < facts.error_rate]
    if below:
        reasons = tuple(f"{live} is significantly below {name}." for name in below)
        return RollbackDecision(True, reasons)
    alone = [name for name, p in floors if p is None]
    if alone:
        unsure = (
            f"{live} is below {' and '.join(alone)}; all of them share one window of time, so it "
            "takes another one, and to know how much windows swing, for that to count."
        )
        return RollbackDecision(False, (unsure,))
    beside = " or ".join(name for name, _ in floors) or "any floor: none is known"
    return RollbackDecision(False, (f"{live} is not significantly below {beside}.",))


def roll_back_if_decayed(
    tenant: TenantRef,
    use_case: str,
    facts: RollbackFacts,
    *,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    pool: TenantRef,
    fallback: Fallback | None = None,
) -> Promotion | None:
    """Roll back from `as_of` on, where the version has decayed; None where nothing changes.

    A tenant's own model gives way to the global champion, if that reads the same features and is
    not withdrawn; else to the newest earlier version that can take over; else to `fallback`.
    Nothing happens where another version serves by now, so a rerun changes nothing.

    Args:
        pool: owner of the global models that the tenant is offered.
    """
    decision = decide_rollback(facts)
    if not decision.back:
        return None
    with promotions.exclusive(tenant, use_case):
        decided = promotions.history(tenant, use_case)
        current = promotions.champion_at(tenant, use_case)
        if current is None or current.version != facts.version or current.as_of > as_of:
            return None
        serving = recorded.promoted(tenant, current, registry)
        gone = Withdrawn.of(tenant, use_case, decided, promotions)
        passed: tuple[str, ...] = ()
        to = None
        if serving.rung == "own":
            to = _global(tenant, pool, serving, as_of, gone, registry, promotions)
        if to is None:
            before = earlier(decided, current)
            to, passed = newest_usable(tenant, serving, before, gone, registry)
        if to is None and fallback is not None:
            to = fall_back(tenant, use_case, as_of, fallback, registry)
        if to is None or to.version == current.version:
            return None
        text = f"Rolled back from version {current.version} to {to.version} ({to.rung})."
        reasons = (*decision.reasons, *passed, text)
        done = move(promotions, tenant, decided, current, to, as_of, reasons, "system")
        follow_ledger(tenant, use_case, registry, promotions)
    return done


def fall_back(
    tenant: TenantRef, use_case: str, as_of: datetime, fallback: Fallback, registry: Registry
) -> Promotion | None:
    """A promotion, not yet recorded, of what `fallback` offers; None where it offers nothing."""
    new = fallback(tenant, use_case)
    if new is None:
        return None
    return promoted_from(tenant, registry.register(tenant, use_case, new), as_of)


def _global(
    tenant: TenantRef,
    pool: TenantRef,
    serving: ModelVersion,
    as_of: datetime,
    gone: Withdrawn,
    registry: Registry,
    promotions: Promotions,
) -> Promotion | None:
    """A promotion, not yet recorded, of the global champion as a version of the tenant's."""
    world = promotions.champion_at(pool, serving.use_case, as_of)
    if world is None:
        return None
    try:
        version = recorded.promoted(pool, world, registry)
    except IntegrityError as error:
        log.warning("%s/%s cannot go back to it: %s", tenant.id, serving.use_case, error)
        return None
    name = str(ModelName.of(version))
    fits = version.rung == "global" and (
        version.feature_fingerprint == serving.feature_fingerprint
        and not gone.why_model(version.digest, name, registry)
    )
    if not fits:
        return None
    adopted = _adopted(registry.versions(tenant, serving.use_case), version, name)
    if adopted is None:
        content = registry.artifact(pool, version)
        reference = _seen_by(from_bytes(content), registry.reference(tenant, serving))
        if reference is None:
            return None
        new = NewVersion(
            key=f"adopted/{name}/{version.digest}",
            rung="global",
            name=version.name,
            model=content,
            reference=reference,
            parent_version=name,
            as_of=as_of,
            feature_fingerprint=version.feature_fingerprint,
            parameters={},
            metrics={},
            lineage={"tenant": tenant.id, "use_case": serving.use_case, "as_of": as_of},
        )
        adopted = registry.register(tenant, serving.use_case, new)
    return promoted_from(tenant, adopted, as_of)


def _adopted(
    versions: Sequence[ModelVersion], version: ModelVersion, name: str
) -> ModelVersion | None:
    for own in reversed(versions):
        same = (own.rung, own.parent_version, own.digest) == ("global", name, version.digest)
        if same and own.feature_fingerprint == version.feature_fingerprint:
            return own
    return None


def _seen_by(model: Model, reference: bytes) -> bytes | None:
    """The tenant's own reference window with a global model's predictions on that window.

    The global model's own reference window is made of other tenants' rows. None where the model
    cannot read the tenant's: models that answer with lists need items by name, and a reference
    holds no names.
    """
    if model.lists:
        return None
    table = pq.read_table(pa.BufferReader(reference))
    if not set(model.columns) <= set(table.column_names) or "prediction" not in table.column_names:
        return None
    at = table.column_names.index("prediction")
    table = table.set_column(at, "prediction", pa.array(model.predict(table)))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _chance(
    facts: RollbackFacts, value: float, before: Sequence[Window], expected: PromisedFigure
) -> float | None:
    return chance_of_fall([*before, Window(value, facts.live_error, facts.effective)], expected)
