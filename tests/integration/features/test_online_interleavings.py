"""Offline at an instant equals online at it, by whatever way and in whatever order rows came."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.features import in_memory
from include.features.services import CHURN_FEATURES, RECOMMENDATION_FEATURES
from include.features.spine import Spine
from include.features.views import FeatureService
from include.runtime.postgres import Postgres
from include.stores.memory.online import InMemoryOnlineStore

sys.path.insert(0, str(Path(__file__).parents[2] / "spec"))
import online_engine
import test_feature_engines as generated

pytestmark = pytest.mark.integration
#: Functions of numbers that are one of them.
EXACT = ("_min_", "_max_", "_first_", "_last_")


def assert_agree(found: pa.Table, wanted: pa.Table) -> None:
    """Equal to the bit, but for rounding in sums and in what is calculated."""
    assert found.schema.equals(wanted.schema, check_metadata=True)
    for name in wanted.column_names:
        left, right = found[name].to_pylist(), wanted[name].to_pylist()
        if pa.types.is_floating(wanted[name].type) and not any(f in name for f in EXACT):
            left = [
                b if a is not None and b is not None and close(a, b) else a
                for a, b in zip(left, right, strict=True)
            ]
        assert left == right, name


def close(one: float, other: float) -> bool:
    """Within the rounding that sums and derived features may show."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    service=st.sampled_from(generated.SERVICES),
    rows=st.lists(generated.events, max_size=25),
    known=st.lists(generated.facts, max_size=8),
    spine=st.lists(generated.spine_rows, min_size=1, max_size=6),
    zone=st.sampled_from(generated.ZONES),
    seed=st.integers(0, 1 << 16),
)
def test_online_equals_offline(
    database: Postgres,
    service: FeatureService,
    rows: list[dict[str, Any]],
    known: list[dict[str, Any]],
    spine: list[Any],
    zone: str,
    seed: int,
) -> None:
    """Every function, with ties, late and announced events, late facts, nulls and restatements."""
    inputs = (
        generated.spine_of(spine),
        generated.table(rows, generated.EVENTS),
        generated.table(known, generated.ATTRIBUTES),
        zone,
    )
    wanted = in_memory.compute(service, *inputs)
    for online in (None, InMemoryOnlineStore()):
        found = online_engine.compute(service, *inputs, seed=seed, online=online)
        assert_agree(found, wanted)


@pytest.mark.parametrize("service", [CHURN_FEATURES, RECOMMENDATION_FEATURES], ids=lambda s: s.name)
def test_the_catalogue_online(database: Postgres, service: FeatureService) -> None:
    """The services that ship mean the same online, over months with many batches."""
    spine = Spine(generated.shop_spine().table.select([*service.join_keys, "as_of"]))
    inputs = (spine, *generated.shop(6), "Europe/Vienna")
    found = online_engine.compute(service, *inputs, seed=6)
    assert_agree(found, in_memory.compute(service, *inputs))
