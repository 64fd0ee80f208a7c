"""Which checks are built from the shape, the source and the use case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.errors import UnknownNameError
from include.quality import suites
from include.quality.needs import DataNeeds
from include.quality.suites import Check
from include.tenants.config import Source

LIMITS = {"quantity": (-10.0, 10.0), "amount": (0.0, 5e10)}
CHURN = DataNeeds(
    "churn",
    ("Product Purchased",),
    ("user_id",),
    attributes=("category",),
    label_event="Product Purchased",
    label_rate=(0.5, 40.0),
)
POS = Source.model_validate(
    {
        "name": "pos",
        "connector": {"type": "file", "path": "x.csv", "format": "csv"},
        "events": {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"},
        "freshness": timedelta(days=2),
    }
)
ALL = {
    "event rows": suites.event_row_checks(LIMITS, datetime(2024, 1, 1, tzinfo=UTC)),
    "attribute rows": suites.attribute_row_checks(),
    "slice": suites.slice_checks("events.pos"),
    "source": suites.source_checks("events.pos", POS, items_known=True),
    "needs": suites.needs_checks("needs.churn", CHURN),
}


def _severities(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.severity for check in checks}


@pytest.mark.parametrize(
    ("suite", "name", "severity"),
    [
        ("event rows", "columns", "fail"),
        ("event rows", "amount.type", "fail"),
        ("event rows", "event_timestamp.type", "fail"),
        ("event rows", "event_id.present", "quarantine"),
        ("event rows", "event_id.unique", "quarantine"),
        ("event rows", "subject.present", "quarantine"),
        ("event rows", "quantity.sane", "quarantine"),
        ("event rows", "known_after_it_happened", "quarantine"),
        ("attribute rows", "columns", "fail"),
        ("attribute rows", "entity.known", "quarantine"),
        ("attribute rows", "event_id.unique", "quarantine"),
        ("slice", "set_aside", "warn"),
        ("slice", "mostly_good", "fail"),
        ("source", "freshness", "warn"),
        ("source", "volume", "warn"),
        ("source", "data_loss", "warn"),
        ("source", "items_known", "warn"),
        ("needs", "events", "warn"),
        ("needs", "user_id.any", "fail"),
        ("needs", "user_id.most", "warn"),
        ("needs", "attribute.category", "warn"),
        ("needs", "label", "warn"),
    ],
)
def test_each_check_has_its_severity(suite: str, name: str, severity: str) -> None:
    """What a check does when it is not met is part of its declaration."""
    assert _severities(ALL[suite])[name] == severity


@pytest.mark.parametrize("suite", sorted(ALL))
def test_names_are_unique_within_a_suite(suite: str) -> None:
    """A check's name identifies its row in `quality_results`."""
    names = [check.name for check in ALL[suite]]
    assert len(names) == len(set(names))


def test_freshness_is_the_sources_own() -> None:
    """The limit on the newest event's age is what the source declares."""
    (freshness,) = [c for c in ALL["source"] if c.name == "freshness"]
    assert freshness.kwargs == {"max_value": 2.0}


def test_events_from_before_the_zero_of_clocks_need_a_history_from_before() -> None:
    """An archive is taken from where the tenant's file lets its history begin."""
    archive = datetime(1965, 1, 1, tzinfo=UTC)
    for begins, earliest in ((datetime(2024, 1, 1, tzinfo=UTC), 1970), (archive, 1965)):
        checks = suites.event_row_checks(LIMITS, begins)
        (check,) = [one for one in checks if one.name == "event_timestamp.sane"]
        assert check.kwargs == {
            "min_value": datetime(earliest, 1, 1, tzinfo=UTC),
            "max_value": None,
        }


def test_too_many_labels_have_no_bound_of_ours() -> None:
    """Only too few are noted, where the use case says nothing else."""
    needs = DataNeeds("churn", ("Product Purchased",), ("user_id",), label_event="x")
    (label,) = [c for c in suites.needs_checks("needs.churn", needs) if c.name == "label"]
    assert label.kwargs == {"min_value": 0.01, "max_value": None}


def test_label_rate_is_the_use_cases_own() -> None:
    """The limits on labels per active entity are what the use case declares."""
    (label,) = [c for c in ALL["needs"] if c.name == "label"]
    assert label.kwargs == {"min_value": 0.5, "max_value": 40.0}


def test_without_item_attributes_there_is_no_referential_check() -> None:
    """A tenant that declares no item attributes is not told that they are missing."""
    checks = suites.source_checks("events.pos", POS, items_known=False)
    assert "items_known" not in _severities(checks)


def test_without_a_label_event_there_is_no_label_check() -> None:
    """A use case whose label is no event has no rate to judge."""
    needs = DataNeeds("churn", ("Product Purchased",), ("user_id",))
    assert "label" not in _severities(suites.needs_checks("needs.churn", needs))


def test_an_unknown_entity_column_is_refused_with_the_known_ones() -> None:
    """A misspelt column in a use case's needs is found when it is declared."""
    with pytest.raises(UnknownNameError, match="account_id, group_id, item_id, user_id"):
        DataNeeds("churn", ("Product Purchased",), ("customer_id",))
