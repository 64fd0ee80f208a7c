"""What the port to predictions promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from include.registry.predictions import Part, Prediction, Predictions
from include.scoring.ranks import SCHEMA
from include.stores.memory.predictions import InMemoryPredictions
from include.stores.postgres.predictions import PostgresPredictions
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def predictions(request: pytest.FixtureRequest) -> Predictions:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryPredictions()
    request.getfixturevalue("database")
    return PostgresPredictions()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("paul"), "eu", "pool")


def part(version: str, *rows: Sequence[Any], **served: Any) -> Part:
    """What a version answered: entity, item, rank, score and the baseline's score of each row."""
    columns = zip(*rows, strict=True) if rows else [()] * 5
    named = dict(zip(SCHEMA.names[:5], map(list, columns), strict=True))
    details = ['{"why": 1}'] * len(rows)
    return Part(pa.table({**named, "details": details}, SCHEMA), version, **served)


def replaced(
    predictions: Predictions, tenant: TenantRef, as_of: datetime, *parts: Part, **more: Any
) -> None:
    """Make them all there is of the instant."""
    predictions.replace(tenant, "churn", as_of, parts, feature_fingerprint="f1", **more)


def test_predictions_come_back_ordered(predictions: Predictions, tenant: TenantRef) -> None:
    """By entity, rank and item, with who made them; a baseline without an answer has none."""
    rows = [("bob", "", 1, 0.9, 0.1), ("Ann", "y", 2, 0.2, None), ("Ann", "x", 1, 0.4, 0.3)]
    replaced(predictions, tenant, JANUARY, part("7", *rows))
    assert predictions.served(tenant, "churn", JANUARY) == [
        Prediction("Ann", "x", 1, 0.4, 0.3, "7"),
        Prediction("Ann", "y", 2, 0.2, None, "7"),
        Prediction("bob", "", 1, 0.9, 0.1, "7"),
    ]
    assert predictions.shadow(tenant, "churn", JANUARY) == []
    assert predictions.served(tenant, "churn", JANUARY + WEEK) == []
    assert predictions.served(tenant, "demand", JANUARY) == []


def test_arms_and_the_shadow_are_told_apart(predictions: Predictions, tenant: TenantRef) -> None:
    """Served rows name their experiment and arm; the shadow is what the challenger would say."""
    arms = (
        part("1", ("ann", "", 1, 0.9, None), experiment=3, arm="champion"),
        part("2", ("bob", "", 2, 0.8, None), experiment=3, arm="challenger"),
    )
    shadow = part("2", ("ann", "", 1, 0.7, None), ("bob", "", 2, 0.8, None))
    replaced(predictions, tenant, JANUARY, *arms, shadow=shadow)
    assert predictions.served(tenant, "churn", JANUARY) == [
        Prediction("ann", "", 1, 0.9, None, "1", 3, "champion"),
        Prediction("bob", "", 2, 0.8, None, "2", 3, "challenger"),
    ]
    assert predictions.shadow(tenant, "churn", JANUARY) == [
        Prediction("ann", "", 1, 0.7, None, "2"),
        Prediction("bob", "", 2, 0.8, None, "2"),
    ]


def test_an_instant_is_replaced_whole(predictions: Predictions, tenant: TenantRef) -> None:
    """Nothing of what was there before stays, served or in the shadow; other instants do."""
    row = ("ann", "", 1, 0.5, None)
    for week in (0, 1):
        at = JANUARY + week * WEEK
        replaced(predictions, tenant, at, part("1", row), shadow=part("2", row))
    replaced(predictions, tenant, JANUARY, part("3", ("bob", "", 1, 0.1, None)))
    assert [row.model_version for row in predictions.served(tenant, "churn", JANUARY)] == ["3"]
    assert predictions.shadow(tenant, "churn", JANUARY) == []
    assert len(predictions.shadow(tenant, "churn", JANUARY + WEEK)) == 1


def test_instants_are_found(predictions: Predictions, tenant: TenantRef) -> None:
    """Those at which anybody was served, those with a challenger, and the newest."""
    row = ("ann", "", 1, 0.5, None)
    plain, tried = part("1", row), part("1", row, experiment=1, arm="champion")
    week = [JANUARY + n * WEEK for n in range(5)]
    assert predictions.newest(tenant, "churn") is None
    replaced(predictions, tenant, week[3], part("1"), shadow=part("2"))  # nobody was active
    replaced(predictions, tenant, week[2], tried)
    replaced(predictions, tenant, week[1], plain, shadow=part("2", row))
    replaced(predictions, tenant, week[0], plain)
    assert predictions.instants(tenant, "churn", week[4]) == week[:3]
    assert predictions.instants(tenant, "churn", week[1]) == week[:2]
    assert predictions.challenged(tenant, "churn", week[4]) == week[1:3]
    assert predictions.challenged(tenant, "churn", week[1]) == [week[1]]
    assert predictions.newest(tenant, "churn") == week[2]
    assert predictions.newest(tenant, "churn", 1) == week[2]
    assert predictions.newest(tenant, "churn", 2) is None
    assert predictions.newest(tenant, "demand") is None


def test_tenants_have_their_own_predictions(predictions: Predictions, tenant: TenantRef) -> None:
    """What one is served, no other sees or replaces."""
    row = ("ann", "", 1, 0.5, None)
    replaced(predictions, tenant, JANUARY, part("1", row), shadow=part("2", row))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    replaced(predictions, other, JANUARY)
    assert predictions.served(other, "churn", JANUARY) == []
    assert predictions.instants(other, "churn", JANUARY) == []
    assert predictions.newest(other, "churn") is None
    assert len(predictions.served(tenant, "churn", JANUARY)) == 1
    assert len(predictions.shadow(tenant, "churn", JANUARY)) == 1


def test_both_answer_alike_whatever_was_predicted(database: Any, tenant: TenantRef) -> None:
    """Answers drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Predictions, ...] = (InMemoryPredictions(), PostgresPredictions())
    draw = Random(7)
    names = ["ann", "Ann", "Zoë", "bob", "", "ａ", "b-2", "b_1", "10", "9"]
    instants = [JANUARY + n * WEEK for n in range(6)]

    def drawn(entities: Sequence[str], **served: Any) -> Part:
        rows = [
            (n, "", draw.randrange(9), draw.random(), draw.choice((None, 1.5))) for n in entities
        ]
        return part(draw.choice("123"), *rows, **served)

    for _ in range(30):
        here = draw.sample(names, draw.randrange(len(names)))
        cut = draw.randrange(len(here) + 1)
        number = draw.choice((None, 1, 2))
        arms = ("champion", "challenger") if number else (None, None)
        parts = [
            drawn(half, experiment=number, arm=arm)
            for half, arm in zip((here[:cut], here[cut:]), arms, strict=True)
        ]
        shadow = drawn(here) if draw.random() < 0.5 else None
        at = draw.choice(instants)
        for twin in twins:
            replaced(twin, tenant, at, *parts, shadow=shadow)
    for question in (
        *(lambda twin, at=at: twin.served(tenant, "churn", at) for at in instants),
        *(lambda twin, at=at: twin.shadow(tenant, "churn", at) for at in instants),
        *(lambda twin, at=at: twin.instants(tenant, "churn", at) for at in instants),
        *(lambda twin, at=at: twin.challenged(tenant, "churn", at) for at in instants),
        *(lambda twin, n=n: twin.newest(tenant, "churn", n) for n in (None, 1, 2, 3)),
    ):
        assert question(twins[0]) == question(twins[1])
