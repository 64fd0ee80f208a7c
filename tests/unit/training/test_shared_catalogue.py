"""What tenants sell together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import use_cases
from include.training.rows import LabelledRows, repeated
from include.training.shared_catalogue import shared_catalogue, shown_to

RECOMMENDATION = use_cases.get("recommendation")
JUNE, JULY = np.datetime64("2024-06-01", "us"), np.datetime64("2024-07-01", "us")


def rows(table: str) -> LabelledRows:
    """From lines of tenant, entity, item, month and label."""
    found = [line.split() for line in table.strip().splitlines()]
    tenant, entity, item, month, label = zip(*found, strict=True)
    names = np.array([f"{one}/{other}" for one, other in zip(tenant, entity, strict=True)])
    return LabelledRows(
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


def test_what_two_tenants_sell_is_kept_with_who_sold_it() -> None:
    """Not what one sells alone, sold before or showed."""
    assert shared_catalogue(RECOMMENDATION, TOLD) == {
        "ale": {"one": 1, "two": 1},
        "bread": {"one": 1, "two": 1},
        "tea": {"one": 2, "two": 1},
    }


def test_one_tenant_alone_shares_nothing() -> None:
    """However much it sells."""
    assert shared_catalogue(RECOMMENDATION, TOLD.where(TOLD.tenant == "one")) == {}
    assert shared_catalogue(RECOMMENDATION, TOLD, {"one", "three"}) == {}


@pytest.mark.parametrize("name", ["matching", "churn", "weekly_playlist"])
def test_use_cases_without_newcomers_have_no_catalogue(name: str) -> None:
    """Nobody would read it."""
    assert shared_catalogue(use_cases.get(name), TOLD) == {}


def test_without_rows_there_is_nothing_to_share() -> None:
    """A global training may have none."""
    assert shared_catalogue(RECOMMENDATION, LabelledRows.none(RECOMMENDATION)) == {}


@pytest.mark.parametrize(
    ("sellers", "shown"),
    [
        ({}, False),
        ({"alder": 500}, False),
        ({"alder": 500, "asker": 500}, False),
        ({"alder": 500, "birch": 500}, True),
        ({"alder": 500, "birch": 500, "asker": 500}, True),
        ({"alder": 9, "birch": 1}, True),
        ({"alder": 8, "birch": 1}, False),
        ({"alder": 8, "birch": 1, "asker": 500}, False),
        (dict.fromkeys("abcdefghi", 1), False),
    ],
)
def test_a_guessed_item_is_shown_where_two_others_sell_it(
    sellers: dict[str, int], shown: bool
) -> None:
    """To ten entities; what the asker sells itself counts for nothing."""
    assert shown_to("asker", {"guess": sellers}, 50) == (["guess"] if shown else [])


@given(
    st.dictionaries(
        st.sampled_from(["tea", "ale", "jam", "bun", "rye"]),
        st.dictionaries(st.sampled_from(["alder", "birch", "cedar"]), st.integers(1, 40)),
    ),
    st.dictionaries(st.sampled_from(["tea", "ale", "jam", "bun", "rye"]), st.integers(1, 10_000)),
)
def test_whatever_the_asker_sells_changes_nothing_of_what_it_is_shown(
    sold: dict[str, dict[str, int]], own: dict[str, int]
) -> None:
    """Adding rows of its own, or taking its consent back and giving it again, is no way to ask."""
    asked = {
        item: sold.get(item, {}) | ({"asker": own[item]} if item in own else {})
        for item in {*sold, *own}
    }
    assert shown_to("asker", asked, 50) == shown_to("asker", sold, 50)


def test_the_order_tells_the_power_of_two_and_no_more() -> None:
    """Within a band, who sells most stands where chance puts it."""
    sold = {f"i{place}": {"alder": 16 + place, "birch": 16} for place in range(30)}
    order = shown_to("asker", sold, 50)
    other = {item: {"alder": 62 - by["alder"], "birch": 16} for item, by in sold.items()}
    assert shown_to("asker", other, 50) == order
    assert order != sorted(order)
    assert shown_to("asker", sold | {"best": {"alder": 60, "birch": 60}}, 50) == ["best", *order]
    assert shown_to("asker", sold, 7) == order[:7]


def test_a_model_without_a_catalogue_shows_nothing() -> None:
    """As of a use case that offers newcomers nothing."""
    assert shown_to("asker", None, 50) == []
