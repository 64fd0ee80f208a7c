"""The benchmarks of item models split as they say, and would notice a model that is no better."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.quality import bought_together, movielens, wheels
from include.models import association_fit
from include.models.association import AssociationSettings
from include.models.ease import EaseSettings


def rated(seed: int, users: int = 60, films: int = 20) -> pd.DataFrame:
    """Users of two tastes, ten films each."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        likely = np.where(np.arange(films) % 2 == user % 2, 9.0, 1.0)
        for film in generator.choice(films, size=10, replace=False, p=likely / likely.sum()):
            rows.append((f"u{user}", int(film)))
    table = pd.DataFrame(rows, columns=["entity_id", "item"])
    table["item_id"], table["stars"] = table["item"].astype(str), 1.0
    table["event_timestamp"] = pd.Timestamp("1998-01-01", tz="UTC") + pd.to_timedelta(
        generator.permutation(len(table)), unit="h"
    )
    return table


def test_the_split_keeps_three_quarters_of_each_film_and_follows_its_seed() -> None:
    """Of n ratings of a film the first 0.75 n in a random order are training rows."""
    rows = rated(1)
    train = movielens.within_items(rows, 42)
    every, kept = Counter(rows["item"]), Counter(rows["item"][train])
    assert all(kept[film] == int(0.75 * count) for film, count in every.items())
    assert (train == movielens.within_items(rows, 42)).all()
    assert (train != movielens.within_items(rows, 1)).any()


def test_the_split_in_time_trains_on_the_past() -> None:
    """No training row is later than a test row."""
    rows = rated(2)
    train = movielens.in_time(rows)
    assert rows["event_timestamp"][train].max() < rows["event_timestamp"][~train].min()
    assert train.mean() == pytest.approx(0.75, abs=0.01)


def test_ease_beats_popularity_where_there_are_tastes(monkeypatch: Any) -> None:
    """Figures come with intervals around them, and the ratio with one of its own."""
    monkeypatch.setattr(movielens, "CANDIDATES", (EaseSettings(ridge=20.0),))
    monkeypatch.setattr(movielens, "TOP", 3)
    rows = rated(3, users=200)
    train = movielens.within_items(rows, 42)
    found = movielens.compare(rows, train, movielens.within_items(rows[train], 1))
    assert found["ratio"]["interval"][0] > 1
    for name in ("ease", "popularity"):
        low, high = found[name]["interval"]
        assert low < found[name]["ndcg@10"] < high


def test_a_list_of_pairs_beats_popularity_where_there_are_pairs(monkeypatch: Any) -> None:
    """The December part finds what goes together, and households are resampled whole."""
    generator = np.random.default_rng(4)
    rows = []
    for basket in range(400):
        at = bought_together.DECEMBER + timedelta(days=float(generator.uniform(-90, 30)))
        pair = int(generator.integers(15))
        rows += [(f"b{basket}", f"i{pair}{side}", f"h{basket % 50}", at) for side in "ab"]
    names = ("group_id", "item_id", "household", "event_timestamp")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    lines = pa.table({name: pa.array(list(column)) for name, column in columns.items()})
    lines = lines.set_column(3, names[3], lines[names[3]].cast(pa.timestamp("us", "UTC")))
    kinds = pa.table({"item_id": ["i0a"], "product_category": ["x"], "product_type": ["y"]})
    choose = association_fit.choose
    one = (AssociationSettings(),)
    monkeypatch.setattr(association_fit, "choose", lambda table, **k: choose(table, one, **k))
    monkeypatch.setattr(bought_together, "TOP", 2)
    found = bought_together.measure(lines, kinds, baselines=True)
    assert found["shrunk lift"]["hit@10"] == 1.0
    assert found["popularity"]["gain over it"][0] > 0.5
    assert found["co-count"]["hit@10"] == 1.0


def test_a_data_file_of_an_installed_package_is_found_without_importing_it() -> None:
    """Nothing is installed where the package is there."""
    assert wheels.data_file("pytest", "any", "pytest/__init__.py").exists()
