"""Where a feature comes from, down to the tenant's own columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from include.features import library
from include.features.conditions import at_least, equals
from include.features.declarations import (
    ITEM,
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.description.lineage import Node, lineage
from include.features.description.wording import feature_words
from include.features.expressions import Feature, Ratio
from include.features.views import FeatureView
from include.tenants.config import TenantConfig

DAY = timedelta(days=1)
FRESH = FeatureView(
    "fresh",
    USER,
    EventStream(
        ("Order Completed",), (at_least("quantity", 1),), (AttributeLookup("item", "category"),)
    ),
    derived=(Derived("share_30d", Ratio(Feature("fresh_count_30d"), Feature("count_30d"))),),
    inputs=(
        Aggregation("count", windows=(30 * DAY,)),
        Aggregation("count", None, (30 * DAY,), (equals("item.category", "fruit"),), "fresh"),
    ),
)


def tenant(**changes: Any) -> TenantConfig:
    """A tenant with one source of orders and one of products."""
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    orders = {
        "event": "Order Completed",
        "event_id": ["id"],
        "event_timestamp": "at",
        "arrival": {"delay": "PT1H"},
        "user_id": "customer",
        "item_id": "sku",
        "quantity": "pieces",
        "properties": {"discount": "rebate"},
    }
    products = {
        "entity": "item",
        "entity_id": "sku",
        "valid_from": "2024-01-01",
        "names": {"category": "aisle"},
    }
    return TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "Acme",
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": "2024-01-01",
            "timezone": "Europe/Vienna",
            "sources": [
                {"name": "shop", "connector": connector, "events": orders},
                {"name": "products", "connector": connector, "attributes": products},
            ],
            "use_cases": {"churn": {}},
            **changes,
        }
    )


def paths(node: Node, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every way from the root to a leaf."""
    here = (*above, node.text)
    if not node.made_of:
        yield here
    for part in node.made_of:
        yield from paths(part, here)


def leaves(view: FeatureView, of: TenantConfig | None = None) -> set[str]:
    """The ends of the view's lineage."""
    return {path[-1] for path in paths(lineage(view, of))}


def test_a_derived_feature_of_a_looked_up_attribute_is_traced_to_its_source() -> None:
    """Feature, its operand, the aggregation, the attribute, the tenant's column: in that order."""
    found = set(paths(lineage(FRESH, tenant())))
    operand = "fresh_count_30d"
    above = (
        "fresh, per user_id",
        f"fresh__share_30d = {operand} / count_30d",
        operand,
        'number of events in the last 30 days where item.category is "fruit"',
    )
    attribute = "attribute item.category, valid at the event and known when it arrived"
    assert (*above, attribute, "acme/products: aisle of sku, valid from 2024-01-01") in found
    assert (*above, attribute, "event column item_id", "acme/shop: sku") in found
    stream = "Order Completed where quantity ≥ 1"
    assert (*above, stream, "event column quantity", "acme/shop: pieces") in found
    assert (*above, stream, "event column user_id", "acme/shop: customer") in found


def test_without_a_tenant_lineage_ends_at_canonical_columns() -> None:
    """Every leaf is an event column or an attribute."""
    assert leaves(FRESH) == {
        "event column item_id",
        "event column quantity",
        "event column event",
        "event column user_id",
        "event column event_timestamp",
        "event column created_timestamp",
    }


def test_arrival_and_constants_are_told() -> None:
    """When a row became known, and an event's name that no column holds."""
    found = leaves(FRESH, tenant())
    assert "acme/shop: at + 1:00:00" in found
    assert "acme/shop: always Order Completed" in found


@pytest.mark.parametrize(
    ("view", "leaf"),
    [
        (library.get("basket_size"), "acme/shop: not mapped, so null"),
        (library.get("discount_share"), "acme/shop: rebate"),
        (
            FeatureView("a", USER, EventStream(("Product Viewed",)), (Aggregation("count"),)),
            "no source of acme delivers them",
        ),
        (
            FeatureView("a", ITEM, attributes=(AttributeLookup("item", "brand"),)),
            "no source of acme maps it, so it is null",
        ),
    ],
)
def test_what_a_tenant_does_not_deliver_is_told(view: FeatureView, leaf: str) -> None:
    """A missing column, event or attribute has a line of its own."""
    assert leaf in leaves(view, tenant())


def test_local_time_names_its_zone() -> None:
    """The tenant's, where it is one tenant's lineage."""
    hours = Aggregation("count", None, (DAY,), (at_least("local_hour", 18),), "evening")
    own = FeatureView("a", ITEM, EventStream(("Order Completed",)), (hours,))
    assert any("local_hour, in Europe/Vienna" in path for path in paths(lineage(own, tenant())))
    assert any("local_hour, in the tenant's time zone" in path for path in paths(lineage(own)))


def test_every_feature_of_the_library_has_words_and_a_lineage() -> None:
    """Each view is traced from all its features, and each of these means something."""
    for view in library.views().values():
        words = feature_words(view)
        assert list(words) == list(view.columns)
        assert all(words.values())
        traced = lineage(view, tenant())
        assert traced.made_of
        assert all(node.kind == "feature" and node.made_of for node in traced.made_of)
