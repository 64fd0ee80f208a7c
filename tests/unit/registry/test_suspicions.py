"""What stands of a suspicion after people's answers, and whom it holds back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from include.errors import ConfigError
from include.registry.promotions import Promotion
from include.registry.suspicions import (
    HELD,
    Suspicion,
    SuspicionAnswer,
    check_free,
    held_back,
    held_versions,
    of_document,
    standing,
)
from include.tenants.namespace import TenantRef

TENANT = TenantRef("acme", "eu", "pool")
AMOUNT = Suspicion("amount", ("spend__sum",), ("why",), ("m1",), ("own/lightgbm", "global/x"))


def verdict(
    answer: str, origin: str = "amount", mappings: tuple[str, ...] = ("m1",)
) -> SuspicionAnswer:
    """An answer of somebody's."""
    return SuspicionAnswer(origin, mappings, answer, "because", "ann", "2024-01-01T00:00:00")  # type: ignore[arg-type]


def test_nobody_has_said_anything() -> None:
    """A suspicion stands until somebody answers."""
    found = standing([AMOUNT], [])
    assert (found.new, found.confirmed, found.all) == ((AMOUNT,), (), (AMOUNT,))


def test_what_was_dismissed_is_not_suspected_again() -> None:
    """Nor where fewer tenants share the mapping than then."""
    assert standing([AMOUNT], [verdict("dismissed")]).all == ()
    assert standing([AMOUNT], [verdict("dismissed", mappings=("m0", "m1"))]).all == ()


@pytest.mark.parametrize(
    "other", [verdict("dismissed", "quantity"), verdict("dismissed", mappings=("m2",))]
)
def test_another_column_or_mapping_is_another_suspicion(other: SuspicionAnswer) -> None:
    """An answer is about one origin, mapped as it was."""
    assert standing([AMOUNT], [other]).new == (AMOUNT,)


def test_what_was_confirmed_stands_without_asking_again() -> None:
    """It holds back and is not new; the last answer counts."""
    found = standing([AMOUNT], [verdict("dismissed"), verdict("confirmed")])
    assert (found.new, found.confirmed) == ((), (AMOUNT,))
    assert standing([AMOUNT], [verdict("confirmed"), verdict("dismissed")]).all == ()


def test_whoever_reads_it_is_held_back_where_something_serves() -> None:
    """The incumbent keeps serving; rules of thumb that read something else may be fitted again."""
    keys = ("baseline/recency", "global/x", "own/lightgbm")
    found = held_back(keys, [AMOUNT], fitted="own", serves=True)
    assert found == {"global/x", "own/lightgbm"}


def test_where_nothing_serves_the_global_model_may_begin() -> None:
    """It has learnt from others; of a global training it is the very model that is suspect."""
    keys = ("baseline/recency", "global/x", "own/lightgbm")
    assert held_back(keys, [AMOUNT], fitted="own", serves=False) == {"own/lightgbm"}
    assert held_back(keys, [AMOUNT], fitted="global", serves=False) == {"global/x", "own/lightgbm"}


def test_where_there_is_nothing_else_a_rule_of_thumb_serves_all_the_same() -> None:
    """Somebody has to; models that were fitted on it stay behind."""
    spend = Suspicion("amount", ("a",), ("w",), ("m",), ("baseline/spend", "own/lightgbm"))
    keys = ("baseline/spend", "own/lightgbm")
    assert held_back(keys, [spend], fitted="own", serves=False) == {"own/lightgbm"}


def test_an_evaluation_tells_its_suspicions() -> None:
    """As they were written; one that holds something else is an error."""
    assert of_document({"suspicions": [asdict(AMOUNT)]}) == (AMOUNT,)
    assert of_document({}) == ()
    with pytest.raises(ConfigError, match="suspicions"):
        of_document({"suspicions": [{"origin": "amount"}]})


def decision(trigger: str, version: str, promoted: bool, held: str = "") -> Promotion:
    """A row of the ledger."""
    evidence = {HELD: {"version": held}} if held else {}
    at = datetime(2024, 1, 1, tzinfo=UTC)
    return Promotion("acme", "churn", at, trigger, promoted, version, "own", "d", "", (), evidence)


def test_a_version_is_held_back_until_it_is_promoted() -> None:
    """It can be tried on nobody in the meantime."""
    decided = [decision("scheduled", "1", True), decision("drift", "1", False, held="2")]
    assert list(held_versions(decided)) == ["2"]
    with pytest.raises(ConfigError, match="suspicion dismiss acme churn"):
        check_free(TENANT, decided, "2")
    check_free(TENANT, decided, "1")
    released = [*decided, decision("release-2", "2", True)]
    assert held_versions(released) == {}
    check_free(TENANT, released, "2")
