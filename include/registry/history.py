"""Turns the promotions ledger into periods: which version served when, by which decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.registry.promotions import Promotion
from include.tenants.namespace import is_global

#: The parts of a version's lineage that say what the version was trained on.
_TRAINED_ON = (
    *("as_of", "trigger", "tables", "windows", "rows", "seed", "code_revision"),
    "feature_fingerprint",
)


@dataclass(frozen=True)
class Period:
    """One version's time as champion, in the time of the data: `[since, until)`.

    The period is empty where another decision of the same instant took its place.
    """

    since: datetime
    until: datetime | None  #: None while it serves
    decision: Promotion


def periods(decided: Sequence[Promotion]) -> list[Period]:
    """The periods of a ledger, oldest first.

    Args:
        decided: every decision, oldest first (`Promotions.history`).
    """
    promoted = [promotion for promotion in decided if promotion.promoted]
    following = [*(promotion.as_of for promotion in promoted[1:]), None]
    return [
        Period(promotion.as_of, until, promotion)
        for promotion, until in zip(promoted, following, strict=False)
        if promotion.version  # nothing serves after a decision that names none
    ]


def within(found: Sequence[Period], start: datetime, end: datetime) -> list[Period]:
    """The periods that overlap `[start, end)`."""
    return [
        period
        for period in found
        if period.since < end and (period.until is None or period.until > max(start, period.since))
    ]


def trained_on(card: Mapping[str, Any]) -> dict[str, Any]:
    """The data and code that a version was made from, by its card's lineage.

    A global model that a tenant took over unchanged was made from nothing of that tenant's. The
    rows that its lineage names are those it was judged on.
    """
    lineage, parent = card["lineage"], card["parent_version"]
    made_from = {name: lineage[name] for name in _TRAINED_ON if name in lineage}
    if copied(card):
        return {"as_of": card["as_of"], "parent": parent, "judged_on": made_from}
    return made_from | {"parent": parent}


def copied(card: Mapping[str, Any]) -> bool:
    """Whether the version is a global model that a tenant took over unchanged."""
    adopted = card["rung"] == "global" and bool(card["parent_version"])
    return adopted and not is_global(card["tenant"])
