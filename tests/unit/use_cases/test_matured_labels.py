"""Labels meet predictions: whatever a use case scores, what becomes of it has the same names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pyarrow as pa
import pytest

from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.errors import ConfigError
from include.monitoring.live import judge_of
from include.registry.predictions import Prediction
from include.simulate.templates import TEMPLATES
from include.simulate.world import TenantPlan, World
from include.use_cases.declaration import UseCase
from include.use_cases.spines import event_columns, matured_labels, scoring_spine, wanted_pairs

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=80)

#: Business → the shapes of a use case: all that are declared, and the others that may be.
CASES: dict[str, list[UseCase]] = {
    business: [use_cases.get(name) for name in names] for business, names in TEMPLATES.items()
}
FRAUD, CHURN = use_cases.get("fraud"), use_cases.get("churn")
assert FRAUD.request is not None
CASES["payments"].append(
    replace(FRAUD, name="by_account", request=replace(FRAUD.request, by="account_id"))
)
CASES["crm"].append(
    replace(
        CHURN,
        name="accounts",
        entity="account_id",
        events=("Page Viewed",),
        label=replace(CHURN.label, horizon=timedelta(days=7)),
    )
)
CASES["shop"].append(
    replace(
        CHURN, name="items", entity="item_id", label=replace(CHURN.label, horizon=timedelta(days=7))
    )
)
ALL = [(business, case) for business, cases in CASES.items() for case in cases]


@cache
def history(business: str) -> pa.Table:
    """Everything a tenant of that business ever sent."""
    world = World(5, business, (TenantPlan("acme", 150),), START.date(), 170)
    return simulate_tenant(world, "acme").events


def shape(case: UseCase) -> tuple[str, ...]:
    """What rows are told apart by, and how they are answered."""
    return (case.task, *case.keys, *(["lists"] if case.lists else []))


def predicted(case: UseCase, truth: pa.Table) -> list[Prediction]:
    """Rows of `predictions` by somebody who knew what came: for all that is scored at `AS_OF`."""
    spine = scoring_spine(case, history(business_of(case)), AS_OF)
    scored = dict.fromkeys(spine[case.entity].to_pylist())
    if case.task not in ("ranking", "association"):
        known = dict(zip(truth["entity_id"].to_pylist(), truth["label"].to_pylist(), strict=True))
        return [Prediction(e, "", 0, known.get(e, 0.0)) for e in scored]
    pairs = zip(truth["entity_id"].to_pylist(), truth["item_id"].to_pylist(), strict=True)
    return [Prediction(e, i, 0, 1.0) for e, i in sorted(set(pairs)) if e in scored]


def business_of(case: UseCase) -> str:
    return next(business for business, one in ALL if one is case)


@pytest.mark.parametrize(("business", "case"), ALL, ids=[case.name for _, case in ALL])
def test_what_labels_hold_is_what_predictions_hold(business: str, case: UseCase) -> None:
    """Every prediction finds its label, and who predicted all of them right is measured as perfect:
    nothing is lost between the two."""
    events = history(business)
    scored = sorted(set(scoring_spine(case, events, AS_OF)[case.entity].to_pylist()))
    until = AS_OF + case.label.horizon
    truth = matured_labels(case, events, AS_OF, scored, until)
    columns = {"entity_id", "label"}
    if case.task in ("ranking", "association"):
        columns |= {"item_id"} | ({"group_id"} if case.task == "association" else set())
        wanted = wanted_pairs(case, events, AS_OF, until)
        assert set(truth["entity_id"].to_pylist()) == set(wanted["entity_id"].to_pylist())
        assert set(truth["entity_id"].to_pylist()) & set(scored)
    else:
        assert sorted(truth["entity_id"].to_pylist()) == scored
        assert len(set(truth["label"].to_pylist())) > 1, "a label that says nothing tests nothing"
    assert set(truth.column_names) == columns
    rows = predicted(case, truth)
    measured = judge_of(case.metric, truth)(rows)
    assert measured is not None
    # ten items cannot be right about every basket that an item comes to lie in
    least = 0.9 if case.task == "association" else 1.0
    assert measured.value >= least - 1e-9


def test_all_shapes_are_among_them() -> None:
    """The keys of every declared use case, and one of each other that a declaration may have."""
    assert {case.name for _, case in ALL} >= use_cases.names()
    assert {shape(case) for _, case in ALL} == {
        ("classification", "user_id"),
        ("classification", "account_id"),
        ("classification", "item_id"),
        ("classification", "user_id", "group_id"),
        ("classification", "account_id", "group_id"),
        ("regression", "user_id"),
        ("regression", "item_id"),
        ("ranking", "user_id", "item_id"),
        ("ranking", "user_id", "item_id", "lists"),
        ("association", "item_id", "lists"),
    }


@pytest.mark.parametrize(
    ("metric", "missing"), [("auc", "entity_id"), ("hit@10", "entity_id, item_id")]
)
def test_labels_by_other_names_are_refused(metric: str, missing: str) -> None:
    """The join keys of a use case are no column of predictions."""
    with pytest.raises(ConfigError, match=f"lack {missing}; got columns: group_id, label"):
        judge_of(metric, pa.table({"group_id": ["a"], "label": [1]}))


def test_requests_are_read_with_all_their_columns() -> None:
    """Which of two events of one group came first depends on the columns that are read."""
    assert set(event_columns(FRAUD)) > set(event_columns(CHURN))
