"""A malformed declaration says what is wrong, where, and which names are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from include.errors import ConfigError, IsolationError, UnknownNameError
from include.features import in_memory, vectorized
from include.features.conditions import Condition, at_least, below, between, equals, none_of, one_of
from include.features.declarations import (
    ALL_HISTORY,
    USER,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
    Entity,
    EventStream,
)
from include.features.engine import required_columns
from include.features.expressions import (
    Constant,
    Difference,
    Expression,
    Feature,
    Log1p,
    OnlyIf,
    Ratio,
)
from include.features.library.users import SPEND
from include.features.services import CHURN_FEATURES, RECOMMENDATION_FEATURES
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP

DAY = timedelta(days=1)
ORDERS = EventStream(("Order Completed",))
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def view(*aggregations: Aggregation, name: str = "v", **fields: object) -> FeatureView:
    return FeatureView(name, USER, ORDERS, aggregations, **fields)  # type: ignore[arg-type]


def nested(depth: int) -> Expression:
    """As many expressions inside one another."""
    expression: Expression = Feature("count_all")
    for _ in range(depth - 1):
        expression = Log1p(expression)
    return expression


def doubled(times: int) -> Expression:
    """Two of the same in each other, which are few objects and many operands."""
    expression: Expression = Feature("count_all")
    for _ in range(times):
        expression = Difference(expression, expression)
    return expression


SHORT = EventStream(("Order Completed",), retention=30 * DAY)
MALFORMED: list[tuple[Callable[[], object], str]] = [
    (lambda: Entity("user", ("userid",)), "unknown join key 'userid' in Entity 'user'; known: acc"),
    (lambda: Entity("user", ("user_id", "user_id")), "repeats a join key"),
    (lambda: Entity("User", ("user_id",)), "'User' must be lower_snake_case"),
    (lambda: AttributeLookup("shop", "size"), "unknown entity kind 'shop'.* known: account, item"),
    (lambda: AttributeLookup("item", "a b"), "unknown column 'item.a b'"),
    (lambda: EventStream("Order Completed"), "tuple of event names"),  # type: ignore[arg-type]
    (lambda: EventStream(()), "tuple of event names"),
    (
        lambda: EventStream(
            ("x",), (equals("item.kind", "a"),), (AttributeLookup("item", "size"),)
        ),
        "unknown looked-up attribute 'item.kind' in EventStream.where; known: item.size",
    ),
    (lambda: Aggregation("median", "amount"), "unknown function 'median'.* known: count, "),  # type: ignore[arg-type]
    (lambda: Aggregation("count", "amount"), "'count' counts events and takes no value"),
    (lambda: Aggregation("sum"), "'sum' needs a value"),
    (lambda: Aggregation("sum", "item_id"), "'sum' reads a number, and 'item_id' is a text"),
    (lambda: Aggregation("entropy", "amount"), "'entropy' reads a text, and 'amount' is a number"),
    (lambda: Aggregation("sum", "price"), "unknown column 'price' in .*known: account.NAME"),
    (lambda: Aggregation("last", "properties."), "unknown column 'properties.'"),
    (lambda: Aggregation("count", windows=()), "tuple of at least one timedelta"),
    (lambda: Aggregation("count", windows=(DAY, DAY)), "repeats a window"),
    (lambda: Aggregation("count", windows=(-DAY,)), "longer than zero"),
    (lambda: Aggregation("count", windows=(40_000 * DAY,)), "use ALL_HISTORY"),
    (lambda: Aggregation("count", windows=(DAY / 7e9,)), "whole number of seconds"),
    (lambda: Aggregation("count", where=(below("amount", 1),)), "`where` and `label`"),
    (lambda: Aggregation("count", label="cheap"), "`where` and `label`"),
    (lambda: one_of("amount"), "needs at least one value"),
    (lambda: one_of("amount", 1, "2"), "mixes numbers and texts"),
    (lambda: equals("amount", float("nan")), "finite numbers, got nan"),
    (lambda: equals("amount", True), "finite numbers, got True"),
    (lambda: equals("item_id", 3), "reads a number, and 'item_id' is a text column"),
    (lambda: at_least("item_id", "a"), "compares numbers, got the text 'a'"),  # type: ignore[arg-type]
    (lambda: between("amount", 2, 2), "is empty: 2.0 is not below 2.0"),
    (lambda: Condition("amount", "like", (1,)), "unknown operator 'like'"),  # type: ignore[arg-type]
    (lambda: Condition("amount", "below", (1, 2)), "needs 1 value"),
    (lambda: Constant(float("inf")), "finite number, got inf"),
    (lambda: Derived("d", Constant(1)), "Derived 'd' reads no feature"),
    (lambda: Derived("d", "a / b"), "'a / b' is no expression; known: Constant"),  # type: ignore[arg-type]
    (lambda: Derived("d", nested(51)), "Derived 'd' is too large: it may nest 50 expressions"),
    (lambda: Derived("d", nested(100_000)), "let an aggregation do part of it"),
    (lambda: Derived("d", doubled(10)), "and have 1,000 in all, each counted wherever"),
    (lambda: Derived("d", doubled(49)), "and have 1,000 in all, each counted wherever"),
    (lambda: view(), "FeatureView 'v' declares no feature"),
    (lambda: view(Aggregation("count"), name="my__view"), "'my__view' must be lower_snake_case"),
    (
        lambda: view(Aggregation("count"), Aggregation("count")),
        "FeatureView 'v' declares twice: count_all",
    ),
    (
        lambda: view(Aggregation("last", "item.size")),
        "unknown looked-up attribute 'item.size' in FeatureView 'v'; known: none",
    ),
    (
        lambda: view(Aggregation("count"), derived=(Derived("d", Feature("count_7d")),)),
        "unknown feature 'count_7d' in Derived 'd' of FeatureView 'v'; known: count_all",
    ),
    (
        lambda: view(
            Aggregation("last", "item_id"), derived=(Derived("d", Feature("last_item_id_all")),)
        ),
        "cannot calculate with the text 'last_item_id_all'",
    ),
    (
        lambda: Aggregation("mean", "item_id", (DAY,)),
        "'mean' reads a number, and 'item_id' is a text column",
    ),
    (lambda: Aggregation("trend", "amount"), "nothing is before all history"),
    (lambda: Aggregation("trend", windows=(20_000 * DAY,)), "at most 36500 days"),
    (lambda: Aggregation("trend", "item_id", (DAY,)), "reads a number"),
    (lambda: OnlyIf(Constant(1), Feature("count_all"), 0), "whole number from 1, got 0"),
    (lambda: Condition("amount", "missing", (1,)), "needs 0 value"),
    (lambda: none_of("amount"), "needs at least one value"),
    (lambda: FeatureView("v", USER), "declares no feature"),
    (lambda: FeatureView("v", USER, None, (Aggregation("count"),)), "needs a stream"),
    (
        lambda: FeatureView("v", USER, ORDERS, attributes=(AttributeLookup("user", "plan"),)),
        "aggregates nothing of its stream",
    ),
    (
        lambda: FeatureView("v", USER, attributes=(AttributeLookup("item", "brand"),)),
        "attribute 'item.brand', and its entity 'user' has no item_id; it has user_id",
    ),
    (
        lambda: FeatureView(
            "v",
            USER,
            attributes=(AttributeLookup("user", "plan"), AttributeLookup("user", "plan")),
        ),
        "declares twice: plan",
    ),
    (
        lambda: FeatureView(
            "v",
            USER,
            attributes=(AttributeLookup("user", "plan"),),
            derived=(Derived("d", Log1p(Feature("plan"))),),
        ),
        "cannot calculate with the text 'plan'",
    ),
    (
        lambda: FeatureView("v", USER, SHORT, (Aggregation("count", windows=(31 * DAY,)),)),
        "FeatureView 'v': 'count_31d' looks back 31d, and its stream keeps 30d",
    ),
    (
        lambda: FeatureView("v", USER, SHORT, (Aggregation("trend", windows=(20 * DAY,)),)),
        "'trend_20d' looks back 40d, and its stream keeps 30d",
    ),
    (lambda: view(Aggregation("distinct_count", "tenant_id")), "unknown column 'tenant_id'"),
    (lambda: view(Aggregation("count"), ttl=timedelta(0)), "ttl is a timedelta longer than zero"),
    (
        lambda: view(
            Aggregation("trend", None, (DAY,)),
            Aggregation("count", None, (DAY,), (equals("item_id", "b"),), "some"),
            inputs=(Aggregation("trend", None, (DAY,), (equals("item_id", "a"),), "some"),),
        ),
        "two different aggregations called 'some_count_1d'",
    ),
    (lambda: FeatureService("s", ()), "FeatureService 's' has no feature view"),
    (lambda: FeatureService("s", (SPEND, SPEND)), "has two views spend"),
    (lambda: Spine(pa.table({"user_id": ["ann"]})), "a spine has each join key once and 'as_of'"),
    (
        lambda: Spine(pa.table({"as_of": pa.array([NOON], pa.timestamp("us"))})),
        re.escape("'as_of' must be timestamp[us, tz=UTC], got timestamp[us]"),
    ),
    (lambda: Spine(pa.table({"as_of": pa.array([None], TIMESTAMP)})), "has 1 nulls"),
    (
        lambda: Spine(pa.table({"label": [1], "as_of": pa.array([NOON], TIMESTAMP)})),
        "unknown column 'label' in the spine; known: account_id, as_of",
    ),
    (lambda: Spine.at({"user_id": ["ann"]}, datetime(2024, 3, 1)), "aware datetime"),  # noqa: DTZ001
    (
        lambda: Spine.at({"user_id": ["ann"]}, NOON).check_serves(RECOMMENDATION_FEATURES),
        "FeatureService 'recommendation' needs item_id on the spine, which has user_id",
    ),
]


@pytest.mark.parametrize(("make", "message"), MALFORMED, ids=[m for _, m in MALFORMED])
def test_malformed_declaration_is_refused(make: Callable[[], object], message: str) -> None:
    """The error of a malformed declaration names the place, the value and what is known."""
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("engine", [in_memory, vectorized], ids=lambda m: m.__name__)
def test_engine_refuses_unusable_inputs(engine: object) -> None:
    """A missing column, rows of two tenants and an unknown time zone are named."""
    spine = Spine.at({"user_id": ["ann"]}, NOON)
    events, attributes = EVENTS.empty_table(), ATTRIBUTES.empty_table()
    compute = engine.compute  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match="unknown column 'amount' in the given table"):
        compute(CHURN_FEATURES, spine, events.drop(["amount"]), attributes, "UTC")
    with pytest.raises(ConfigError, match="'Mars/Olympus' is not an IANA time zone"):
        compute(CHURN_FEATURES, spine, events, attributes, "Mars/Olympus")
    required = {f.name: "x" for f in EVENTS if f.type == pa.string()}
    instants = {"event_timestamp": NOON, "created_timestamp": NOON}
    rows = [required | instants | {"tenant_id": tenant} for tenant in ("acme", "zeta")]
    with pytest.raises(IsolationError, match="one tenant at a time"):
        compute(CHURN_FEATURES, spine, pa.Table.from_pylist(rows, EVENTS), attributes, "UTC")


def test_the_deepest_expression_is_declared_fingerprinted_and_computed() -> None:
    """Fifty expressions inside one another are none too many for any step."""
    deepest = Derived("d", nested(50))
    one = view(Aggregation("count"), derived=(deepest,))
    assert (
        one.fingerprint
        != view(Aggregation("count"), derived=(Derived("d", nested(49)),)).fingerprint
    )
    at = datetime(2024, 1, 1, tzinfo=UTC)
    spine = Spine.at({"user_id": ["ann"]}, at)
    for engine in (in_memory, vectorized):
        tables = (EVENTS.empty_table(), ATTRIBUTES.empty_table())
        found = engine.compute(FeatureService("s", (one,)), spine, *tables, "UTC")
        assert found["v__d"].to_pylist() == [0.0]


def test_names_tell_view_function_value_and_window() -> None:
    """A feature's column is named after its view, label, function, value and window."""
    amounts = Aggregation("sum", "amount", (30 * DAY, timedelta(hours=36), ALL_HISTORY))
    evening = Aggregation(
        "max", "properties.discount", (DAY,), (at_least("local_hour", 18),), "evening"
    )
    declared = view(amounts, evening, Aggregation("last", "item_id"), name="spend")
    assert declared.columns == {
        "spend__sum_amount_30d": "number",
        "spend__sum_amount_36h": "number",
        "spend__sum_amount_all": "number",
        "spend__evening_max_properties_discount_1d": "number",
        "spend__last_item_id_all": "text",
    }


def test_inputs_of_a_view_give_no_columns() -> None:
    """Inputs are there for derived features only."""
    declared = view(
        inputs=(Aggregation("count"),), derived=(Derived("share", Feature("count_all")),)
    )
    assert list(declared.columns) == ["v__share"]


BASE = FeatureView(
    "v",
    USER,
    EventStream(
        ("Order Completed", "Order Refunded"),
        (between("amount", 1, 5), one_of("item.category", "a", "b")),
        (AttributeLookup("item", "category"),),
    ),
    (Aggregation("sum", "amount", (DAY, 7 * DAY)),),
    (Derived("trend", Ratio(Feature("sum_amount_1d"), Feature("sum_amount_7d"))),),
)


def with_stream(**changes: object) -> FeatureView:
    return replace(BASE, stream=replace(BASE.stream, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, owner="someone", description="else", tags=("new",)),
        replace(BASE, entity=Entity("customer", ("user_id",))),
        replace(BASE, inputs=(Aggregation("count"),)),
        with_stream(events=("Order Refunded", "Order Completed", "Order Completed")),
        with_stream(where=BASE.stream.where[::-1]),
        with_stream(where=(one_of("item.category", "b", "a", "b"), between("amount", 1.0, 5.0))),
        with_stream(where=(at_least("amount", 1), below("amount", 5), BASE.stream.where[1])),
        with_stream(lookups=(*BASE.stream.lookups, AttributeLookup("user", "age"))),
        with_stream(retention=90 * DAY),
        replace(BASE, ttl=DAY),
    ],
)
def test_fingerprint_keeps_where_the_meaning_does(same: FeatureView) -> None:
    """Words about a view, and other ways of saying the same, leave its fingerprint alone."""
    assert same.fingerprint == BASE.fingerprint


OTHERS = [
    replace(BASE, name="w"),
    replace(BASE, entity=USER_ITEM),
    replace(BASE, aggregations=(Aggregation("sum", "amount", (7 * DAY, DAY)),)),
    replace(BASE, aggregations=(Aggregation("sum", "amount", (DAY, 7 * DAY, ALL_HISTORY)),)),
    replace(BASE, derived=()),
    replace(BASE, attributes=(AttributeLookup("user", "plan"),)),
    replace(BASE, attributes=(AttributeLookup("user", "plan", "number"),)),
    replace(
        BASE,
        derived=(Derived("trend", Difference(Feature("sum_amount_1d"), Feature("sum_amount_7d"))),),
    ),
    with_stream(events=("Order Completed",)),
    with_stream(where=()),
    with_stream(where=(between("amount", 1, 6), BASE.stream.where[1])),
    with_stream(where=(between("quantity", 1, 5), BASE.stream.where[1])),
]


@pytest.mark.parametrize("other", OTHERS)
def test_fingerprint_changes_with_the_meaning(other: FeatureView) -> None:
    """Whatever changes a value, a name or the order of the columns changes the fingerprint."""
    assert other.fingerprint != BASE.fingerprint
    assert len({o.fingerprint for o in OTHERS}) == len(OTHERS)
    services = [FeatureService("s", (declared,)).fingerprint for declared in (BASE, other)]
    assert services[0] != services[1]


def test_fingerprint_is_the_same_in_every_process() -> None:
    """A stored fingerprint stays comparable: this one changes only with the language itself."""
    declared = view(Aggregation("sum", "amount", (DAY,)))
    assert declared.fingerprint == "0f1a77edb202001d"
    assert (
        FeatureService("a", (declared,)).fingerprint == FeatureService("b", (declared,)).fingerprint
    )


def test_required_columns_are_enough() -> None:
    """An engine answers from the required columns as from the whole tables."""
    needed = required_columns(CHURN_FEATURES)
    assert "account_id" not in needed.events
    assert "properties" in needed.events
    assert "value" in needed.attributes
    spine = Spine.at({"user_id": ["ann"]}, NOON)
    events, attributes = EVENTS.empty_table(), ATTRIBUTES.empty_table()
    whole = vectorized.compute(CHURN_FEATURES, spine, events, attributes, "UTC")
    part = vectorized.compute(
        CHURN_FEATURES,
        spine,
        events.select(needed.events),
        attributes.select(needed.attributes),
        "UTC",
    )
    assert part.equals(whole)


def test_result_carries_its_fingerprint() -> None:
    """A feature table tells which service it is an answer to."""
    spine = Spine.at({"user_id": ["ann"]}, NOON)
    inputs = (EVENTS.empty_table(), ATTRIBUTES.empty_table(), "UTC")
    result = vectorized.compute(CHURN_FEATURES, spine, *inputs)
    assert result.column_names == ["user_id", "as_of", *CHURN_FEATURES.columns]
    assert result.schema.metadata == {
        b"feature_service": b"churn",
        b"feature_fingerprint": CHURN_FEATURES.fingerprint.encode(),
    }


def test_catalogue_is_owned_and_described() -> None:
    """Every view that ships has an owner, a description and its service among its tags."""
    for service in (CHURN_FEATURES, RECOMMENDATION_FEATURES):
        for declared in service.views:
            assert declared.owner
            assert declared.description
            assert service.name in declared.tags
