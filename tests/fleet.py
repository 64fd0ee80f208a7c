"""Fleets of generated tenants, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path

TENANT = """\
id: {id}
name: Tenant {number}
region: {region}
schedule: "{minute} {hour} * * *"
timezone: {timezone}
history_from: 2024-01-01
pooling: {{consent: {consent}}}
isolation: {isolation}
sources:
  - name: orders
    connector: {{type: file, path: orders/{number}.parquet, format: parquet}}
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
    connector: {{type: file, path: products/{number}.parquet, format: parquet}}
    attributes:
      entity: item
      entity_id: sku
      valid_from: 2024-01-01
      names: {{category: category}}
use_cases:
  churn:
  recommendation:
"""

REGIONS = ("eu", "us")
TIMEZONES = ("UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata")


def tenant_id(number: int) -> str:
    """Id of the numbered tenant."""
    return f"tenant-{number:04d}"


def tenant_yaml(number: int) -> str:
    """The file of one tenant; neighbours differ in region, time zone, schedule and consent."""
    return TENANT.format(
        id=tenant_id(number),
        number=number,
        region=REGIONS[number % len(REGIONS)],
        timezone=TIMEZONES[number % len(TIMEZONES)],
        minute=number % 60,
        hour=number % 24,
        consent="true" if number % 3 else "false",
        isolation="pool" if number % 10 else "silo",
    )


def write_fleet(folder: Path, tenants: int) -> Path:
    """Write that many tenant files into the folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(tenants):
        (folder / f"{tenant_id(number)}.yaml").write_text(tenant_yaml(number), encoding="utf-8")
    return folder
