"""The stores of Complete Journey under monitoring's gate, week after week.

    python -m benchmarks.quality.drift_stores [--use-case churn] [--stores 367 415 …] [--weeks 8]

A champion of 16 October with the holdout that its training would take, or what was there then where
the store is too young for one; then one window a week. Predictions are of a model that nothing was
learnt for, see `drift_young.Linear`. Windows with fewer entities than the policy asks for are not
judged. Prints each window that drifted, or in which history explains a change.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from benchmarks.quality import stores
from benchmarks.quality.drift_young import DAY, START, Judged, Watch, watched
from include.features.inputs import Inputs
from include.use_cases.declaration import UseCase

CUT: Final = datetime(2017, 10, 16, tzinfo=UTC)
LINES: Final = 3_000  #: of a store that is looked at unasked


@dataclass(frozen=True)
class Store:
    """One store's year."""

    events: pa.Table
    attributes: pa.Table


@dataclass(frozen=True)
class StoreWatch(Watch):
    """A store under one use case; days are counted from `drift_young.START`, which is later."""

    store: Store | None = None

    def inputs(self, at: datetime) -> Inputs:
        """Everything known at an instant."""
        assert self.store is not None
        return replace(super().inputs(at), attributes=self.store.attributes)


def main() -> None:
    """Play the weeks and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--use-case", default="churn")
    parser.add_argument("--stores", nargs="*", default=[])
    parser.add_argument("--weeks", type=int, default=8)
    options = parser.parse_args()
    use_case, counted = watched(options.use_case), Counter[str]()
    for name, store in _stores(options.stores):
        for week, judged in _weeks(use_case, store, options.weeks):
            counted[judged.verdict.name] += 1
            counted["drift, if maturity were not looked at"] += judged.blind.name == "drift"
            if judged.verdict.name == "drift" or any(c.explained for c in judged.comparison.judged):
                day = CUT + 7 * week * DAY
                print(f"store {name}, {day:%d %B}: {judged.verdict.name}, {judged.verdict.reason}")
    print(dict(counted))


def _weeks(use_case: UseCase, store: Store, weeks: int) -> Iterator[tuple[int, Judged]]:
    cut = (CUT - START) / DAY
    first = (store.events["event_timestamp"][0].as_py() - START) / DAY
    rules, newest = use_case.snapshots, cut - use_case.reach / DAY
    held = [newest - number * (rules.every / DAY) for number in range(rules.holdout)]
    held = [day for day in held if day >= first + rules.minimum_history / DAY]
    if first >= cut:
        return
    age = held[0] if held and not use_case.lists else cut
    before = tuple(age - day for day in held) if age != cut else (0.0,)
    watch = StoreWatch(use_case, store, age, before, store)  # type: ignore[arg-type]
    for week in range(1, weeks + 1):
        yield week, watch.judge(cut + 7 * week)


def _stores(asked: list[str]) -> Iterator[tuple[str, Store]]:
    sold, products = stores.read("transactions"), stores.read("products")
    shops = sold["store_id"].astype(str)
    counts = shops.value_counts()
    by_time = [("event_timestamp", "ascending"), ("event_id", "ascending")]
    for name in asked or [one for one in counts.index if counts[one] >= LINES]:
        lines = sold[shops == name].reset_index(drop=True)
        items = products[products["product_id"].isin(lines["product_id"])]
        facts = stores.attributes_of("store", items.dropna(subset=["product_category"]))
        yield name, Store(stores.events_of("store", lines).sort_by(by_time), facts)


if __name__ == "__main__":
    main()
