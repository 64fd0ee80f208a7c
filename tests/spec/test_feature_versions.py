"""Corrected events: whatever is declared and corrected, an instant sees one version of each."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_feature_engines import (
    DAY,
    SERVICES,
    ZONES,
    assert_agree,
    events,
    facts,
    spine_of,
    spine_rows,
    table,
)

from include.features import in_memory, vectorized
from include.features.spine import Spine
from include.features.vectorized import history
from include.features.views import FeatureService
from include.storage.canonical import ATTRIBUTES, EVENTS, REPLACED, TIMESTAMP
from include.storage.versions import counting

versions = st.lists(st.tuples(st.sampled_from("abcdef"), events), max_size=20)


def versioned(rows: list[tuple[str, dict[str, Any]]]) -> pa.Table:
    """Rows of one id as versions, by when they became known; of one instant, the first."""
    chains: dict[str, dict[datetime, dict[str, Any]]] = {}
    for event_id, row in rows:
        created = row["event_timestamp"] + row["delay"]
        named = row | {"event_id": event_id, "created_timestamp": created}
        chains.setdefault(event_id, {}).setdefault(created, named)
    told: list[dict[str, Any]] = []
    for chain in chains.values():
        ordered = [chain[created] for created in sorted(chain)]
        told += [one | {REPLACED: after["created_timestamp"]} for one, after in pairwise(ordered)]
        told += ordered[-1:]
    plain = [{name: value for name, value in row.items() if name != "delay"} for row in told]
    return table(plain, EVENTS.append(pa.field(REPLACED, TIMESTAMP)))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    service=st.sampled_from(SERVICES),
    rows=versions,
    known=st.lists(facts, max_size=8),
    spine=st.lists(spine_rows, max_size=8),
    zone=st.sampled_from(ZONES),
    block=st.sampled_from([1, 7, 1 << 17]),
)
def test_engines_agree_on_versions(
    service: FeatureService,
    rows: list[tuple[str, dict[str, Any]]],
    known: list[dict[str, Any]],
    spine: list[tuple[str | None, str | None, datetime]],
    zone: str,
    block: int,
) -> None:
    """The fast engine answers as the reference does, and both as if the events that count at an
    instant were all there are."""
    given_, told = spine_of(spine), versioned(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "_BLOCK", block)
        assert_agree(service, 1e6, given_, told, table(known, ATTRIBUTES), zone)
    for row, at in enumerate(given_.table["as_of"].to_pylist()):
        alone = Spine(given_.table.slice(row, 1))
        plain = told.filter(counting(told, at)).select(EVENTS.names)
        for engine in (in_memory, vectorized):
            one, other = (
                engine.compute(service, alone, of, table(known, ATTRIBUTES), zone)
                for of in (told, plain)
            )
            assert str(one.to_pylist()) == str(other.to_pylist())


def test_entities_without_corrections_stay_one() -> None:
    """What was corrected of one entity makes no more work for another."""
    at = datetime.fromisoformat("2024-03-08T00:00:00+00:00")
    rows = [
        ("a", {"user_id": "ann", "event_timestamp": at, "delay": day * DAY}) for day in range(4)
    ]
    rows += [
        (f"b{day}", {"user_id": "bob", "event_timestamp": at, "delay": DAY}) for day in range(9)
    ]
    told = versioned([(one, {"event": "Order Completed"} | row) for one, row in rows])
    asked = spine_of([(user, None, at + day * DAY) for user in ("ann", "bob") for day in (1, 2, 9)])
    service = FeatureService("user", SERVICES[0].views[:1])
    seen: list[int] = []

    class Counted(history.EventHistory):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            seen.append(len(self.rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "EventHistory", Counted)
        vectorized.compute(service, asked, told, ATTRIBUTES.empty_table(), "UTC")
    assert sum(seen) == 3 + 9  # a version of Ann's order for each instant, and Bob's orders once
