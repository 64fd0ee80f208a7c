"""Whose tables are kept up on which night, and which versions of them have a name."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import IntegrityError
from include.handoffs import TableVersion, table_versions
from include.pipeline.upkeep import is_due, named_versions
from include.storage.lake import Lake
from include.stores.memory.stage_runs import InMemoryStageRuns
from include.tenants.namespace import TenantRef

A = TenantRef("tenant-a", "eu", "pool")


@given(
    tenant=st.from_regex(r"[a-z][a-z0-9-]{1,40}", fullmatch=True),
    day=st.integers(0, 40_000),
)
def test_each_tenant_has_one_turn_in_four_weeks(tenant: str, day: int) -> None:
    """Whatever the day they begin at."""
    start = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=day)
    assert sum(is_due(tenant, start + timedelta(days=n)) for n in range(28)) == 1


def test_the_fleet_is_spread_over_the_nights() -> None:
    """No night has three times its share of a thousand tenants."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    nights = [start + timedelta(days=day) for day in range(28)]
    due = [sum(is_due(f"tenant-{n:04d}", night) for n in range(1000)) for night in nights]
    assert sum(due) == 1000
    assert max(due) < 3 * 1000 / 28


def test_cards_and_evaluations_name_versions(tmp_path: Path) -> None:
    """Its own and other tenants', at whatever depth; other files of models are not looked into."""
    lake = Lake(tmp_path)

    def version(tenant: str, number: int) -> dict[str, object]:
        return asdict(TableVersion(tenant, "events", number, 10, "ab"))

    card = {"lineage": {"tables": [version("tenant-a", 3), version("tenant-b", 4)]}}
    recipe = {"training_sets": [{"recipe": {"events": version("tenant-a", 5)}}]}
    lake.put(A, "models/churn/abc/card.json", json.dumps(card).encode())
    lake.put(A, "models/churn/abc/model.json", b"no JSON at all")
    lake.put(A, "training/churn/2024/evaluation.json", json.dumps(recipe).encode())
    assert named_versions(A, lake, InMemoryStageRuns()) == {
        ("tenant-a", "events", 3),
        ("tenant-b", "events", 4),
        ("tenant-a", "events", 5),
    }


@pytest.mark.parametrize("path", ["models/churn/abc/card.json", "training/churn/x/judged.json"])
def test_a_record_that_cannot_be_read_names_nobody_knows_what(tmp_path: Path, path: str) -> None:
    """So nothing is deleted; the error says which file, and nothing that is in it."""
    lake = Lake(tmp_path)
    lake.put(A, path, b'{"secret": ')
    with pytest.raises(IntegrityError, match=path) as told:
        named_versions(A, lake, InMemoryStageRuns())
    assert "secret" not in str(told.value)


def test_what_only_looks_like_a_version_is_none() -> None:
    """Neither a text nor a mapping with some of the keys."""
    assert table_versions({"tenant": "a", "table": "events", "version": 1}) == set()
    assert table_versions(["tenant", {"table": None}, 3, None]) == set()
