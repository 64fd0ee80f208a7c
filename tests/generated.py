"""A small shop with invented orders, the same ones every time: enough for both use cases to train.

Customers come for a while with habits of their own and favourite items, and some stop coming.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

TENANT = """\
id: {shop.id}
name: Shop {shop.id}
region: {shop.region}
isolation: {shop.isolation}
timezone: UTC
schedule: "0 0 * * 1"
history_from: {shop.first}
until: {shop.last}
retention: {{events: P30000D, predictions: P30000D}}
pooling: {{consent: {consent}, across_regions: {across}}}
sources:
  - name: orders
    connector: {{type: file, path: "{folder}/orders.csv", format: csv}}
    events:
      event: Order Completed
      event_id: [order_id, line]
      event_timestamp: ordered_at
      user_id: customer
      item_id: sku
      group_id: order_id
      quantity: quantity
      amount: amount
      properties: {{discount: discount}}
  - name: products
    connector: {{type: file, path: "{folder}/products.csv", format: csv}}
    attributes:
      entity: item
      entity_id: sku
      valid_from: {shop.first}
      names: {{category: category}}
use_cases:
  churn:
  recommendation:
"""
ITEMS = 30
CATEGORIES = ("bread", "fruit", "dairy", "tea")
#: The amount of a spoiled row: no sane one, so that quality sets the row aside.
SPOILED_AMOUNT = 10.0**12


@dataclass(frozen=True)
class Shop:
    """What a generated tenant is like. Ids of customers, items and orders begin with its own."""

    id: str
    region: str = "eu"
    isolation: str = "pool"
    consent: bool = True
    across: bool = True  #: shares the global models of all regions
    customers: int = 300
    seed: int = 7
    first: date = date(2024, 1, 1)
    last: date = date(2024, 10, 6)
    dearer_from: date | None = None  #: from then on, everything costs six times as much
    silent_from: date | None = None  #: from then on, nothing is sent
    spoiled_from: date | None = None  #: from then on, every row has an impossible amount
    chain: str = ""  #: shops of one chain name items alike

    def sku(self, number: int) -> str:
        """The id of an item."""
        return f"{self.chain or self.id}-sku{number}"


def write(shop: Shop, folder: Path, tenants: Path) -> Path:
    """Write the shop's data into a folder of its own below `folder`, and its tenant file."""
    home = folder / shop.id
    home.mkdir(parents=True, exist_ok=True)
    tenants.mkdir(parents=True, exist_ok=True)
    orders = ["order_id", "line", "ordered_at", "customer", "sku", "quantity", "amount", "discount"]
    _write(home / "orders.csv", orders, _orders(shop))
    _write(home / "products.csv", ["sku", "category"], _products(shop))
    consent = "true" if shop.consent else "false"
    file = tenants / f"{shop.id}.yaml"
    across = "true" if shop.across else "false"
    text = TENANT.format(shop=shop, folder=home, consent=consent, across=across)
    file.write_text(text, encoding="utf-8")
    return file


def _write(path: Path, header: list[str], rows: Iterator[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        content = csv.writer(file, lineterminator="\n")
        content.writerow(header)
        content.writerows(rows)


def _products(shop: Shop) -> Iterator[list[object]]:
    for number in range(ITEMS):
        yield [shop.sku(number), CATEGORIES[number % len(CATEGORIES)]]


def _orders(shop: Shop) -> Iterator[list[object]]:
    draw = random.Random(shop.seed)
    opened, closed = _midnight(shop.first), _midnight(shop.last) + timedelta(days=1)
    order = 0
    for customer in range(shop.customers):
        # As many come as go, so that nothing but what a shop is told to do changes over time.
        at = opened + timedelta(days=max(0.0, draw.uniform(-180, 260)) + draw.uniform(0, 14))
        gone = at + timedelta(days=draw.uniform(20, 240))
        pause = draw.choice([2.0, 4.0, 8.0, 16.0, 24.0])
        favourites = draw.sample(range(ITEMS), 5)
        while at < min(gone, closed):
            order += 1
            for line in range(draw.randint(1, 3)):
                item = draw.choice(favourites) if draw.random() < 0.7 else draw.randrange(ITEMS)
                price = round(1 + item / 7 + draw.random(), 2)
                discount = round(price * draw.choice([0, 0, 0.1]), 2)
                if not _reached(shop.silent_from, at):
                    yield [
                        f"{shop.id}-o{order}",
                        line,
                        at.isoformat(timespec="seconds"),
                        f"{shop.id}-c{customer}",
                        shop.sku(item),
                        1,
                        _amount(shop, at, price),
                        discount,
                    ]
            at += timedelta(days=draw.expovariate(1 / pause) + 0.1)


def _amount(shop: Shop, at: datetime, price: float) -> float:
    if _reached(shop.spoiled_from, at):
        return SPOILED_AMOUNT
    return round(price * 6, 2) if _reached(shop.dearer_from, at) else price


def _reached(day: date | None, at: datetime) -> bool:
    return day is not None and at >= _midnight(day)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
