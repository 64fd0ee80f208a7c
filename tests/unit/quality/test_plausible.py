"""Which sizes of numbers are plausible: by the file, by the past, by the slice; never by us."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.errors import QualityError
from include.quality.plausible import ENOUGH, EXACT, largest_plausible
from include.tenants.config import TenantConfig
from tests.landings import Shop, week, weeks

TYPO = {"amount": 1e15}


def amounts(*values: float | None) -> list[dict[str, Any]]:
    return [{"amount": value} for value in values]


def reasons(shop: Shop) -> list[str]:
    return [row.reason for row in shop.set_aside()]


def declared(config: TenantConfig, **changes: Any) -> TenantConfig:
    """The tenant with changes to how its events are mapped."""
    data = config.model_dump()
    for source in data["sources"]:
        if source["events"]:
            source["events"] |= {"quantity": "quantity", "amount": "amount", **changes}
    return TenantConfig.model_validate(data)


@pytest.mark.parametrize("total", [3e9, 5e10, 9e12])
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_a_first_load_in_a_small_currency_is_accepted(shop: Shop, total: float, rows: int) -> None:
    """Totals in dong or yen are as good as others, from the first row on."""
    checked = shop.run(week(0), amounts(*[total + n for n in range(rows)]))
    assert (checked.quarantined, checked.events.rows) == (0, rows)


@pytest.mark.parametrize("usual", [0.0004, 12.5, 250_000.0])
def test_a_typing_error_is_set_aside_by_the_past(shop: Shop, usual: float) -> None:
    """What is a million times what was usual is none of it; its neighbours go on."""
    shop.run(week(0), amounts(*[usual] * 60))
    checked = shop.run(week(1), [*amounts(usual, 900 * usual), {"amount": usual * 1e9}])
    assert checked.quarantined == 1
    assert reasons(shop) == ["amount.sane"]


def test_a_typing_error_in_a_first_load_is_set_aside_by_its_own_rows(shop: Shop) -> None:
    """Where there is no past, most of the rows say what is usual."""
    checked = shop.run(week(0), [*amounts(*[20.0] * 80), TYPO, {"quantity": -1e9}])
    assert checked.quarantined == 2
    assert sorted(reasons(shop)) == ["amount.sane", "quantity.sane"]


def test_of_a_few_rows_nothing_is_concluded(shop: Shop) -> None:
    """They pass, up to where floats tell whole numbers apart."""
    shop.run(week(0), [*amounts(*[20.0] * 5), TYPO, {"amount": 2.0**54}])
    assert reasons(shop) == ["amount.sane"]


def test_an_error_that_was_accepted_moves_no_bound(shop: Shop) -> None:
    """Nine in ten say what is usual, so the next error is set aside although one passed."""
    shop.run(week(0), amounts(20.0))
    assert shop.run(week(1), [*amounts(*[20.0] * 20), TYPO]).quarantined == 0
    shop.run(week(2), amounts(*[20.0] * 40))
    assert shop.run(week(3), [*amounts(*[20.0] * 3), TYPO]).quarantined == 1


def test_large_returns_and_negative_totals_are_judged_by_size(shop: Shop) -> None:
    """The sign says nothing about what is plausible."""
    shop.run(week(0), amounts(*[-3e11] * 60))
    checked = shop.run(week(1), amounts(3e11, -9e12, -1e18))
    assert checked.quarantined == 1


def test_zeros_and_missing_numbers_say_nothing_about_sizes(shop: Shop) -> None:
    """A price that is mostly missing or zero is not thereby small."""
    shop.run(week(0), amounts(*[0.0] * 500, *[None] * 500, *[4e10] * 40))
    assert shop.run(week(1), amounts(4e10)).quarantined == 0


def test_the_past_is_that_of_the_source(
    make_shop: Callable[..., Shop],
) -> None:
    """A till's small amounts say nothing about another source's large ones."""
    shop = make_shop("wholesale")
    shop.land(week(0), amounts(*[2.0] * 60))
    shop.land(week(0), amounts(*[8e11] * 60), "wholesale")
    shop.check(week(0))
    shop.land(week(1), amounts(8e11))
    shop.land(week(1), amounts(8e11), "wholesale")
    shop.check(week(1))
    (row,) = shop.set_aside()
    assert row.row["source"] == "pos"


def test_a_rerun_judges_by_what_came_before_it(shop: Shop) -> None:
    """What arrived later, the interval's own acceptance included, changes no bound."""
    shop.run(week(0), amounts(*[20.0] * 40))
    first = shop.run(week(1), [*amounts(*[20.0] * 3), TYPO])
    shop.run(week(2), amounts(*[5e7] * 400))
    before = shop.set_aside()
    assert replace(shop.check(week(1)), events=first.events) == first
    assert shop.set_aside() == before


def test_another_currency_is_refused_until_the_file_says_so(shop: Shop) -> None:
    """The run says so instead of setting everything aside; a declaration lets it pass."""
    shop.run(week(0), amounts(*[0.5] * 60))
    shop.run(week(1), amounts(0.5))
    dong = amounts(*[9e9] * 150)
    with pytest.raises(QualityError, match="mostly_good"):
        shop.run(week(2), dong)
    shop.config = declared(shop.config, plausible={"amount": [-1e12, 1e12]})
    assert shop.check(week(2)).quarantined == 0


def test_what_the_file_declares_is_what_counts(shop: Shop) -> None:
    """Declared bounds, both included, take the place of those of the past."""
    shop.config = declared(shop.config, plausible={"amount": [0, 100], "quantity": [-5, 5]})
    rows = [*amounts(0, 100, 100.5, -0.5, math.inf, None), {"quantity": 6.0}]
    assert shop.run(week(0), rows).quarantined == 4
    assert shop.set_aside()[0].row["amount"] == 100.5


@pytest.mark.parametrize(
    ("plausible", "why"),
    [
        ({"amount": [5, 5]}, "is empty: the lower bound comes first"),
        ({"amount": [5]}, "plausible"),
        ({"amount": [0, 1e16]}, "less than or equal to"),
        ({"amount": ["nan", 1]}, "plausible"),
        ({"price": [0, 5]}, "plausible"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(
    shop: Shop, plausible: dict[str, Sequence[Any]], why: str
) -> None:
    """The message names the key."""
    with pytest.raises(ValidationError, match=why):
        declared(shop.config, plausible=plausible)
    with pytest.raises(ValidationError, match="names 'amount', which is not mapped"):
        declared(shop.config, amount=None, plausible={"amount": [0, 5]})


def test_an_archive_is_accepted_where_the_history_begins_with_it(shop: Shop) -> None:
    """Events of 1965 are set aside only where the file lets history begin later."""
    old = {"event_timestamp": datetime(1965, 5, 1, tzinfo=UTC)}
    assert shop.run(week(0), [old, {}]).quarantined == 1
    data = shop.config.model_dump() | {"history_from": "1965-01-01"}
    shop.config = TenantConfig.model_validate(data)
    assert shop.run(week(1), [old, {}]).quarantined == 0


def test_a_history_is_judged_with_the_first_interval(shop: Shop) -> None:
    """Years of totals in dong, with one error among them."""
    shop.land(weeks(0, 10), amounts(*[2e10] * 300, 8e15))
    checked = shop.run(week(10), amounts(*[2e10] * 3))
    assert (checked.events.rows, checked.quarantined) == (304, 0)  # 8e15 is 400,000 times as much


@given(
    st.dictionaries(st.integers(-300, 300), st.integers(1, 10_000), min_size=1, max_size=8),
    st.integers(-290, 8),
)
def test_one_more_number_moves_no_bound_beyond_a_power_that_others_have(
    sizes: dict[int, int], added: int
) -> None:
    """The bound lies above nine in ten numbers, and one error never lifts it above theirs."""
    bound = largest_plausible(sizes)
    total = sum(sizes.values())
    assert 0 < bound <= EXACT
    if total >= ENOUGH:
        below = sum(n for power, n in sizes.items() if 10.0 ** (power + 1) <= bound)
        assert bound == EXACT or below >= 0.9 * total
    many = {0: 10 * total + ENOUGH}
    with_error = {**many, 300: total}
    assert largest_plausible(with_error) == largest_plausible(many)
    one_more = many | {added: many.get(added, 0) + 1}
    assert largest_plausible(one_more) == largest_plausible(many) == 1e7
