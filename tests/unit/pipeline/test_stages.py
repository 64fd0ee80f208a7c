"""The declaration of the flow: what follows what, and that its functions take what it says."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from inspect import Parameter, signature
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import ConfigError
from include.pipeline import steps
from include.pipeline.stages import (
    GLOBAL_STAGES,
    RETRAIN_STAGES,
    TENANT_STAGES,
    USE_CASE_STAGES,
    Stage,
    following,
    riding_along,
    stage_named,
    upstream,
)

PIPELINE = (*TENANT_STAGES, *USE_CASE_STAGES)
FLOWS = {"pipeline": PIPELINE, "retrain": RETRAIN_STAGES, "global": GLOBAL_STAGES}
#: Flow and stage, and the stages that it follows directly.
EDGES = """
    pipeline ingestion:
    pipeline quality:         ingestion
    pipeline materialization: quality
    pipeline features:        quality
    pipeline training:        features
    pipeline registry:        training
    pipeline scoring:         features registry
    pipeline monitoring:      scoring
    pipeline skew:            monitoring
    retrain  features:
    retrain  training:        features
    retrain  registry:        training
    retrain  scoring:         features registry
    retrain  monitoring:      scoring
    retrain  skew:            monitoring
    retrain  outcome:         monitoring
    global   training:
    global   registry:        training
"""


def test_a_stage_follows_what_it_reads_and_waits_for() -> None:
    """Directly only where nothing else makes it wait; what may be skipped does not."""
    expected: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in EDGES.strip().splitlines():
        what, _, before = line.partition(":")
        expected[tuple(what.split())] = tuple(before.split())
    found = {
        (name, stage.name): upstream(stage.name, flow)
        for name, flow in FLOWS.items()
        for stage in flow
    }
    assert found == expected


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_stage_reads_what_came_before(flow: tuple[Stage, ...]) -> None:
    """In the order of the table each stage is complete once those before it are done."""
    elsewhere = {stage.name for stage in TENANT_STAGES} - {stage.name for stage in flow}
    done: set[str] = set()
    for stage in flow:
        assert {*stage.reads, *stage.after} <= done | elsewhere
        done.add(stage.name)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_function_takes_the_handoffs_that_its_stage_reads(flow: tuple[Stage, ...]) -> None:
    """By their names, after the run; and can do without those that may be missing."""
    here = {stage.name: stage for stage in flow}
    for stage in flow:
        _, *handoffs = signature(resolve_name(stage.path)).parameters.values()
        assert tuple(parameter.name for parameter in handoffs) == stage.reads
        for parameter in handoffs:
            earlier = here.get(parameter.name)
            may_be_missing = earlier is None or (
                earlier.when_training_is_due and not stage.when_training_is_due
            )
            assert not may_be_missing or parameter.default is not Parameter.empty


def test_after_features_comes_training_if_it_is_due() -> None:
    """Else the champion answers at once."""
    assert following("features", USE_CASE_STAGES, training_due=True) == "training"
    assert following("features", USE_CASE_STAGES, training_due=False) == "scoring"


def test_a_stage_without_what_it_needs_says_which_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was skipped is no error where the function can do without it."""
    quiet: Any = SimpleNamespace(at_work=lambda *_: nullcontext(), check_again=lambda *_: None)
    monkeypatch.setattr(steps, "ownership", quiet)
    monkeypatch.setattr(steps, "sweep", lambda _: None)
    kept: list[tuple[str, Any]] = []
    monkeypatch.setattr(steps, "_record", lambda _, stage, made: kept.append((stage.name, made)))
    monkeypatch.setattr(steps, "scoring", lambda run, features: features)
    monkeypatch.setattr(steps, "features", lambda run, quality="newest": f"of {quality}")
    monkeypatch.setattr(steps, "skew", lambda run, scoring: None)
    tenant = SimpleNamespace(id="alder", timezone="UTC")
    as_of = datetime(2024, 1, 8, tzinfo=UTC)
    run: Any = SimpleNamespace(tenant=tenant, use_case_name="", as_of=as_of)
    with pytest.raises(ConfigError, match="'features' left nothing for 'scoring'; run it first"):
        steps.execute(stage_named("scoring"), run, {"quality": "accepted"})
    assert steps.execute(stage_named("features"), run, {}) == "of newest"
    assert steps.execute(stage_named("skew"), run, {"scoring": "done"}) is None  # nothing to keep
    assert steps.execute(stage_named("scoring"), run, {"features": "built"}) == "built"
    assert kept == [("features", "of newest"), ("scoring", "built")]


def test_a_stage_without_a_task_of_its_own_reads_what_its_host_reads() -> None:
    """Nothing else is unpacked for it; and it comes after its host in every flow."""
    for name, flow in FLOWS.items():
        names = [stage.name for stage in flow]
        for guest in (stage for stage in flow if stage.along_with):
            host = stage_named(guest.along_with, flow)
            assert set(guest.reads) <= {*host.reads, host.name}, (name, guest.name)
            assert names.index(host.name) < names.index(guest.name)
            assert guest in riding_along(host.name, flow)
