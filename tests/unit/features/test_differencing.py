"""A shared view before and after tenants come and go: no difference tells what a single one gave.

Every tenant sells the article as often as a power of two of its own, so that a count says exactly
who is in it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import IsolationError
from include.features import inputs
from include.features.declarations import ITEM, Aggregation, EventStream
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

DAY: Final = timedelta(days=1)
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF: Final = START + 7 * DAY
NAMES: Final = ("alder", "birch", "cedar", "dogwood", "elm", "fir", "gorse", "hazel")
CROWD: Final = FeatureView(
    "crowd",
    ITEM,
    EventStream(("Order Completed",)),
    (Aggregation("count", windows=(28 * DAY,)),),
    scope="shared",
)
SERVICE: Final = FeatureService("asked", (CROWD,))


def tenant(name: str, *, consent: bool = True) -> TenantConfig:
    """A tenant's file."""
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "pooling": {"consent": consent},
            "use_cases": {"churn": None},
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
        }
    )


def sold(name: str) -> int:
    """How often a tenant sells the article."""
    return 1 << NAMES.index(name)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Everybody's sales of the first day."""
    found = Lake(tmp_path)
    for name in NAMES:
        rows: list[dict[str, Any]] = [
            {
                **{"tenant_id": name, "source": "pos", "event": "Order Completed"},
                **{"event_id": str(number), "item_id": "tea", "month": "2024-01"},
                **{"event_timestamp": START, "created_timestamp": START},
            }
            for number in range(sold(name))
        ]
        batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
        found.replace_slice(
            tenant(name).ref, "events", "pos", Interval(START, START + DAY), batches
        )
    return found


def told(lake: Lake, asker: str, consenting: str) -> int | None:
    """What a tenant is told of the article while these consent, given by their first letters."""
    fleet = [tenant(name, consent=name[0] in consenting) for name in NAMES]
    me = next(one for one in fleet if one.id == asker)
    members = inputs.settled_members(inputs.pool_members(me, fleet), lake)
    pool = inputs.record_pool(members, SERVICE, lake)
    table = lake.version(me.ref, "events")
    read = inputs.read(
        me,
        SERVICE,
        events=table,
        attributes=lake.version(me.ref, "attributes"),
        known_at=AS_OF,
        lake=lake,
        pool=pool,
    )
    found = read.compute(SERVICE, Spine.at({"item_id": ["tea"]}, AS_OF))
    count: int | None = found["crowd__count_28d"].to_pylist()[0]
    return count


def names(count: int) -> set[str]:
    """Who is in a count."""
    return {name for name in NAMES if count & sold(name)}


@pytest.mark.parametrize(
    "steps",
    [
        ("abcdef", "abcdeg", "abcde", "abcdef"),
        ("abc", "abcd", "abcde", "abcdef", "abcdefg"),
        ("abcd", "bcd", "abcd"),
        ("abcdefgh", "bcdefgh", "abcdefgh", "abdefgh", "adefgh"),
        ("abcdefgh", "abcdef", "abcdeg", "abcdeh"),
        ("abcdef", "abcdefg", "abcdeg", "bcdefg", "abcdefg"),
        ("ab", "abc", "bc", "abc", "acd"),
        ("abcdefgh", "efgh", "abcd", "abefgh", "cdefgh"),
    ],
)
@pytest.mark.parametrize("asker", ["alder", "hazel"])
def test_no_difference_of_two_answers_leaves_fewer_than_two_others(
    asker: str, steps: tuple[str, ...], lake: Lake
) -> None:
    """Whoever joins, leaves or comes back, the one that asks among them; and nobody counts who does
    not consent at the time."""
    answers: list[set[str]] = []
    for consenting in steps:
        count = told(lake, asker, consenting)
        if count is None:
            continue
        assert {name[0] for name in names(count)} <= set(consenting)
        answers.append(names(count))
    assert answers
    for one in answers:
        assert len(one - {asker}) >= 2
    for one, other in combinations(answers, 2):
        assert one == other or len((one ^ other) - {asker}) >= 2


def test_whoever_did_not_consent_is_refused_before_anything_is_recorded(lake: Lake) -> None:
    """Its name would stand among the memberships."""
    with pytest.raises(IsolationError, match="elm did not consent"):
        inputs.settled_members([tenant("alder"), tenant("elm", consent=False)], lake)
    assert not list(lake.root.rglob("members/*"))
