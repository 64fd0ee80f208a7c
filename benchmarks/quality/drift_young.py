"""Drift in tenants of every age: the monitoring's gate over stationary event streams.

A tenant's customers come, buy at rates of their own and leave, the same on every day; what is known
of them begins on the day its history begins. The champion's reference is made when the history has
some length, and weekly windows follow. Nothing changes, so every alarm is false; or something
does, from a day on that is known. Features, rows and the second comparison are the platform's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include import use_cases
from include.features.conditions import at_least, equals, missing, none_of
from include.features.declarations import (
    ALL_HISTORY,
    USER,
    Aggregation,
    Derived,
    EventStream,
    window_name,
)
from include.features.expressions import Constant, Difference, Feature, Log1p, OnlyIf, Ratio
from include.features.inputs import Inputs
from include.features.request_columns import with_request
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.handoffs import TableVersion
from include.models.model import Model
from include.monitoring.decisions import DriftEvidence, Verdict, judge_drift
from include.monitoring.gate import Gate, WindowComparison, compare_windows
from include.monitoring.maturity import Equalized, Maturity
from include.monitoring.profiles import WindowProfile
from include.monitoring.windows import PREDICTION
from include.pipeline.lookback import equalized, reaches_of
from include.pipeline.translate import without_distribution
from include.storage.canonical import ATTRIBUTES, EVENTS, REPLACED, TIMESTAMP
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef
from include.use_cases.declaration import UseCase
from include.use_cases.drift_policy import DriftPolicy
from include.use_cases.spines import event_columns, scoring_spine

Floats = npt.NDArray[np.float64]

START: Final = datetime(2024, 1, 1, tzinfo=UTC)  #: a Monday
DAY: Final = timedelta(days=1)
ITEMS: Final = 120
CATEGORIES: Final = 6
LIFETIME: Final = 250.0  #: mean days that somebody stays a customer
_OWNER: Final = TenantRef("simulated", "benchmark", "pool")

_D7, _D30, _D90 = (timedelta(days=days) for days in (7, 30, 90))
_ALL: Final = (_D7, _D90, ALL_HISTORY)
_STREAM: Final = EventStream(("Order Completed",))
_WEEKEND: Final = (at_least("local_weekday", 5),)
_CATEGORIES: Final = {
    "c0": equals("properties.category", "c0"),
    "c1": equals("properties.category", "c1"),
    "other": none_of("properties.category", "c0", "c1"),
    "unknown": missing("properties.category"),
}
#: Every function over a short, a long and the longest window, and every expression.
EVERYTHING: Final = FeatureView(
    "everything",
    USER,
    _STREAM,
    (
        Aggregation("count", windows=_ALL),
        Aggregation("count", None, _ALL, _WEEKEND, "weekend"),
        Aggregation("sum", "amount", _ALL),
        Aggregation("mean", "amount", _ALL),
        Aggregation("min", "amount", _ALL),
        Aggregation("max", "amount", _ALL),
        Aggregation("std", "amount", _ALL),
        Aggregation("first", "item_id", _ALL),
        Aggregation("last", "amount", _ALL),
        Aggregation("distinct_count", "item_id", _ALL),
        Aggregation("time_since_last", windows=_ALL),
        Aggregation("time_since_first", windows=_ALL),
        Aggregation("days_active", windows=_ALL),
        Aggregation("entropy", "properties.category", _ALL),
        Aggregation("trend", windows=(_D7, _D30, _D90)),
        Aggregation("trend", "amount", (_D30,)),
    ),
    derived=(
        Derived("rate_all", Ratio(Feature("count_all"), Feature("time_since_first_all"))),
        Derived("recent_share", Ratio(Feature("count_90d"), Feature("count_all"))),
        Derived("lag", Difference(Feature("count_90d"), Feature("count_7d"))),
        Derived("log_amount", Log1p(Feature("sum_amount_90d"))),
        Derived(
            "month_if_old",
            OnlyIf(Ratio(Feature("count_90d"), Constant(3)), Feature("time_since_first_all"), 90),
        ),
        Derived("weekends", Ratio(Feature("weekend_count_all"), Feature("count_all"))),
        *(
            Derived(
                f"{label}_share_{w}", Ratio(Feature(f"{label}_count_{w}"), Feature(f"count_{w}"))
            )
            for label in _CATEGORIES
            for w in map(window_name, _ALL)
        ),
    ),
    inputs=tuple(
        Aggregation("count", None, _ALL, (which,), label) for label, which in _CATEGORIES.items()
    ),
)


@dataclass(frozen=True)
class Change:
    """What becomes another from a day of the tenant's history on."""

    day: float
    rate: float = 1.0  #: factor of how often people buy
    amount: float = 1.0  #: factor of what they pay


@dataclass(frozen=True)
class Shop:
    """A stationary tenant; `days` are counted from where its history begins."""

    seed: int
    customers: int
    days: int
    change: Change | None = None
    event: str = "Order Completed"

    @cached_property
    def events(self) -> pa.Table:
        """All that is ever known, in the canonical shape."""
        draw = np.random.default_rng(self.seed)
        newcomers = draw.poisson(self.customers * self.days / LIFETIME)
        came = np.concatenate([np.zeros(self.customers), draw.uniform(0, self.days, newcomers)])
        people = len(came)
        left = np.minimum(came + draw.exponential(LIFETIME, people), self.days)
        rate = draw.gamma(2.0, 0.06, people)
        change = self.change or Change(np.inf)
        fastest = max(1.0, change.rate)
        visits = draw.poisson(rate * fastest * (left - came))
        who = np.repeat(np.arange(people), visits)
        at = came[who] + draw.random(len(who)) * (left - came)[who]
        kept = draw.random(len(at)) < np.where(at >= change.day, change.rate, 1.0) / fastest
        who, at = who[kept], at[kept]
        lines = 1 + draw.poisson(1.0, len(at))
        basket = np.repeat(np.arange(len(at)), lines)
        who, at = who[basket], at[basket]
        taste = draw.integers(0, ITEMS, people)
        popular = draw.zipf(1.6, len(who)) % ITEMS
        item = np.where(draw.random(len(who)) < 0.5, popular, (popular + taste[who]) % ITEMS)
        spends = np.exp(draw.normal(0, 0.4, people))
        amount = spends[who] * np.exp(draw.normal(1, 0.5, len(who)))
        amount *= np.where(at >= change.day, change.amount, 1.0)
        stamps = pa.array(
            (at * 86_400e6).astype(np.int64) + int(START.timestamp() * 1e6), EVENTS.field(11).type
        )
        rows = len(who)
        order = np.arange(rows)
        texts = {
            "event_id": order,
            "user_id": who,
            "account_id": item % 30,
            "item_id": item,
            "group_id": basket,
        }
        columns = {name: _texts(name[0], codes) for name, codes in texts.items()}
        columns |= {
            "tenant_id": _constant(_OWNER.id, rows),
            "source": _constant("pos", rows),
            "event": _constant(self.event, rows),
            "quantity": pa.array(1.0 + draw.poisson(0.3, rows)),
            "amount": pa.array(amount),
            "properties": pa.array(
                [
                    f'{{"category": "c{c}", "device": "d{d}", "country": "x{x}", "discount": 0.1}}'
                    for c, d, x in zip(
                        (item % CATEGORIES).tolist(),
                        (who % 5 * 7 + draw.integers(0, 2, rows)).tolist(),
                        (who % 3).tolist(),
                        strict=True,
                    )
                ]
            ),
            "event_timestamp": stamps,
            "created_timestamp": stamps,
            "month": _constant("2024-01", rows),
        }
        table = pa.table([columns[name] for name in EVENTS.names], schema=EVENTS)
        return table.sort_by([("event_timestamp", "ascending"), ("event_id", "ascending")])


@dataclass(frozen=True)
class Linear:
    """A model of every number: nothing is learnt, all it has to do is to depend on all of them."""

    columns: tuple[str, ...]

    def predict(self, features: pa.Table) -> Floats:
        """Scores between 0 and 1."""
        score = np.zeros(features.num_rows)
        for number, name in enumerate(self.columns):
            values = features[name].cast(pa.float64()).to_numpy()
            weight = (-1.0) ** number
            score += weight * np.log1p(np.abs(np.nan_to_num(values))) / len(self.columns)
        return np.asarray(1 / (1 + np.exp(-score)))


@dataclass(frozen=True)
class Judged:
    """A window: the verdict, and what it would be were maturity not looked at."""

    comparison: WindowComparison
    verdict: Verdict
    blind: Verdict


@dataclass(frozen=True)
class Watch:
    """A tenant under one use case, with a reference made at an age."""

    use_case: UseCase
    shop: Shop
    age: float  #: day on which the reference was made
    snapshots: tuple[float, ...] = (0.0,)  #: days before, at which the reference looks

    @cached_property
    def policy(self) -> DriftPolicy:
        """The one that monitoring would have, with its own numbers."""
        return DriftPolicy(ignored=without_distribution(self.use_case))

    @cached_property
    def model(self) -> Model:
        """The champion; what is one value for all rows would move all its scores at once."""
        columns = tuple(c for c in self.use_case.columns if not self.policy.reason_to_skip(c))
        return Model("logistic", columns, Linear(columns), {})

    @cached_property
    def reference(self) -> pa.Table:
        """What the champion was judged on."""
        tables = [self.window(self.age - before) for before in self.snapshots]
        return pa.concat_tables([one for one in tables if one.num_rows])

    def inputs(self, at: datetime) -> Inputs:
        """Everything known at an instant."""
        stamps = self.shop.events["event_timestamp"].to_numpy()
        end = int(np.searchsorted(stamps, np.datetime64(at.replace(tzinfo=None), "us")))
        wanted = list(dict.fromkeys([*EVENTS.names, *event_columns(self.use_case)]))
        events = self.shop.events.slice(0, end)
        never_corrected = pa.nulls(end, TIMESTAMP)
        table = TableVersion(_OWNER.id, "events", 1, end, "")
        return Inputs(
            _OWNER,
            "UTC",
            at,
            (table, table),
            events.append_column(REPLACED, never_corrected).select(wanted),
            ATTRIBUTES.empty_table(),
        )

    def window(self, day: float) -> pa.Table:
        """What is scored at the end of a day of history."""
        at = START + day * DAY
        inputs = self.inputs(at)
        spine = scoring_spine(self.use_case, inputs.events, at, at - 7 * DAY)
        if not spine.num_rows:
            return spine
        found = inputs.compute(self.use_case.features, Spine(spine))
        if self.use_case.request:
            found = with_request(self.use_case.request, found, inputs.events, "UTC")
        return found.append_column(PREDICTION, pa.array(self.model.predict(found)))

    def judge(self, day: float) -> Judged:
        """What the platform concludes of the window that ends on a day."""
        at, current = START + day * DAY, self.window(day)

        def equalize(since: datetime) -> Equalized:
            return equalized(self.use_case, self.inputs(at), current, since, at, self.model)

        known = Maturity(reaches_of(self.use_case, self.model), equalize)
        skipped = [
            name
            for name in current.column_names
            if self.policy.reason_to_skip(name) or known.reason_to_skip(name)
        ]
        now = self.gate.profile(current.drop_columns(skipped), self.profile)
        blind = compare_windows(self.profile, now, self.policy)
        found = blind
        if blind.differs:
            found = self.gate.of_equal_maturity(
                blind, self.profile, now, known, lambda: self.reference, current
            )
        return Judged(found, self._verdict(found), self._verdict(blind))

    def _verdict(self, found: WindowComparison) -> Verdict:
        sizes = found.reference_entities, found.current_entities
        evidence = DriftEvidence(
            "1", False, *sizes, found.columns, found.prediction, skipped=found.skipped
        )
        return judge_drift(evidence, self.policy)

    @cached_property
    def gate(self) -> Gate:
        """The champion's gate."""
        trained = START + self.age * DAY
        records = in_memory().drift
        return Gate(
            _OWNER, self.use_case.name, "1", trained, self.use_case.keys, self.policy, records
        )

    @cached_property
    def profile(self) -> WindowProfile:
        """The reference's."""
        return self.gate.reference_profile(self.reference)


#: What is watched, and how many tenants of each age; `everything` has a feature of every kind.
WATCHED: Final = {"churn": 60, "everything": 20, "recommendation": 20, "demand": 20, "fraud": 20}
AGES: Final = (1, 3, 7, 14, 30, 60, 90, 180, 365, 730)
CHANGES: Final = (Change(0, rate=2.0), Change(0, rate=0.4), Change(0, amount=1.8))
_CUSTOMERS: Final = {"recommendation": 80, "fraud": 200}
_EVENTS: Final = {"fraud": "Payment Made"}


def watched(name: str) -> UseCase:
    """A use case by name; `everything` is churn with a feature of every kind."""
    if name != "everything":
        return use_cases.get(name)
    base = use_cases.get("churn")
    views = (*base.features.views, EVERYTHING)
    return replace(base, features=FeatureService("everything", views))


def stationary(name: str, age: float, tenants: int, seed: int) -> dict[str, int]:
    """Tenant-months of four weekly windows in which nothing changes, and those with an alarm."""
    counted = {"months": 0, "alarms": 0, "blind": 0, "unjudged": 0}
    for number in range(tenants):
        judged = _months(name, age, seed + number, None, range(1, 5))
        counted["months"] += 1
        counted["alarms"] += any(one.verdict.name == "drift" for one in judged)
        counted["blind"] += any(one.blind.name == "drift" for one in judged)
        counted["unjudged"] += all(
            one.verdict.name in ("too_few_rows", "unjudged") for one in judged
        )
    return counted


def changed(name: str, age: float, tenants: int, seed: int) -> dict[str, int]:
    """Tenants whose customers change a week after the reference, and how many are found by the
    third window after it; `blind` as far as maturity is not looked at."""
    counted = {"tenants": 0, "found": 0, "blind": 0}
    for number in range(tenants):
        change = replace(CHANGES[number % len(CHANGES)], day=age + 7)
        judged = _months(name, age, seed + number, change, range(2, 5))
        counted["tenants"] += 1
        counted["found"] += any(one.verdict.name == "drift" for one in judged)
        counted["blind"] += any(one.blind.name == "drift" for one in judged)
    return counted


def _months(
    name: str, age: float, seed: int, change: Change | None, weeks: Iterable[int]
) -> list[Judged]:
    event = _EVENTS.get(name, "Order Completed")
    shop = Shop(seed, _CUSTOMERS.get(name, 200), int(age) + 29, change, event)
    watch = Watch(watched(name), shop, age)
    if not watch.reference.num_rows:
        return []
    return [watch.judge(age + 7 * week) for week in weeks]


def _texts(prefix: str, codes: npt.NDArray[np.int64]) -> pa.Array:
    distinct, places = np.unique(codes, return_inverse=True)
    names = pa.array([f"{prefix}{code}" for code in distinct.tolist()])
    return names.take(pa.array(places.reshape(-1)))


def _constant(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)
