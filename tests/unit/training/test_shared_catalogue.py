"""What tenants sell together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.training.catalogue import shared_catalogue
from include.training.rows import Rows, repeated

RECOMMENDATION = use_cases.get("recommendation")
JUNE, JULY = np.datetime64("2024-06-01", "us"), np.datetime64("2024-07-01", "us")


def rows(table: str) -> Rows:
    """From lines of tenant, entity, item, month and label."""
    found = [line.split() for line in table.strip().splitlines()]
    tenant, entity, item, month, label = zip(*found, strict=True)
    names = np.array([f"{one}/{other}" for one, other in zip(tenant, entity, strict=True)])
    return Rows(
        pa.table({"x": np.zeros(len(found))}),
        np.array(label, float),
        np.ones(len(found)),
        names,
        np.array(item),
        names,
        np.zeros(len(found), np.int64),
        np.array(tenant),
        np.array([JUNE if one == "june" else JULY for one in month]),
        repeated((), len(found)),
        np.full(len(found), ""),
    )


TOLD = rows(
    """
    one a tea   july 1
    one b tea   july 1
    two a tea   july 1
    one a ale   july 1
    two a ale   july 1
    two b bread july 1
    one a bread july 1
    one a own   july 1
    one b own   july 1
    one c own   july 1
    one a old   june 1
    two a old   june 1
    one b shown july 0
    two a shown july 0
    """
)


def test_what_two_tenants_sell_is_shared() -> None:
    """Most entities first, equal ones by id; not what one sells alone, sold before or showed."""
    assert shared_catalogue(RECOMMENDATION, TOLD) == ["tea", "ale", "bread"]


def test_one_tenant_alone_shares_nothing() -> None:
    """However much it sells."""
    assert shared_catalogue(RECOMMENDATION, TOLD.where(TOLD.tenant == "one")) == []


@pytest.mark.parametrize("name", ["matching", "churn", "weekly_playlist"])
def test_use_cases_without_newcomers_have_no_catalogue(name: str) -> None:
    """Nobody would read it."""
    assert shared_catalogue(use_cases.get(name), TOLD) == []


def test_without_rows_there_is_nothing_to_share() -> None:
    """A global training may have none."""
    assert shared_catalogue(RECOMMENDATION, Rows.none(RECOMMENDATION)) == []
