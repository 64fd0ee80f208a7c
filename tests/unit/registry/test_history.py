"""The ledger as periods of serving, and what of it is withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.registry.history import periods, within
from include.registry.promotions import Promotion, withdrawn

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def decided(
    day: int,
    version: str,
    *,
    promoted: bool = True,
    gone: tuple[str, ...] = (),
    kind: str = "rollback",
) -> Promotion:
    """One decision."""
    trigger = f"{kind}-1" if gone else "scheduled"
    return Promotion(
        *("acme", "churn", FIRST + day * DAY, trigger, promoted, version, "own", "d", "", (), {}),
        withdrawn=gone,
    )


LEDGER = [
    decided(0, "1"),
    decided(7, "1", promoted=False),
    decided(14, "2"),
    decided(14, "1", gone=("2",)),
    decided(21, "3"),
]


def test_a_version_serves_until_the_next_promotion() -> None:
    """What was not promoted ends nothing; what was replaced at once has an empty period; nobody
    has served where nothing was promoted."""
    assert periods([]) == periods([decided(0, "", promoted=False)]) == []
    found = periods(LEDGER)
    assert [(one.decision.version, (one.since - FIRST).days) for one in found] == [
        ("1", 0),
        ("2", 14),
        ("1", 14),
        ("3", 21),
    ]
    assert [one.until and (one.until - FIRST).days for one in found] == [14, 14, 21, None]


@pytest.mark.parametrize(
    ("day", "served"),
    [(-1, []), (0, ["1"]), (13, ["1"]), (14, ["1"]), (20, ["1"]), (21, ["3"]), (99, ["3"])],
)
def test_a_day_has_the_versions_that_served_on_it(day: int, served: list[str]) -> None:
    """Before the first none; a version that was withdrawn at once never served a day."""
    start = FIRST + day * DAY
    found = within(periods(LEDGER), start, start + DAY)
    assert [one.decision.version for one in found] == served


def test_a_day_of_change_has_both_versions() -> None:
    """The one that served in the morning and the one that served in the evening."""
    noon = [decided(0, "1"), decided(7, "2")]
    start = FIRST + 7 * DAY - DAY / 2
    found = within(periods(noon), start, start + DAY)
    assert [one.decision.version for one in found] == ["1", "2"]


def test_a_version_that_is_put_back_is_withdrawn_no_more() -> None:
    """Withdrawn is what was rolled back from, until it serves again."""
    assert set(withdrawn(LEDGER)) == {"2"}
    again = [*LEDGER, decided(28, "2", gone=("3",))]
    assert set(withdrawn(again)) == {"3"}


def test_nothing_puts_back_what_consent_was_withdrawn_to() -> None:
    """Neither a later decision nor a rollback by hand; it has not been trained, whoever asks."""
    lost = decided(28, "2", gone=("3",), kind="consent")
    again = [*LEDGER, lost, decided(35, "3"), decided(36, "3", gone=("2",))]
    assert set(withdrawn(again)) == {"2", "3"}
    assert (lost.for_good, lost.trained) == (True, False)
    assert not decided(28, "2", gone=("3",)).for_good


def test_a_version_serves_until_nothing_does() -> None:
    """A decision after which nothing serves ends the period before, and begins none."""
    found = periods([*LEDGER, decided(28, "", gone=("1", "2", "3"), kind="consent")])
    assert [one.decision.version for one in found] == ["1", "2", "1", "3"]
    assert found[-1].until == FIRST + 28 * DAY
