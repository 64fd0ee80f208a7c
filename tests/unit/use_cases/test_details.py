"""What is kept beside a score: engagement, the best hour, alerts within their budget."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.errors import ConfigError
from include.features.library.leads import HALF, LEAD_ENGAGEMENT, POINTS, hours
from include.features.outputs import evaluate
from include.use_cases.details import Alerts, BestHour, KeptFeature

HOURS = BestHour(hours("response_hours"), hours("tenant_response_hours"), prior=5.0)


def responses(own: dict[int, int], everybody: dict[int, int]) -> pa.Table:
    parts = {}
    for names, counts in ((HOURS.own, own), (HOURS.everybody, everybody)):
        parts |= {name: [counts.get(hour, 0)] for hour, name in enumerate(names)}
    return pa.table(parts)


def best(own: dict[int, int], everybody: dict[int, int]) -> int | None:
    (hour,) = HOURS.values(responses(own, everybody), np.zeros(1))
    return hour


def test_a_lead_that_never_responded_gets_the_tenants_hour() -> None:
    """Without anything of its own, a lead is like the others."""
    assert best({}, {9: 40, 15: 60}) == 15


def test_one_response_does_not_outweigh_all_others() -> None:
    """An hour counts for more the more often it was used; a single one is chance."""
    assert best({3: 1}, {15: 1_000}) == 15
    assert best({3: 8}, {15: 1_000}) == 3


def test_equal_hours_are_answered_with_the_earliest() -> None:
    """The answer does not depend on the order of anything."""
    assert best({20: 4, 8: 4}, {20: 10, 8: 10}) == 8


def test_a_tenant_without_responses_has_no_best_hour() -> None:
    """Nothing is invented where nobody ever responded."""
    assert best({}, {}) is None


@pytest.mark.parametrize(("rows", "flagged"), [(0, 0), (1, 1), (100, 1), (101, 2), (1_000, 10)])
def test_alerts_keep_to_their_budget(rows: int, flagged: int) -> None:
    """The best-scored share of an interval is flagged, rounded up to whole rows."""
    scores = np.random.default_rng(2).permutation(rows).astype(float)
    found = np.array(Alerts(0.01).values(pa.table({}), scores), dtype=bool)
    assert found.sum() == flagged
    assert scores[found].min(initial=rows) >= rows - flagged


def test_alerts_keep_to_their_budget_where_scores_are_equal() -> None:
    """A model that says the same of everything does not alarm about everything."""
    assert Alerts(0.1).values(pa.table({}), np.ones(20)) == [True, True, *([False] * 18)]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 7.0])
def test_an_impossible_budget_is_refused(share: float) -> None:
    """A budget is a share."""
    with pytest.raises(ConfigError, match="share between 0 and 1"):
        Alerts(share)


def test_a_kept_feature_is_rounded_and_null_stays_unsaid() -> None:
    """What people read has no sixteen digits."""
    rows = pa.table({"x__y": [1.2345, None]})
    assert KeptFeature("engagement", "x__y").values(rows, np.zeros(2)) == [1.2, None]


@pytest.mark.parametrize(
    ("done", "score"),
    [({}, 0.0), ({"Page Viewed": 25}, 50.0), ({"Trial Started": 5}, 75.0)],
)
def test_engagement_goes_from_0_towards_100_by_points(done: dict[str, int], score: float) -> None:
    """Half of it is reached at 25 points of the last four weeks."""
    primitives = {}
    for event in POINTS:
        label = event.lower().replace(" ", "_")
        primitives[f"{label}_count_28d"] = np.array([done.get(event, 0)])
        primitives[f"{label}_count_7d"] = np.array([0])
    found = evaluate(LEAD_ENGAGEMENT, primitives, 1)["lead_engagement__score"][0].as_py()
    assert found == pytest.approx(score)
    assert HALF == 25


def test_models_do_not_read_what_only_a_detail_is_made_of() -> None:
    """Counts per hour are there for the best hour and for nothing else."""
    leads = use_cases.get("lead_scoring")
    assert not set(HOURS.reads) & set(leads.columns)
    assert not set(HOURS.reads) & set(leads.feature_columns)
    assert set(HOURS.reads) < set(leads.features.columns)
    assert "lead_engagement__score" in leads.columns
