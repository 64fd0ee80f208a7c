"""The stages of a model's life, and how the ledgers tell that one was met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from include.monitoring.retrains import RetrainRequest
from include.registry import experiments
from include.registry.promotions import ROLLBACK, Promotion
from include.storage.postgres import tenant_transaction
from include.storage.retention import Expired
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.retrains import PostgresRetrains
from include.tenants.namespace import TenantRef

PROMOTIONS: Final = PostgresPromotions()
RETRAINS: Final = PostgresRetrains()

Row = dict[str, Any]


class Stage(Enum):
    """What can happen to a model, from its first day to its last."""

    FIRST_PROMOTION = "something serves for the first time"
    GLOBAL_ADOPTED = "the global model serves a tenant"
    OWN_PROMOTED = "a model of the tenant's own serves"
    OWN_OVER_GLOBAL = "one replaces the global model"
    INCUMBENT_KEPT = "a training finds nothing better"
    TENTH_VERSION = "there are ten versions and more, told apart as numbers"
    LIVE_MEASURED = "labels have matured, and a live metric is known"
    CALM = "a window is stable"
    DRIFT_FOUND = "a window has drifted"
    DATA_LOST = "a window is too empty to be judged"
    RETRAIN_DECIDED = "drift asks for a retrain, which is done"
    RETRAIN_HELD_BACK = "a retrain is held back, by data loss, cooldown or quota"
    RETRAIN_PROMOTED = "a retrain promotes its model"
    EFFECT_JUDGED = "whether that helped is known"
    DECAYED = "the platform goes back by itself from a model that does worse than it promised"
    ROLLED_BACK = "somebody goes back by hand"
    SHADOWED = "a challenger is scored in the shadow, and judged on matured labels"
    EXPERIMENT_RUN = "an experiment begins, and serves two versions"
    EXPERIMENT_ENDED = "it ends"
    CONSENT_WITHDRAWN = "consent to what serves is withdrawn"
    ERASED = "retention erases events and predictions"
    ENDED = "the contract is over, and no interval runs any more"


@dataclass
class Diary:
    """What was seen of one tenant's use case over the year, besides what the ledgers keep."""

    expired: list[Expired] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  #: why an interval did not run


@dataclass(frozen=True)
class Record:
    """Everything on record of one use case of a tenant."""

    promotions: Sequence[Promotion]
    retrains: Sequence[RetrainRequest]
    experiments: Sequence[experiments.Experiment]
    rows: dict[str, Sequence[Row]]
    diary: Diary

    @classmethod
    def of(cls, tenant: TenantRef, use_case: str, diary: Diary) -> Record:
        """As it stands now."""
        rows: dict[str, Sequence[Row]] = {}
        with tenant_transaction(tenant) as connection:
            for table, columns in _READ.items():
                rows[table] = connection.execute(
                    f"SELECT {columns} FROM {table} WHERE tenant_id = %s AND use_case = %s",
                    [tenant.id, use_case],
                ).fetchall()
        return cls(
            PROMOTIONS.history(tenant, use_case),
            RETRAINS.history(tenant, use_case),
            in_postgres().experiments.history(tenant, use_case),
            rows,
            diary,
        )

    def met(self) -> set[Stage]:
        """The stages of life that it tells of."""
        return {stage for stage, told in TOLD.items() if told(self)}


_READ: Final = {
    "live_metrics": "as_of, metric, value, model_version",
    "drift_verdicts": "as_of, verdict",
    "shadow_outcomes": "as_of, champion_version, challenger_version",
    "experiment_outcomes": "number, challenger",
}


def _changes(record: Record) -> list[tuple[str, Promotion]]:
    """Every promotion with the rung of whoever served before."""
    before, found = "", []
    for one in record.promotions:
        if one.promoted:
            found.append((before, one))
            before = one.rung
    return found


def _any(found: Iterable[object]) -> bool:
    return any(True for _ in found)


def _verdict(name: str) -> Callable[[Record], bool]:
    return lambda record: _any(r for r in record.rows["drift_verdicts"] if r["verdict"] == name)


#: Stage → whether a record tells of it.
TOLD: Final[dict[Stage, Callable[[Record], bool]]] = {
    Stage.FIRST_PROMOTION: lambda r: bool(_changes(r)),
    Stage.GLOBAL_ADOPTED: lambda r: _any(p for _, p in _changes(r) if p.rung == "global"),
    Stage.OWN_PROMOTED: lambda r: _any(p for _, p in _changes(r) if p.rung == "own" and p.trained),
    Stage.OWN_OVER_GLOBAL: lambda r: _any(
        p for before, p in _changes(r) if (before, p.rung) == ("global", "own") and p.trained
    ),
    Stage.INCUMBENT_KEPT: lambda r: _any(
        p for p in r.promotions if p.trained and not p.promoted and p.version
    ),
    Stage.TENTH_VERSION: lambda r: _any(p for p in r.promotions if int(p.version or 0) >= 10),
    Stage.LIVE_MEASURED: lambda r: _any(
        m for m in r.rows["live_metrics"] if m["value"] is not None
    ),
    Stage.CALM: _verdict("stable"),
    Stage.DRIFT_FOUND: _verdict("drift"),
    Stage.DATA_LOST: _verdict("data_loss"),
    Stage.RETRAIN_DECIDED: lambda r: _any(
        e for e in r.retrains if e.decision == "retrain" and e.state == "finished"
    ),
    Stage.RETRAIN_HELD_BACK: lambda r: _any(
        e
        for e in r.retrains
        if e.decision == "suppress" or e.reason.startswith(("cooldown", "quota"))
    ),
    Stage.RETRAIN_PROMOTED: lambda r: _any(e for e in r.retrains if e.outcome == "promoted"),
    Stage.EFFECT_JUDGED: lambda r: _any(e for e in r.retrains if e.effect and e.effect.name),
    Stage.DECAYED: lambda r: _any(
        p
        for p in r.promotions
        if p.trigger.startswith(ROLLBACK) and p.actor == "system" and p.withdrawn
    ),
    Stage.ROLLED_BACK: lambda r: _any(
        p for p in r.promotions if p.trigger.startswith(ROLLBACK) and p.actor == BY
    ),
    Stage.SHADOWED: lambda r: bool(r.rows["shadow_outcomes"]),
    Stage.EXPERIMENT_RUN: lambda r: (
        len({(o["number"], o["challenger"]) for o in r.rows["experiment_outcomes"]}) >= 2
    ),
    Stage.EXPERIMENT_ENDED: lambda r: _any(e for e in r.experiments if e.ending is not None),
    Stage.CONSENT_WITHDRAWN: lambda r: _any(p for p in r.promotions if p.for_good and p.withdrawn),
    Stage.ERASED: lambda r: (
        sum(e.events for e in r.diary.expired) > 0
        and sum(e.predictions for e in r.diary.expired) > 0
    ),
    Stage.ENDED: lambda r: _any(why for why in r.diary.refused if "last day" in why),
}
#: Who asks for what is done by hand.
BY: Final = "operator"
