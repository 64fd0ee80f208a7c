"""The flow, declared once: what each stage reads, which function it is, and when it runs.

The DAGs, Airflow's operators and `tenantry run` follow from these tables. Parsing a DAG file
imports this module, so a stage names its function and does not import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True)
class Stage:
    """A step of the flow, from the handoffs of earlier stages to its own."""

    name: str
    summary: str  #: one line, shown at its task in the Airflow UI
    #: Stages whose handoffs its function takes, as keyword arguments of the same names. A parameter
    #: with a default stands for a stage that was skipped, or is not in the DAG.
    reads: tuple[str, ...] = ()
    after: tuple[str, ...] = ()  #: stages that it waits for besides, where the DAG has them
    function: str = ""  #: `module:name`; of the module `steps` by the stage's name where empty
    when_training_is_due: bool = False  #: skipped otherwise
    decides: bool = False  #: whether its handoff says if training is due
    trigger_rule: str = "all_success"
    pool: str = "default_pool"
    #: Stage in whose task it is done, as nobody would run or look at it alone; its own where empty.
    #: It reads no more than that stage, and may have nothing to do in a run.
    along_with: str = ""

    @property
    def path(self) -> str:
        """Where its function is, as `pkgutil.resolve_name` wants it."""
        return self.function or f"include.pipeline.steps:{self.name}"


TRAINING_POOL: Final = "training"
#: When global models are trained, in UTC: monthly.
GLOBAL_SCHEDULE: Final = "0 5 1 * *"

#: Once per interval.
TENANT_STAGES: Final = (
    Stage("ingestion", "Sources → landing tables."),
    Stage("quality", "Landing tables → the tables everything else reads.", reads=("ingestion",)),
    Stage(
        "materialization",
        "The online store, brought up to the interval's end.",
        reads=("quality",),
    ),
)

#: Once per interval and use case.
USE_CASE_STAGES: Final = (
    Stage(
        "features",
        "Point-in-time features of the active entities, and whether training is due.",
        reads=("quality",),
        decides=True,
    ),
    Stage(
        "training",
        "Candidates, measured on the same later time window.",
        reads=("features",),
        when_training_is_due=True,
        pool=TRAINING_POOL,
    ),
    Stage(
        "registry",
        "The decision, and the version that serves from now on.",
        reads=("training",),
        when_training_is_due=True,
    ),
    Stage(
        "scoring",
        "Predictions of the interval.",
        reads=("features",),
        after=("registry",),
        trigger_rule="none_failed",
    ),
    Stage(
        "monitoring",
        "Live metrics of matured predictions, the drift verdict, and the retrain decision.",
        reads=("scoring",),
    ),
    Stage(
        "skew",
        "Of some windows, vectors that were scored, computed again from the lake as it is now.",
        reads=("scoring",),
        after=("monitoring",),
        along_with="monitoring",
    ),
)

#: Of one use case, as of an instant.
RETRAIN_STAGES: Final = (
    *USE_CASE_STAGES,
    Stage(
        "outcome",
        "What the retrain came to, in the retrain ledger.",
        reads=("features", "registry"),
        after=("monitoring",),
        trigger_rule="all_done",
    ),
)

#: Of one owner of global models.
GLOBAL_STAGES: Final = (
    Stage(
        "training",
        "One model over the tenants that consented, measured on each of them.",
        function="include.pipeline.steps:global_training",
        trigger_rule="all_done",
        pool=TRAINING_POOL,
    ),
    Stage(
        "registry",
        "The decision about the global model.",
        reads=("training",),
        function="include.pipeline.steps:global_registry",
    ),
)


#: All that there are of a tenant, in whichever DAG.
OF_A_TENANT: Final = (*TENANT_STAGES, *RETRAIN_STAGES)


def riding_along(name: str, flow: Iterable[Stage] = OF_A_TENANT) -> tuple[Stage, ...]:
    """The stages that are done in the task of a stage, after it."""
    return tuple(stage for stage in flow if stage.along_with == name)


def stage_named(name: str, flow: Iterable[Stage] = OF_A_TENANT) -> Stage:
    """A stage by its name."""
    return next(stage for stage in flow if stage.name == name)


@cache
def upstream(name: str, flow: tuple[Stage, ...]) -> tuple[str, ...]:
    """The stages of `flow` that a stage follows directly, in flow order.

    They are the stages that it reads or waits for, but for those that stand before another of them
    anyway, on a way without any stage that may be skipped.
    """
    among = {stage.name: stage for stage in flow}
    waited = _waits_for(among[name], among)
    implied = {
        earlier
        for later in waited
        if not among[later].when_training_is_due
        for earlier in _ancestors(later, among)
    }
    return tuple(stage for stage in among if stage in waited and stage not in implied)


def following(name: str, flow: Sequence[Stage], *, training_due: bool) -> str:
    """The stage that a run goes on with after the one that decides whether training is due."""
    return next(
        stage.name
        for stage in flow
        if name in stage.reads and stage.when_training_is_due == training_due
    )


def _waits_for(stage: Stage, among: dict[str, Stage]) -> list[str]:
    return [name for name in (*stage.reads, *stage.after) if name in among]


def _ancestors(name: str, among: dict[str, Stage]) -> Iterator[str]:
    for earlier in _waits_for(among[name], among):
        yield earlier
        if not among[earlier].when_training_is_due:
            yield from _ancestors(earlier, among)
