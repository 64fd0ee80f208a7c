"""Every function that is told whose data it works on, called by everybody for everybody's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from tests.attack.arguments import Asked, call, missing, spellings
from tests.attack.harness import Attempt, Outcome, asked_for, attack
from tests.attack.owners import OWNERS, PLATFORMS, Owner
from tests.attack.surface import Function, functions
from tests.attack.world import World

pytestmark = pytest.mark.integration

#: In a run of CI: principals of a function, and whose things each of them asks for.
PRINCIPALS: Final = 3
NEIGHBOURS: Final = 3
#: Functions that take seconds a call, for one principal and neighbour in CI.
SLOW: Final = frozenset(
    {
        "quality.inspection.check",
        "pipeline.in_process.run",
        "monitoring.stage.monitor",
        "training.stage.train",
        "training.stage.train_global",
    }
)
#: What is the platform's to keep, of what tenants tell it.
FOR_THE_PLATFORM: Final = frozenset(
    {
        "stores.postgres.drift_records.PostgresDriftRecords.report_window",
        "registry.blast_radius.roll_back_derived",
        "training.stage.train_global",
        "pipeline.in_process.run",
        "pipeline.audit.checkpoint",
        "pipeline.consent.Withdrawals.withdraw_global",
        "pipeline.neighbours.readable",
        "storage.ownership.claim",
        "storage.ownership.enter",
        "storage.ownership.change",
        "training.membership.settle",
    }
)
#: What is not answered alike, and why.
NOT_ALIKE: Final = {
    "storage.ownership.change": "an operator's: of whom the record is, it changes",
    "storage.checkpoints.write": "numbers the checkpoints",
    "features.description.preview.preview": "says how long it took",
    "registry.blast_radius.roll_back_derived": "an operator's, and `global` is the only good name",
}
#: What an operator calls, or a step that has to know who consented: tenants' names are for it.
FOR_OPERATORS: Final = frozenset(
    {
        "pipeline.in_process.run",
        "pipeline.moving.would_withdraw",
        "pipeline.audit.checkpoint",
        "pipeline.audit.owners",
        "pipeline.audit.verify_chains",
        "pipeline.runs.Run.consenting",
        "storage.migrate.migrate_all",
        "storage.verification.verify",
    }
)


def _principals(function: Function, most: int) -> Sequence[Owner]:
    """Some of the owners, others for other functions."""

    def drawn(owner: Owner) -> bytes:
        return hashlib.sha256(f"{function.name} {owner.id}".encode()).digest()

    return sorted(OWNERS, key=drawn)[:most]


def _attempts(
    world: World, function: Function, way: str, principals: int, neighbours: int
) -> Iterator[Attempt]:
    for principal in _principals(function, principals):
        for named in asked_for(principal, neighbours):
            asked = Asked(world, principal, named, way)

            def perform(asked: Asked = asked) -> object:
                return call(function, asked)

            yield Attempt(function.name, principal, named, way, perform)


def _planned(function: Function) -> tuple[int, int]:
    return (1, 1) if function.name in SLOW else (PRINCIPALS, NEIGHBOURS)


def planned(function: Function, principals: int, neighbours: int) -> int:
    """How many attempts are made upon a function."""
    each = sum(len(asked_for(one, neighbours)) for one in _principals(function, principals))
    return len(spellings(function)) * each


def _attacked(world: World, function: Function, principals: int, neighbours: int) -> Outcome:
    outcome = Outcome()
    for way in spellings(function):
        if function.of in ("MlflowRegistry", "MlflowRecords") or function.name.startswith(
            "registry.mlflow_workspace"
        ):
            assert world.changeable_uri  # is there before the first attempt
        outcome += attack(
            world,
            _attempts(world, function, way, principals, neighbours),
            alike=function.name not in NOT_ALIKE,
            also_changed=PLATFORMS if function.name in FOR_THE_PLATFORM else (),
            names=function.name in FOR_OPERATORS,
        )
    return outcome


def test_the_harness_knows_how_to_call_every_function_that_takes_a_tenant() -> None:
    """A function with a new kind of parameter fails here until `arguments.py` has a word on it."""
    gaps = [gap for function in functions() for gap in missing(function)]
    assert not gaps, "\n".join(gaps)


def test_the_surface_is_not_looked_for_in_the_wrong_place() -> None:
    """Storage, ledgers, registry, lake and online store are all on it."""
    names = {function.name for function in functions()}
    assert len(names) > 150
    assert names >= {
        "storage.postgres.tenant_transaction",
        "storage.postgres.snapshot",
        "storage.lake_files.LakeFiles.get",
        "stores.postgres.promotions.PostgresPromotions.history",
        "registry.mlflow_registry.MlflowRegistry.artifact",
        "scoring.stage.score",
        "stores.postgres.retrains.PostgresRetrains.open_requests",
        "stores.postgres.online.PostgresOnlineStore.append",
        "stores.postgres.online.reading.PostgresReader.read",
        "features.inputs.read",
        "training.stage.train",
    }


def test_there_are_thousands_of_attempts() -> None:
    """3,000 in every run and 10,000 in soak, of these alone."""
    assert sum(planned(one, *_planned(one)) for one in functions()) >= 3_000
    assert sum(planned(one, len(OWNERS), len(OWNERS)) for one in functions()) >= 10_000


#: What shows an owner its own: of these, at least, it is known that a leak would be seen.
SHOW: Final = frozenset(
    {
        *(
            "storage.lake_files.LakeFiles.get",
            "storage.lake.Lake.read",
            "storage.lake.Lake.dataset",
        ),
        *("storage.postgres.tenant_transaction", "storage.postgres.keyed_transaction"),
        *("storage.postgres.snapshot",),
        *(
            f"stores.{place}Promotions.{name}"
            for place in ("postgres.promotions.Postgres", "memory.promotions.InMemory")
            for name in ("history", "find", "outline", "champion_at")
        ),
        *(
            f"stores.{place}Experiments.history"
            for place in ("postgres.experiments.Postgres", "memory.experiments.InMemory")
        ),
        *("registry.mlflow_registry.MlflowRegistry.artifact",),
        *("registry.mlflow_registry.MlflowRegistry.reference",),
        *("registry.mlflow_registry.MlflowRegistry.card",),
        *("registry.mlflow_records.MlflowRecords.card",),
        *(
            f"stores.{place}Retrains.{name}"
            for place in ("postgres.retrains.Postgres", "memory.retrains.InMemory")
            for name in ("history", "open_requests", "requests_since")
        ),
        *("stores.postgres.skew_findings.PostgresSkewFindings.all_of",),
        *("stores.postgres.drift_records.PostgresDriftRecords.verdicts",),
        *("features.inputs.read", "features.inputs.read_pinned"),
        *("stores.postgres.online.arrivals.streamed_events",),
        *("stores.postgres.online.partials.streamed",),
        *("pipeline.experiment_results.told",),
    }
)


@pytest.mark.parametrize("function", functions(), ids=lambda function: function.name)
def test_a_function_tells_and_changes_nothing_of_a_neighbour(
    world: World, function: Function
) -> None:
    """No secret, no name, no changed row or file; a neighbour's is answered as nobody's is."""
    outcome = _attacked(world, function, *_planned(function))
    assert outcome.attempts == planned(function, *_planned(function))
    assert outcome.own or function.name not in SHOW
    assert not outcome.leaks, "\n".join(outcome.leaks[:20])


@pytest.mark.soak
@pytest.mark.parametrize("function", functions(), ids=lambda function: function.name)
def test_nobody_gets_anything_of_anybody_elses(world: World, function: Function) -> None:
    """The whole product: every owner asks for its own, every neighbour's and nobody's."""
    outcome = _attacked(world, function, len(OWNERS), len(OWNERS))
    assert outcome.attempts == planned(function, len(OWNERS), len(OWNERS))
    assert not outcome.leaks, "\n".join(outcome.leaks[:20])
