"""What a model that other tenants get may hold: what enough tenants have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from include.errors import QualityError
from include.models import association_fit, ease, popularity
from include.models.association import AssociationSettings
from include.models.contributors import Contributors, among
from include.models.ease import EaseSettings
from include.models.interactions import codes_of, interactions
from include.models.lightgbm_text import booster_text, without_ranges
from include.models.popularity import PopularitySettings
from include.models.text_match import inverse_document_frequencies

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
FEW = Contributors(tenants=3, entities=4)
FLAT = AssociationSettings(strength=4.0, size_power=0.0, trend=0.0)
MEMBERS = ("alder", "birch", "cedar")


def had(baskets: Mapping[str, list[str]], days_ago: float = 1.0) -> pa.Table:
    """Tenant → baskets, each a text of items."""
    rows = [
        (f"{tenant}/{place}", item)
        for tenant, texts in baskets.items()
        for place, text in enumerate(texts)
        for item in text.split()
    ]
    stamps = [AS_OF - timedelta(days=days_ago)] * len(rows)
    return pa.table(
        {
            "entity_id": [entity for entity, _ in rows],
            "group_id": [entity for entity, _ in rows],
            "item_id": [item for _, item in rows],
            "event_timestamp": pa.array(stamps, pa.timestamp("us", "UTC")),
            "weight": pa.array(np.ones(len(rows))),
        }
    )


#: Everybody sells tea and ale; of the rest, the first tenant or the first two alone.
OWN = "only-alder-0"
SOLD = {
    "alder": ["tea ale", "tea ale", f"tea {OWN}", "jam tea bun", f"{OWN} ale", "bun tea", "jam"],
    "birch": ["tea ale", "ale tea jam", "jam bun", "bun", "two tea", "two"],
    "cedar": ["tea ale", "jam ale", "bun ale", "jam"],
}
SOLD["alder"] += ["two", "two tea", "two ale"]


def bytes_of(*arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    return b"".join(part.tobytes() for one in arrays for part in one.values())


@pytest.mark.parametrize(
    ("item", "sellers", "kept"),
    [
        ("one", {"alder": 50}, False),
        ("two", {"alder": 50, "birch": 50}, False),
        ("three", {"alder": 2, "birch": 1, "cedar": 1}, True),
        ("thin", {"alder": 1, "birch": 1, "cedar": 1}, False),
    ],
)
def test_an_item_takes_three_tenants_and_enough_entities(
    item: str, sellers: dict[str, int], kept: bool
) -> None:
    """However often one or two of them sell it."""
    table = had({tenant: [item] * count for tenant, count in sellers.items()})
    assert FEW.items(interactions(table)).tolist() == [kept]
    assert FEW.known(table).num_rows == (table.num_rows if kept else 0)


def test_an_entity_counts_once_however_many_rows_it_has() -> None:
    """Ten lines of one basket are one basket."""
    table = had({tenant: ["tea"] for tenant in MEMBERS})
    assert FEW.items(interactions(pa.concat_tables([table] * 10))).tolist() == [False]


def test_a_pair_takes_them_too() -> None:
    """Both items may be everybody's and yet lie together at one tenant alone."""
    found = interactions(had(SOLD))
    kept = FEW.items(found)
    left = among(found, kept)
    assert left.items == ("ale", "bun", "jam", "tea")
    owner = codes_of([e.partition("/")[0] for e in left.entities], MEMBERS)
    shared = FEW.pairs(left.matrix(), owner).toarray()
    named = {
        (left.items[a], left.items[b]) for a, b in zip(*np.nonzero(shared), strict=True) if a < b
    }
    assert named == {("ale", "tea")}


@pytest.mark.parametrize("kind", ["bought_together", "ease", "popularity"])
def test_an_item_of_one_tenant_is_in_no_byte_of_a_model_for_all(kind: str) -> None:
    """Neither among what can be listed, nor among what was left out, nor by its category."""
    table = had(SOLD)
    categories = pa.table({"item_id": ["tea", OWN], "shelf": ["drinks", "secret"]})
    for contributors, found in ((None, True), (FEW, False)):
        if kind == "bought_together":
            model: Any = association_fit.fit(
                table, FLAT, as_of=AS_OF, categories=categories, contributors=contributors
            )
        elif kind == "ease":
            settings = EaseSettings(ridge=1.0, most_items=3)
            model = ease.fit(table, settings, contributors=contributors)
        else:
            model = popularity.fit(
                table, PopularitySettings(), as_of=AS_OF, contributors=contributors
            )
        content = bytes_of(model.arrays())
        assert (OWN.encode() in content) is found
        assert (b"two" in content) is found


def test_a_tenants_own_items_move_no_number_of_a_model_for_all() -> None:
    """The model is the same, to the byte, whatever it alone sells beside what all do."""
    other = {**SOLD, "alder": [text.replace(OWN, "another") for text in SOLD["alder"]]}
    without = {**SOLD, "alder": [text.replace(f" {OWN}", "") for text in SOLD["alder"]]}
    without["alder"] = [text.replace(f"{OWN} ", "") for text in without["alder"]]
    settings = EaseSettings(ridge=1.0)
    models = [
        (
            bytes_of(ease.fit(had(one), settings, contributors=FEW).arrays()),
            bytes_of(association_fit.fit(had(one), FLAT, as_of=AS_OF, contributors=FEW).arrays()),
        )
        for one in (SOLD, other, without)
    ]
    assert models[0] == models[1] == models[2]


def test_a_pair_of_one_tenant_moves_no_number_of_a_model_for_all() -> None:
    """Baskets that hold both say no more than baskets that hold one of the two each."""
    apart = {**SOLD, "alder": [one for one in SOLD["alder"] if one != "bun tea"] + ["bun", "tea"]}
    found, other = (
        ease.fit(had(one), EaseSettings(ridge=9.0), contributors=FEW) for one in (SOLD, apart)
    )
    assert (found.support == other.support).all()
    tea, ale = codes_of(["tea", "ale"], found.items)
    assert found.effects[tea, ale] == pytest.approx(other.effects[tea, ale], abs=1e-3)
    assert found.effects[codes_of(["bun"], found.items)[0], tea] == 0
    found = association_fit.fit(had(SOLD), FLAT, as_of=AS_OF, contributors=FEW)
    at = codes_of(["bun", "tea"], found.items)
    assert found.shared[[at[0]]].toarray()[0, at[1]] == 0
    tea, ale = codes_of(["tea", "ale"], found.items)
    assert found.shared[[tea]].toarray()[0, ale] == 5


def test_a_category_is_made_of_the_pairs_that_are_kept() -> None:
    """So that no difference between it and its items tells of another pair."""
    names = {"item_id": ["bun", "jam", "tea", "ale"], "shelf": ["food", "food", "drinks", "drinks"]}
    args: Any = {"as_of": AS_OF, "categories": pa.table(names)}
    open_, shared = (
        association_fit.fit(had(SOLD), FLAT, contributors=one, **args) for one in (None, FEW)
    )
    food = shared.parent[codes_of(["bun"], shared.items)[0]]
    column = codes_of(["tea"], shared.items)[0]
    share = shared.baskets[column] / shared.total
    held = 11 + 4.0  # buns and jams, and the strength
    told = shared.fallback[[food]].toarray()[0, column]
    assert told == pytest.approx(4.0 * share / held, rel=1e-6)
    assert open_.fallback[[food]].toarray().max() > shared.fallback[[food]].toarray().max()


def test_a_rise_at_one_tenant_is_no_news_to_the_others() -> None:
    """The trend of an item takes recent baskets of enough contributors."""
    settings = AssociationSettings(strength=4.0, size_power=0.0, trend=1.0)
    old = had({tenant: ["tea ale", "ale"] * 4 for tenant in MEMBERS}, days_ago=60)
    one = had({"alder": ["tea"] * 9})
    many = had({tenant: ["tea"] * 3 for tenant in MEMBERS})
    for recent, moves in ((one, False), (many, True)):
        renamed = [f"{entity}-late" for entity in recent["entity_id"].to_pylist()]
        late = recent.set_column(1, "group_id", pa.array(renamed))
        model = association_fit.fit(
            pa.concat_tables([old, late]), settings, as_of=AS_OF, contributors=FEW
        )
        scores = model.fallback[[0]].toarray()[0]
        tea = codes_of(["tea"], model.items)[0]
        assert bool(abs(scores[tea] - model.baskets[tea] / model.total) > 1e-6) is moves


def test_similarities_without_most_pairs_can_still_be_solved() -> None:
    """Whatever is taken out: the rest is made a matrix that has a solution."""
    generator = np.random.default_rng(3)
    items = [f"i{place}" for place in range(12)]
    sold = {
        tenant: [
            " ".join(generator.permutation(items)[: 6 if tenant == "alder" else 2])
            for _ in range(60)
        ]
        for tenant in MEMBERS
    }
    model = ease.fit(had(sold), EaseSettings(ridge=0.001), contributors=Contributors(3, 8))
    assert np.isfinite(model.effects).all()
    assert np.abs(model.effects).max() < 5


def test_where_nothing_is_known_widely_enough_there_is_no_model() -> None:
    """Two tenants alone learn nothing from each other."""
    table = had({tenant: SOLD[tenant] for tenant in ("alder", "birch")})
    with pytest.raises(QualityError):
        ease.fit(table, EaseSettings(), contributors=FEW)
    with pytest.raises(QualityError):
        association_fit.fit(table, FLAT, as_of=AS_OF, contributors=FEW)
    with pytest.raises(QualityError):
        popularity.fit(table, PopularitySettings(), as_of=AS_OF, contributors=FEW)


def test_a_word_takes_texts_of_three_tenants() -> None:
    """A tenant's own words are in no vocabulary that others get, in however many texts they are."""
    texts = [f"python {tenant} n{place}" for tenant in MEMBERS for place in range(3)]
    texts += [f"canary n{place}" for place in range(9)]
    tenants = [tenant for tenant in MEMBERS for _ in range(3)] + ["alder"] * 9
    assert {"alder", "canary"} < set(inverse_document_frequencies(texts))
    kept = inverse_document_frequencies(texts, tenants, Contributors(3, 5))
    assert set(kept) == {"python"}


def test_trees_for_all_keep_no_range_of_a_feature() -> None:
    """The largest amount of one customer is in no byte, and every score is as before."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(400, 2))
    values[7, 0] = 7654321.25
    data = lightgbm.Dataset(values, (values[:, 1] > 0).astype(float), feature_name=["a", "b"])
    fitted = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    bare = without_ranges(fitted)
    assert "7654321" in booster_text(fitted)
    assert "7654321" not in booster_text(bare)
    assert (bare.predict(values) == fitted.predict(values)).all()


def test_numbers_that_are_kept_are_those_that_three_tenants_reach() -> None:
    """What one tenant alone has beyond that is brought there; of too few, nothing is known."""
    tenants = np.array([tenant for tenant in MEMBERS for _ in range(2)])
    values = np.array([[1, 1], [999, 2], [2, 3], [50, 4], [3, np.nan], [71.377, np.nan]])
    found = FEW.numbers(values, tenants)
    assert found[:, 0].tolist() == [3, 50, 3, 50, 3, 50]
    assert np.isnan(found[:, 1]).all()
    apart = np.array([[0.0], [-12.34], [0.00456]])
    assert np.isnan(FEW.numbers(apart, np.array(MEMBERS))).all()
