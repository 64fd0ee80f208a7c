"""What a tenant's retention says is too old is forgotten, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.handoffs import Interval
from include.runtime.postgres import Postgres
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.storage.retention import Expired, expire_of
from include.tenants.config import Retention, TenantConfig

pytestmark = pytest.mark.integration
NOW = datetime(2024, 3, 1, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=31), NOW - timedelta(days=29)


def tenant(name: str, **more: object) -> TenantConfig:
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * *",
            "history_from": "2023-01-01",
            "use_cases": {"churn": None},
            "retention": {"events": "P30D", "predictions": "P30D"},
            "sources": [
                {
                    "name": "orders",
                    "connector": {"type": "file", "path": "x.csv", "format": "csv"},
                    "events": {
                        "event": "Order Completed",
                        "event_id": ["id"],
                        "event_timestamp": "at",
                        "user_id": "user",
                    },
                }
            ],
            **more,
        }
    )


def fill(one: TenantConfig, lake: Lake) -> None:
    """An old and a new event, prediction, quarantined row, features file and training spine."""
    for at in (OLD, NEW):
        row = {
            "tenant_id": one.id,
            "source": "orders",
            "event_id": str(at),
            "event": "Order Completed",
            "event_timestamp": at,
            "created_timestamp": at,
            "month": f"{at:%Y-%m}",
        }
        batches = pa.Table.from_pylist([row], schema=EVENTS).to_batches()
        interval = Interval(at, at + timedelta(hours=1))
        lake.replace_slice(one.ref, "events", "orders", interval, batches)
        lake.put(one.ref, f"features/churn/{at:%Y-%m-%dT%H%M%S}.parquet", b"x")
        lake.put(one.ref, f"spines/{at:%Y-%m-%dT%H%M%S}-{'ab' * 32}.parquet", b"x")
        with tenant_transaction(one.ref) as connection:
            for table in ("predictions", "shadow_predictions"):
                connection.execute(
                    f"INSERT INTO {table} (tenant_id, use_case, as_of, entity_id, rank, score, "
                    "model_version, feature_fingerprint) "
                    "VALUES (%s, 'churn', %s, 'u', 1, 1, '1', '')",
                    [one.id, at],
                )
            connection.execute(
                "INSERT INTO quarantine (tenant_id, stage, source, interval_start, interval_end, "
                "row_number, reason, row) VALUES (%s, 'x', 'x', %s, %s, 1, 'x', '{}')",
                [one.id, at - timedelta(days=1), at],
            )


def expire(one: TenantConfig, at: datetime, lake: Lake) -> Expired:
    """What a run of the platform's retention does to a tenant."""
    over = one.history_until is not None and one.history_until < at
    return expire_of(one.ref, one.retention, at, lake, running=not over)


def left(one: TenantConfig, lake: Lake) -> tuple[list[datetime], int, int, int]:
    """What is still there."""
    with tenant_transaction(one.ref) as connection:
        counts = [
            len(connection.execute(f"SELECT 1 FROM {table}").fetchall())
            for table in ("predictions", "quarantine", "shadow_predictions")
        ]
    assert counts[2] == counts[0], "the shadow goes with the predictions"
    events = lake.read(one.ref, "events", columns=["event_timestamp"])["event_timestamp"]
    home = lake.file_path(one.ref, "")
    files = [path for name in ("features", "spines") for path in (home / name).rglob("*.parquet")]
    return events.to_pylist(), counts[0], counts[1], len(files)


def test_old_goes_new_stays_and_again_changes_nothing(platform: Postgres, tmp_path: Path) -> None:
    """Events, predictions, bad rows, feature files and spines all follow the same rule."""
    one, other, lake = tenant("keeps-a-month"), tenant("neighbour"), Lake(tmp_path)
    fill(one, lake)
    fill(other, lake)
    done = expire(one, NOW, lake)
    assert (done.events, done.predictions, done.quarantined, done.files) == (1, 1, 1, 2)
    assert left(one, lake) == ([NEW], 1, 1, 2)
    assert left(other, lake) == ([OLD, NEW], 2, 2, 4)
    version = lake.version(one.ref, "events")
    again = expire(one, NOW, lake)
    assert (again.events, again.predictions, again.quarantined, again.files) == (0, 0, 0, 0)
    assert lake.version(one.ref, "events") == version


def test_time_goes_on_after_a_contract(platform: Postgres, tmp_path: Path) -> None:
    """Retention counts back from today, whether or not the tenant's last day is over."""
    one, lake = tenant("long-gone", until="2024-02-01"), Lake(tmp_path)
    fill(one, lake)
    expire(one, NOW, lake)
    assert left(one, lake) == ([NEW], 1, 1, 2)
    expire(one, NOW + timedelta(days=365), lake)
    assert left(one, lake) == ([], 0, 0, 0)


@pytest.mark.parametrize("days", [36_525, 900_000, 999_999_999])
def test_no_duration_is_too_long_to_count_back(
    platform: Postgres, tmp_path: Path, days: int
) -> None:
    """What is kept longer than there are dates is kept."""
    one, lake = tenant(f"keeps-{days}"), Lake(tmp_path)
    for_ever = Retention.model_construct(
        events=timedelta(days=days), predictions=timedelta(days=days)
    )
    fill(one, lake)
    done = expire_of(one.ref, for_ever, NOW, lake, running=True)
    assert not done.anything
    assert left(one, lake) == ([OLD, NEW], 2, 2, 4)
