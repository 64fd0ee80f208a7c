"""One small tenant with invented orders, of the same kind every time."""

from __future__ import annotations

import csv
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

TENANT = """\
id: corner-shop
name: Corner Shop
region: eu
schedule: "0 0 * * 1"
history_from: {first}
until: {last}
sources:
  - name: orders
    connector: {{type: file, path: "{path}", format: csv}}
    events:
      event: Order Completed
      event_id: [order_id, line]
      event_timestamp: ordered_at
      user_id: customer
      item_id: sku
      group_id: order_id
      quantity: quantity
      amount: amount
use_cases:
  churn:
  recommendation:
"""

FIRST, LAST = date(2024, 1, 1), date(2024, 10, 6)


def write(folder: Path, tenants: Path, customers: int = 120, seed: int = 7) -> None:
    """Orders of customers, some of whom stop coming, and the tenant's file."""
    draw = random.Random(seed)
    path = folder / "orders.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["order_id", "line", "ordered_at", "customer", "sku", "quantity", "amount"])
        order = 0
        for customer in range(customers):
            at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=draw.uniform(0, 24 * 60))
            gone = at + timedelta(days=draw.choice([60, 120, 400]))
            pause = draw.uniform(6, 30)
            favourites = draw.sample(range(40), 5)
            while at < min(gone, datetime(2024, 10, 7, tzinfo=UTC)):
                order += 1
                for line in range(draw.randint(1, 3)):
                    sku = draw.choice(favourites) if draw.random() < 0.7 else draw.randrange(40)
                    price = round(1 + sku / 7 + draw.random(), 2)
                    moment = at.isoformat(timespec="seconds")
                    rows.writerow([order, line, moment, f"c{customer}", f"sku{sku}", 1, price])
                at += timedelta(days=draw.expovariate(1 / pause) + 0.1)
    tenants.mkdir(parents=True, exist_ok=True)
    text = TENANT.format(first=FIRST, last=LAST, path=path)
    (tenants / "corner-shop.yaml").write_text(text, encoding="utf-8")
