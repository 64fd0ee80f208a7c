"""Popular and trending: the same list for everybody, from what was known at an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError, IntegrityError, QualityError, UnknownNameError
from include.models import arrays, popularity
from include.models.popularity import Popularity, PopularitySettings

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)


def events(*rows: tuple[str, str, float]) -> pa.Table:
    """Entity, item, days ago."""
    return pa.table(
        {
            "entity_id": pa.array([row[0] for row in rows], pa.string()),
            "item_id": pa.array([row[1] for row in rows], pa.string()),
            "event_timestamp": pa.array(
                [AS_OF - timedelta(days=row[2]) for row in rows], pa.timestamp("us", "UTC")
            ),
        }
    )


SOME = events(
    ("a", "old", 56.0),
    ("b", "old", 56.0),
    ("c", "old", 56.0),
    ("a", "new", 1.0),
    ("b", "new", 28.0),
    ("b", "new", 40.0),
    ("c", "tie", 28.0),
    ("d", "also", 28.0),
    ("d", "later", -1.0),
)


def scores(model: Popularity) -> dict[str, float]:
    return dict(zip(model.items, model.scores.tolist(), strict=True))


def items(lists: pa.Table, entity: str) -> list[str]:
    pairs = zip(lists["entity_id"].to_pylist(), lists["item_id"].to_pylist(), strict=True)
    return [item for owner, item in pairs if owner == entity]


def test_popularity_counts_entities_by_their_latest_event_halved_with_age() -> None:
    """An entity counts once per item, by its latest event; the future does not count."""
    found = scores(popularity.fit(SOME, PopularitySettings(days=28.0), as_of=AS_OF))
    assert found == pytest.approx(
        {"old": 3 * 0.25, "new": 0.5 ** (1 / 28) + 0.5, "tie": 0.5, "also": 0.5}
    )
    flat = scores(popularity.fit(SOME, PopularitySettings(days=0.0), as_of=AS_OF))
    assert flat == {"old": 3, "new": 2, "tie": 1, "also": 1}


def test_everybody_gets_the_list_without_what_they_had() -> None:
    """Cold entities get all of it, others what they have not seen, equal items by id."""
    model = popularity.fit(SOME, PopularitySettings(days=0.0), as_of=AS_OF)
    lists = model.recommend(SOME, 3, entities=["cold", "a"])
    assert items(lists, "cold") == ["old", "new", "also"]
    assert items(lists, "a") == ["also", "tie"]
    kept = popularity.fit(SOME, PopularitySettings(days=0.0, seen="keep"), as_of=AS_OF)
    assert items(kept.recommend(SOME, 3), "a") == ["old", "new", "also"]
    assert model.recommend(SOME.slice(0, 0), 3).num_rows == 0


def test_a_cold_tenant_gets_the_shared_list_of_what_it_has() -> None:
    """`among` leaves out what is not in the tenant's own catalogue, and fills up with the next."""
    model = popularity.fit(SOME, PopularitySettings(days=0.0), as_of=AS_OF)
    lists = model.recommend(SOME.slice(0, 0), 2, entities=["cold"], among=["tie", "new", "mine"])
    assert items(lists, "cold") == ["new", "tie"]


def test_trending_needs_a_rise_and_more_than_a_few() -> None:
    """Only items that rise are listed; a doubling of many comes before one of few."""
    rows = []
    for item, before, now in (("many", 40, 80), ("few", 2, 4), ("same", 50, 50), ("less", 60, 20)):
        rows += [(f"u{n}", item, 40.0) for n in range(before)]
        rows += [(f"u{n}", item, 3.0) for n in range(now)]
    rows += [("u0", "ages ago", 100.0)]
    chosen = PopularitySettings(kind="trending", days=28.0)
    model = popularity.fit(events(*rows), chosen, as_of=AS_OF)
    lists = model.recommend(events(*rows).slice(0, 0), 5, entities=["cold"])
    assert items(lists, "cold") == ["many", "few"]


def test_a_list_is_long_enough_for_who_has_had_a_lot() -> None:
    """Whoever has had the most popular items gets the next ones."""
    rows = [(f"u{n}", f"i{item:03}", 1.0) for item in range(100) for n in range(101 - item)]
    rows += [("fan", f"i{item:03}", 1.0) for item in range(90)]
    history = events(*rows)
    model = popularity.fit(history, PopularitySettings(days=0.0), as_of=AS_OF)
    assert items(model.recommend(history, 3), "fan") == ["i090", "i091", "i092"]


def test_a_model_comes_back_with_the_same_lists() -> None:
    """Through bytes and back nothing changes; arrays that do not fit are refused."""
    model = popularity.fit(SOME, PopularitySettings(), as_of=AS_OF)
    content = arrays.to_bytes(model.arrays())
    again = Popularity.from_arrays(dict(model.header()), arrays.from_bytes(content))
    assert again.recommend(SOME, 3).equals(model.recommend(SOME, 3))
    assert arrays.to_bytes(again.arrays()) == content
    for wrong in (np.ones(2), np.full(4, np.nan)):
        with pytest.raises(IntegrityError):
            Popularity.from_arrays(model.header(), {**model.arrays(), "scores": wrong})


def test_the_order_of_rows_changes_nothing() -> None:
    """The same events in another order give the same bytes."""
    generator = np.random.default_rng(1)
    rows = [(f"u{n % 37}", f"i{n % 11}", float(generator.uniform(0, 99))) for n in range(400)]
    chosen = PopularitySettings()
    one = popularity.fit(events(*rows), chosen, as_of=AS_OF)
    other = popularity.fit(events(*reversed(rows)), chosen, as_of=AS_OF)
    assert arrays.to_bytes(one.arrays()) == arrays.to_bytes(other.arrays())


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "famous"}, {"seen": "perhaps"}, {"days": -1.0}, {"kind": "trending", "days": 0.0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Unknown words list the known ones; what trends needs days to compare."""
    with pytest.raises((ConfigError, UnknownNameError)):
        PopularitySettings(**wrong)


def test_a_list_of_no_items_and_a_model_of_no_events_are_errors() -> None:
    """Both say what is wrong."""
    model = popularity.fit(SOME, PopularitySettings(), as_of=AS_OF)
    with pytest.raises(ConfigError, match="at least 1"):
        model.recommend(SOME, 0)
    with pytest.raises(QualityError, match="nothing happened before"):
        popularity.fit(SOME, PopularitySettings(), as_of=AS_OF - timedelta(days=99))
