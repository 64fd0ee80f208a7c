"""A view computed from a small lake before anyone commits it."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.features import library
from include.features.declarations import TENANT, USER, Aggregation, EventStream
from include.features.description.preview import Preview, distribution, preview, sample
from include.features.views import FeatureView
from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WHOLE = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
ORDERS = EventStream(("Order Completed",))
SPENT = FeatureView(
    "spent",
    USER,
    ORDERS,
    (
        Aggregation("sum", "amount", (30 * DAY,)),
        Aggregation("count"),
        Aggregation("last", "item_id"),
    ),
)


def tenant(name: str = "acme", *, consent: bool = True) -> TenantConfig:
    """A tenant of that name."""
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    mapping = {
        "event": "Order Completed",
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "user",
    }
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": date(2024, 1, 1),
            "sources": [{"name": "shop", "connector": connector, "events": mapping}],
            "use_cases": {"churn": {}},
            "pooling": {"consent": consent},
        }
    )


def store(
    lake: Lake,
    of: TenantConfig,
    *orders: tuple[str | None, str, float, int],
    late: timedelta = timedelta(0),
) -> None:
    """Orders of user, item, amount and days before `AS_OF`, known so much later."""
    rows = [
        {
            "tenant_id": of.id,
            "source": "shop",
            "event_id": f"e{n}",
            "event": "Order Completed",
            "user_id": user,
            "item_id": item,
            "quantity": 1.0,
            "amount": amount,
            "event_timestamp": AS_OF - days * DAY,
            "created_timestamp": AS_OF - days * DAY + late,
            "month": f"{AS_OF - days * DAY + late:%Y-%m}",
        }
        for n, (user, item, amount, days) in enumerate(orders)
    ]
    table = pa.Table.from_pylist(rows, EVENTS)
    lake.replace_slice(of.ref, "events", "shop", WHOLE, table.to_batches())


def facts(lake: Lake, of: TenantConfig, category: dict[str, str]) -> None:
    """Each item's category, valid since long ago."""
    at = WHOLE.start + DAY
    rows: list[dict[str, Any]] = [
        {
            "tenant_id": of.id,
            "source": "products",
            "event_id": f"f{n}",
            "entity": "item",
            "entity_id": item,
            "name": "category",
            "value": value,
            "valid_from": at,
            "created_timestamp": at,
            "month": f"{at:%Y-%m}",
        }
        for n, (item, value) in enumerate(category.items())
    ]
    table = pa.Table.from_pylist(rows, ATTRIBUTES)
    lake.replace_slice(of.ref, "attributes", "products", WHOLE, table.to_batches())


def look(lake: Lake, view: FeatureView, rows: int = 5, as_of: datetime = AS_OF) -> Preview:
    """The view for the tenant."""
    return preview(tenant(), view, as_of, lake=lake, rows=rows)


def test_sample_distribution_and_cost_are_those_of_the_active_entities(tmp_path: Path) -> None:
    """Whoever has no event in the last 60 days is no row, and neither are rows without a user."""
    lake = Lake(tmp_path)
    store(
        lake,
        tenant(),
        *(("ann", "tea", 5.0, 40), ("ann", "jam", 2.0, 3)),
        *(("bob", "tea", 8.0, 1), ("eve", "tea", 1.0, 90), (None, "tea", 9.0, 1)),
    )
    found = look(lake, SPENT)
    assert found.sample == (
        {
            "user_id": "ann",
            "as_of": AS_OF,
            "spent__sum_amount_30d": 2.0,
            "spent__count_all": 2,
            "spent__last_item_id_all": "jam",
        },
        {
            "user_id": "bob",
            "as_of": AS_OF,
            "spent__sum_amount_30d": 8.0,
            "spent__count_all": 1,
            "spent__last_item_id_all": "tea",
        },
    )
    amount, count, item = found.distributions
    assert (amount.nulls, amount.distinct) == (0.0, 2)
    assert amount.quartiles is not None
    assert (amount.quartiles[0], amount.quartiles[-1]) == (2.0, 8.0)
    assert (count.kind, item.kind) == ("integer", "text")
    assert item.top == (("jam", 1), ("tea", 1))
    assert (found.cost.events, found.cost.spine_rows, found.cost.attributes) == (5, 2, 0)
    assert found.cost.peak_bytes > 1_000_000


def test_what_was_not_known_yet_is_not_seen(tmp_path: Path) -> None:
    """An event that arrived after `as_of` makes nobody active and adds to nothing."""
    lake = Lake(tmp_path)
    store(lake, tenant(), ("ann", "tea", 5.0, 3), late=5 * DAY)
    with pytest.raises(ConfigError, match="no user has an event in the 60 days before 2024-07-01"):
        look(lake, SPENT)
    assert look(lake, SPENT, as_of=AS_OF + 3 * DAY).cost.spine_rows == 1


def test_nobody_active_is_answered_with_the_reach_of_the_data(tmp_path: Path) -> None:
    """The message says from when to when there are events, so that the next `as_of` fits."""
    lake = Lake(tmp_path)
    store(lake, tenant(), ("ann", "tea", 5.0, 100), ("ann", "tea", 5.0, 70))
    with pytest.raises(ConfigError, match=r"runs from 2024-03-23 to 2024-04-22. Name another"):
        look(lake, SPENT)
    with pytest.raises(ConfigError, match="its lake has no event known by then"):
        look(Lake(tmp_path / "empty"), SPENT)


def test_attributes_alone_are_a_view(tmp_path: Path) -> None:
    """The spine is the active items', the feature what the tenant said about them."""
    lake = Lake(tmp_path)
    store(lake, tenant(), ("ann", "tea", 1.0, 1), ("ann", "pen", 1.0, 2))
    facts(lake, tenant(), {"tea": "drinks"})
    found = look(lake, library.get("item_facts"))
    assert [row["item_facts__category"] for row in found.sample] == [None, "drinks"]
    assert found.distributions[0].nulls == 0.5


def test_the_whole_tenant_is_one_row(tmp_path: Path) -> None:
    """A view without join keys has a spine of one instant."""
    lake = Lake(tmp_path)
    store(lake, tenant(), ("ann", "tea", 5.0, 3), ("bob", "tea", 5.0, 2))
    found = look(lake, FeatureView("whole", TENANT, ORDERS, (Aggregation("count"),)))
    assert found.sample == ({"as_of": AS_OF, "whole__count_all": 2},)


def test_extreme_amounts_and_hostile_names_are_previewed(tmp_path: Path) -> None:
    """Values at the ends of the floats and texts of control characters break nothing."""
    lake = Lake(tmp_path)
    amounts = (1.7e308, -1.7e308, 5e-324, 0.0, 3.0)
    names = ("\x1b[31mred", "[bold]x", "a\nb", "\u202ereversed", "x" * 256)
    orders = [(n, n, a, 1) for n, a in zip(names, amounts, strict=True)]
    store(lake, tenant(), *orders)
    found = look(lake, SPENT, rows=100)
    amount, _, item = found.distributions
    assert amount.histogram is not None
    assert sum(amount.histogram) == len(names)
    assert amount.quartiles == tuple(sorted(amounts))
    assert {text for text, _ in item.top} == set(names)


def test_the_sample_is_spread_over_the_entities() -> None:
    """First and last row are in it; no more rows than there are."""
    table = pa.table({"n": range(101)})
    assert [row["n"] for row in sample(table, 3)] == [0, 50, 100]
    assert sample(table, 0) == ()
    assert len(sample(table.slice(0, 2), 5)) == 2
    assert sample(table.slice(0, 0), 5) == ()


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=60))
@example([0.0, 5e-324])
@example([-1.7976931348623157e308, 1.7976931348623157e308])
def test_every_number_is_in_exactly_one_bar(values: list[float | None]) -> None:
    """Nulls are counted apart, quartiles ascend, and the bars hold all the rest."""
    found = distribution("f", "number", pa.chunked_array([pa.array(values, pa.float64())]))
    there = [value for value in values if value is not None]
    assert math.isclose(found.nulls * len(values), len(values) - len(there), abs_tol=1e-9)
    if not there:
        assert (found.quartiles, found.histogram, found.distinct) == (None, None, 0)
        return
    assert found.histogram is not None
    assert found.quartiles is not None
    assert sum(found.histogram) == len(there)
    assert list(found.quartiles) == sorted(found.quartiles)
    assert (found.quartiles[0], found.quartiles[-1]) == (min(there), max(there))
