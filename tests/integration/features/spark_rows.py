"""A few hundred invented events and facts with everything that can go wrong, and views of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from include.features.conditions import at_least, below, equals, missing
from include.features.declarations import (
    ACCOUNT,
    ALL_HISTORY,
    ITEM,
    TENANT,
    USER,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.expressions import Constant, Difference, Feature, Log1p, Ratio
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY
ORDERS = EventStream(
    ("Order Completed", "Order Returned"),
    (at_least("local_hour", 3), below("amount", 900)),
    (
        AttributeLookup("item", "Tier"),
        AttributeLookup("item", "tier"),
        AttributeLookup("user", "age"),
    ),
)
SEEN = EventStream(("Product Viewed",))

OF_USERS = FeatureView(
    "users",
    USER,
    ORDERS,
    (
        Aggregation("count", windows=(timedelta(hours=12), WEEK, ALL_HISTORY)),
        Aggregation("count", None, (WEEK,), (equals("item.tier", "gold"),), "gold"),
        Aggregation("count", None, (WEEK,), (missing("item.Tier"),), "tierless"),
        Aggregation("sum", "amount", (DAY, WEEK, ALL_HISTORY)),
        Aggregation("mean", "user.age", (WEEK,)),
        Aggregation("min", "amount", (WEEK,)),
        Aggregation("max", "properties.score", (WEEK,)),
        Aggregation("std", "quantity", (WEEK,)),
        Aggregation("first", "item.Tier"),
        Aggregation("last", "amount"),
        Aggregation("distinct_count", "item_id", (WEEK,)),
        Aggregation("time_since_last"),
        Aggregation("time_since_first"),
        Aggregation("days_active", windows=(WEEK,)),
        Aggregation("entropy", "item.tier", (WEEK,)),
        Aggregation("trend", "amount", (WEEK,)),
    ),
    derived=(
        Derived("price", Ratio(Feature("sum_amount_7d"), Feature("count_7d"))),
        Derived("tame", Log1p(Difference(Feature("sum_amount_all"), Constant(1)))),
    ),
    attributes=(AttributeLookup("user", "age", "number"),),
)
OF_ITEMS = FeatureView("items", ITEM, SEEN, (Aggregation("trend", windows=(WEEK,)),))
OF_PAIRS = FeatureView(
    "pairs",
    USER_ITEM,
    SEEN,
    (Aggregation("count"), Aggregation("last", "properties.score")),
    attributes=(AttributeLookup("user", "age"), AttributeLookup("item", "Tier")),
)
OF_ALL = FeatureView("whole", TENANT, SEEN, (Aggregation("count", windows=(DAY, ALL_HISTORY)),))
OF_ACCOUNTS = FeatureView("accounts", ACCOUNT, attributes=(AttributeLookup("account", "plan"),))
EVERYTHING = FeatureService("everything", (OF_USERS, OF_ITEMS, OF_PAIRS, OF_ALL, OF_ACCOUNTS))


def events(seed: int, rows: int, tenant: str = "acme") -> pa.Table:
    """Events of three weeks: ties, late ones, null keys and values, extreme amounts."""
    chance = random.Random(seed)
    found = []
    for number in range(rows):
        at = START + timedelta(hours=chance.randrange(21 * 24))
        created = at + timedelta(hours=chance.choice((0, 0, 0, 1, 30, 200)))
        if number == 0:
            at = created = datetime(1, 1, 1, 12, tzinfo=UTC)
        found.append(
            {
                "tenant_id": tenant,
                "source": chance.choice(("shop", "web")),
                "event_id": f"e{number}",
                "event": chance.choice(
                    ("Order Completed", "Order Returned", "Product Viewed", "x")
                ),
                "user_id": chance.choice((*(f"u{n}" for n in range(7)), None)),
                "account_id": chance.choice(("a0", "a1", None)),
                "item_id": chance.choice((*(f"i{n}" for n in range(9)), None)),
                "group_id": None,
                "quantity": float(chance.randrange(5)),
                "amount": chance.choice((1.1, 2.5, 1e16, -1e16, 3e-7, float("nan"), 0.1, None)),
                "properties": chance.choice(
                    ('{"score": 1.5, "word": "a"}', '{"score": "7"}', "{", None, '{"word": "ä"}')
                ),
                "event_timestamp": at,
                "created_timestamp": created,
                "month": f"{created:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(found, schema=EVENTS)


def attributes(seed: int, rows: int, tenant: str = "acme") -> pa.Table:
    """Facts of the same weeks, with names that differ in case only, ties, late ones and nulls."""
    chance = random.Random(seed)
    found = []
    for number in range(rows):
        at = START + chance.randrange(21) * DAY
        kind = chance.choice(("user", "item", "item", "account"))
        created = at + chance.choice((0, 0, 3)) * DAY
        found.append(
            {
                "tenant_id": tenant,
                "source": chance.choice(("shop", "web")),
                "event_id": f"f{number}",
                "entity": kind,
                "entity_id": f"{kind[0]}{chance.randrange(9)}",
                "name": {"user": "age", "account": "plan"}.get(kind)
                or chance.choice(("Tier", "tier")),
                "value": chance.choice(("gold", "silver", "tin", "41", "7.5", None)),
                "valid_from": at,
                "created_timestamp": created,
                "month": f"{created:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(found, schema=ATTRIBUTES)


def spine(seed: int, rows: int) -> Spine:
    """Entities known and unknown, null keys, repeated rows, instants on and between events."""
    chance = random.Random(seed)
    keys = {
        "user_id": [chance.choice((*(f"u{n}" for n in range(9)), None)) for _ in range(rows)],
        "item_id": [chance.choice((*(f"i{n}" for n in range(10)), None)) for _ in range(rows)],
        "account_id": [chance.choice(("a0", "a1", "a2", None)) for _ in range(rows)],
    }
    as_of = [START + timedelta(hours=12 * chance.randrange(45)) for _ in range(rows)]
    columns = {name: pa.array(values, pa.string()) for name, values in keys.items()}
    table = pa.table(columns | {"as_of": pa.array(as_of, TIMESTAMP)})
    return Spine(pa.concat_tables([table, table.slice(0, rows // 4)]))
