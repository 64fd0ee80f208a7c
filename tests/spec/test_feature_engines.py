"""The fast engine agrees with the reference on whatever can be declared and whatever arrives."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.features import in_memory, vectorized
from include.features.conditions import (
    Condition,
    at_least,
    between,
    equals,
    missing,
    none_of,
    one_of,
)
from include.features.declarations import (
    ALL_HISTORY,
    FUNCTIONS,
    ITEM,
    TENANT,
    USER,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
    Entity,
    EventStream,
)
from include.features.expressions import Difference, Feature, Log1p, Ratio
from include.features.services import CHURN_FEATURES, RECOMMENDATION_FEATURES
from include.features.spine import Spine
from include.features.vectorized import cells
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP

START = datetime(2024, 3, 8, tzinfo=UTC)  # two days before the clocks change in New York
ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]
DAY = timedelta(days=1)

#: Few distinct instants, so that ties and window edges are common.
instants = st.integers(0, 24).map(lambda quarter: START + quarter * timedelta(hours=6))
numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 0.1, 5.0]),
    st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
)
documents = st.sampled_from(
    [None, "", "{", "[1]", "{}", '{"d": 2.5}', '{"d": "7"}', '{"d": NaN}', '{"d": "x"}']
)


def keys(*names: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([*names, None])


events = st.builds(
    dict,
    event=st.sampled_from(["Order Completed", "Order Completed", "Product Viewed"]),
    user_id=keys("ann", "bob", "cat"),
    item_id=keys("tea", "ale"),
    group_id=keys("b1", "b2", "b3"),
    quantity=numbers,
    amount=numbers,
    properties=documents,
    event_timestamp=instants,
    delay=st.sampled_from([timedelta(0), timedelta(hours=6), 3 * DAY, -DAY]),
)
facts = st.builds(
    dict,
    entity=st.sampled_from(["item", "user"]),
    entity_id=st.sampled_from(["tea", "ale", "ann"]),
    name=st.sampled_from(["category", "grade"]),
    value=st.sampled_from([None, "drinks", "3", "nan", ""]),
    valid_from=instants,
    created_timestamp=instants,
)
spine_rows = st.tuples(keys("ann", "bob", "eve"), keys("tea", "ink"), instants)

WINDOWS = (timedelta(hours=6), 2 * DAY, ALL_HISTORY)
VALUES = {
    "number": ("amount", "properties.d", "item.category"),
    "text": ("item_id", "properties.d", "item.category", "user.grade"),
    "any": ("amount", "group_id", "properties.d", "item.category"),
    None: (None,),
}

AGGREGATIONS = (
    *(
        Aggregation(function, value, WINDOWS, where, label)
        for function, reading in FUNCTIONS.items()
        if function != "trend"
        for value in VALUES[reading]
        for where, label in [((), ""), ((at_least("local_hour", 12),), "late")]
    ),
    Aggregation("trend", None, WINDOWS[:2]),
    Aggregation("trend", "amount", WINDOWS[:2]),
)
DERIVED = (
    Derived("ratio", Ratio(Feature("sum_amount_2d"), Feature("count_2d"))),
    Derived("log", Log1p(Difference(Feature("max_amount_all"), Feature("min_amount_2d")))),
)
CONDITIONS = [
    (),
    (one_of("item.category", "drinks", "3"),),
    (between("amount", 0, 6), equals("local_weekday", 6)),
    (equals("properties.d", "x"),),
    (missing("item.category"), none_of("amount", 5)),
]
LOOKUPS = (AttributeLookup("item", "category"), AttributeLookup("user", "grade"))
#: Attributes of whom a view is about.
FEATURES = {
    USER: (AttributeLookup("user", "grade"), AttributeLookup("user", "category", "number")),
    ITEM: (AttributeLookup("item", "category"), AttributeLookup("item", "grade", "number")),
    USER_ITEM: (AttributeLookup("item", "category", "number"), AttributeLookup("user", "grade")),
    TENANT: (),
}


def view_of(number: int, entity: Entity, where: tuple[Condition, ...]) -> FeatureView:
    stream = EventStream(("Order Completed",), where, LOOKUPS)
    name = f"{entity.name}_{number}"
    return FeatureView(name, entity, stream, AGGREGATIONS, DERIVED, attributes=FEATURES[entity])


SERVICES = [
    FeatureService("everything", tuple(view_of(number, entity, where) for entity in entities))
    for entities in ((USER, ITEM), (USER_ITEM, TENANT))
    for number, where in enumerate(CONDITIONS)
]


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    filled = []
    for number, row in enumerate(rows):
        created = row["event_timestamp"] + row["delay"] if "delay" in row else None
        defaults = {"tenant_id": "acme", "source": "s", "event_id": f"e{number}", "month": "-"}
        filled.append(defaults | {"created_timestamp": created} | row)
    return pa.Table.from_pylist(filled, schema=schema)


def spine_of(rows: list[tuple[str | None, str | None, datetime]]) -> Spine:
    users, items, as_of = zip(*rows, strict=True) if rows else ((), (), ())
    return Spine(
        pa.table(
            {
                "user_id": pa.array(users, pa.string()),
                "item_id": pa.array(items, pa.string()),
                "as_of": pa.array(as_of, TIMESTAMP),
            }
        )
    )


def close(a: float, b: float, size: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12 * size)


def assert_agree(service: FeatureService, size: float, *inputs: Any) -> None:
    """Equal to the bit, but for rounding in what sums up amounts of up to `size`."""
    fast = vectorized.compute(service, *inputs)
    reference = in_memory.compute(service, *inputs)
    assert fast.schema.equals(reference.schema, check_metadata=True)
    exact = {
        view.column(aggregation.feature(window))
        for view in service.views
        for aggregation in view.aggregations
        for window in aggregation.windows
        if aggregation.function not in ("sum", "mean", "std", "entropy", "trend")
    }
    rounded = {
        name
        for name in service.columns
        if name not in exact and pa.types.is_floating(fast.schema.field(name).type)
    }
    for name in fast.column_names:
        left, right = fast[name].to_pylist(), reference[name].to_pylist()
        if name in rounded:
            left = [
                b if a is not None and b is not None and close(a, b, size) else a
                for a, b in zip(left, right, strict=True)
            ]
        assert left == right, name


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    service=st.sampled_from(SERVICES),
    rows=st.lists(events, max_size=25),
    known=st.lists(facts, max_size=8),
    spine=st.lists(spine_rows, max_size=8),
    zone=st.sampled_from(ZONES),
    chunk=st.sampled_from([1, 7, 1_000_000]),
)
def test_engines_agree(
    service: FeatureService,
    rows: list[dict[str, Any]],
    known: list[dict[str, Any]],
    spine: list[tuple[str | None, str | None, datetime]],
    zone: str,
    chunk: int,
) -> None:
    """Both engines answer alike with ties, late events, nulls, NaN, infinities and nothing."""
    inputs = (spine_of(spine), table(rows, EVENTS), table(known, ATTRIBUTES), zone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_PAIRS_PER_CHUNK", chunk)
        assert_agree(service, 1e6, *inputs)


def shop(seed: int, lines: int = 600) -> tuple[pa.Table, pa.Table]:
    """A small shop's order lines and categories."""
    rng = random.Random(seed)
    rows = []
    for number in range(lines):
        at = START + timedelta(minutes=30 * rng.randrange(48 * 120))
        rows.append(
            {
                "event": "Order Completed",
                "user_id": f"u{rng.randrange(20)}",
                "item_id": f"i{rng.randrange(15)}",
                "group_id": f"b{number // 3}",
                "quantity": float(rng.randrange(1, 4)),
                "amount": rng.choice([0.1, 0.2, 1 / 3, 7.77]),
                "properties": f'{{"discount": {rng.randrange(3)}}}',
                "event_timestamp": at,
                "created_timestamp": at + timedelta(hours=rng.choice([0, 1, 50])),
            }
        )
    categories = [
        {
            "entity": "item",
            "entity_id": f"i{n}",
            "name": "category",
            "value": f"c{n % 4}",
            "valid_from": START - DAY,
            "created_timestamp": START - DAY,
        }
        for n in range(15)
    ]
    return table(rows, EVENTS), table(categories, ATTRIBUTES)


def shop_spine() -> Spine:
    instants = [START + DAY * n for n in (40, 95, 130)]
    return spine_of([(f"u{u}", f"i{u % 17}", at) for at in instants for u in range(22)])


def to_bytes(result: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, result.schema) as writer:
        writer.write_table(result)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("service", [CHURN_FEATURES, RECOMMENDATION_FEATURES], ids=lambda s: s.name)
def test_engines_agree_on_the_catalogue(service: FeatureService) -> None:
    """The services that ship mean the same on both engines."""
    spine = Spine(shop_spine().table.select([*service.join_keys, "as_of"]))
    assert_agree(service, 1.0, spine, *shop(1), "Europe/Vienna")


def test_shuffled_events_give_the_same_bytes() -> None:
    """The fast engine's bytes depend on neither the run nor the order of its inputs."""
    rows, known = shop(2)
    order = list(range(len(rows)))
    random.Random(3).shuffle(order)
    service, spine = RECOMMENDATION_FEATURES, shop_spine()
    first = vectorized.compute(service, spine, rows, known, "Europe/Vienna")
    again = vectorized.compute(service, spine, rows, known, "Europe/Vienna")
    shuffled = vectorized.compute(
        service, spine, rows.take(order), known.take(list(range(len(known)))[::-1]), "Europe/Vienna"
    )
    assert to_bytes(first) == to_bytes(again) == to_bytes(shuffled)


def test_value_depends_on_no_other_row() -> None:
    """A row asked alone, over its own entity's events only, gets the very same floats."""
    rows, known = shop(4)
    service = FeatureService("spend", (CHURN_FEATURES.views[2], CHURN_FEATURES.views[4]))
    spine = Spine.at({"user_id": [f"u{n}" for n in range(20)]}, START + 100 * DAY)
    together = vectorized.compute(service, spine, rows, known, "UTC")
    own = rows.filter(pa.compute.equal(rows["user_id"], "u7"))
    alone = vectorized.compute(
        service, Spine.at({"user_id": ["u7"]}, START + 100 * DAY), own, known, "UTC"
    )
    assert together.slice(7, 1).to_pylist() == alone.to_pylist()
