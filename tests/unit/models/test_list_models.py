"""Item models as they serve: their bytes, what they refuse, and whose items they list."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import IntegrityError
from include.models import arrays, association_fit, ease, popularity
from include.models.association import AssociationSettings
from include.models.diversity import Variety
from include.models.ease import Ease, EaseSettings
from include.models.list_models import (
    AssociationPredictor,
    EasePredictor,
    OwnHistoryPredictor,
    PopularityPredictor,
)
from include.models.model import Model
from include.models.playlist import TREND, Blend, Columns
from include.models.popularity import PopularitySettings
from include.models.serialise import from_bytes, to_bytes

AT, AS_OF = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
COLUMNS = Columns("liking", "days", "kind", 7.0)


def history(users: int = 30, items: int = 12, seed: int = 1) -> pa.Table:
    """Some users, of whom the odd ones like the second half of the items."""
    generator = np.random.default_rng(seed)
    chance = np.where((np.arange(users)[:, None] % 2) == (np.arange(items) >= items // 2), 0.7, 0.1)
    rows, columns = np.nonzero(generator.random((users, items)) < chance)
    return pa.table(
        {
            "entity_id": [f"u{row:02}" for row in rows],
            "item_id": [f"i{column:02}" for column in columns],
            "liking": generator.integers(-1, 4, len(rows)).astype(float),
            "days": generator.uniform(0, 30, len(rows)),
            "kind": [f"k{column % 3}" for column in columns],
            "as_of": pa.array([AS_OF] * len(rows)),
        }
    )


PAST = history()
STAMPED = PAST.append_column("event_timestamp", pa.array([AT] * PAST.num_rows))
BASKETS = STAMPED.rename_columns(["group_id", *STAMPED.column_names[1:]])


def eased() -> Model:
    fitted = ease.fit(PAST, EaseSettings(ridge=3.0, weight="liking"))
    predictor = EasePredictor(fitted, Blend(1.0, 1.0, 0.5), COLUMNS, Variety(0.8, 0.1, 0.3, 7))
    return Model("ease", ("liking",), predictor, {"ridge": 3.0})


def varied(model: Model, **changes: float) -> Model:
    """The model with another variety."""
    assert isinstance(model.predictor, EasePredictor)
    return replace(model, predictor=replace(model.predictor, variety=Variety(**changes)))  # type: ignore[arg-type]


def bought_together() -> Model:
    settings = AssociationSettings(strength=2.0)
    kinds = pa.table({"item_id": [f"i{n:02}" for n in range(12)], "kind": ["a", "b", "c"] * 4})
    fitted = association_fit.fit(BASKETS, settings, as_of=AS_OF, categories=kinds)
    return Model("bought_together", ("liking",), AssociationPredictor(fitted), {})


def popular() -> Model:
    fitted = popularity.fit(STAMPED, PopularitySettings(days=0.0), as_of=AS_OF)
    return Model("popularity", ("liking",), PopularityPredictor(fitted), {})


def own_history() -> Model:
    return Model("own_history", ("liking",), OwnHistoryPredictor("liking"), {})


KINDS = (eased, bought_together, popular, own_history)
Make = Callable[[], Model]


@pytest.mark.parametrize("make", KINDS)
def test_a_model_comes_back_with_the_same_lists_and_bytes(make: Make) -> None:
    """For users it has learnt from and for others."""
    model = make()
    content = to_bytes(model)
    again = from_bytes(content)
    assert to_bytes(again) == content == to_bytes(make())
    for asked in (PAST, history(seed=2)):
        lists = model.recommend(asked, 5)
        assert lists.num_rows > 20
        assert again.recommend(asked, 5).equals(lists)


@pytest.mark.parametrize("make", KINDS)
def test_lists_hold_only_what_the_asking_tenant_has_had(make: Make) -> None:
    """A shared model, or an old one, knows items that are not this tenant's, or are gone."""
    wanted = {"i01", "i02", "i03", "i08"}
    theirs = PAST.filter(pa.array([item in wanted for item in PAST["item_id"].to_pylist()]))
    lists = make().recommend(theirs, 10)
    assert lists.num_rows
    assert set(lists["item_id"].to_pylist()) <= wanted


@pytest.mark.parametrize("make", KINDS)
def test_lists_are_as_long_as_asked_for_and_fall(make: Make) -> None:
    """At most so many different items per entity, the best first."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in make().recommend(PAST, 3).to_pylist():
        found.setdefault(row["entity_id"], []).append((row["item_id"], row["score"]))
    for one in found.values():
        items, scores = zip(*one, strict=True)
        assert len(one) <= 3
        assert len(set(items)) == len(items)
        assert list(scores) == sorted(scores, reverse=True)


@pytest.mark.parametrize("make", KINDS)
def test_nobody_gets_no_lists(make: Make) -> None:
    """An empty history is answered with an empty table of the same columns."""
    found = make().recommend(PAST.slice(0, 0), 10)
    assert (found.num_rows, found.column_names) == (0, ["entity_id", "item_id", "score"])


def test_variety_brings_in_other_categories() -> None:
    """With less weight on relevance a list has at least as many of them, and others have more."""
    model = eased()
    plain = varied(model)
    kind = dict(zip(PAST["item_id"].to_pylist(), PAST["kind"].to_pylist(), strict=True))

    def kinds(one: Model) -> list[int]:
        found: dict[str, set[str]] = {}
        for row in one.recommend(PAST, 3).to_pylist():
            found.setdefault(row["entity_id"], set()).add(kind[row["item_id"]])
        return [len(found[entity]) for entity in sorted(found)]

    assert sum(kinds(model)) > sum(kinds(plain))


def test_novelty_brings_in_what_fewer_have_had() -> None:
    """The more of it, the less everybody has had what lists hold."""
    had = Counter(PAST["item_id"].to_pylist())

    def fame(novelty: float) -> float:
        lists = varied(eased(), novelty=novelty).recommend(PAST, 3)
        return float(np.mean([had[item] for item in lists["item_id"].to_pylist()]))

    assert fame(0.0) > fame(0.5) > fame(1.0)


def test_lists_stay_all_week_and_change_with_it() -> None:
    """Tuesday's are Sunday's, and next Monday's others; without chance nothing changes."""
    place = PAST.column_names.index("as_of")

    def at(day: int, chance: float) -> pa.Table:
        instants = pa.array([datetime(2024, 4, day, tzinfo=UTC)] * PAST.num_rows)
        return varied(eased(), chance=chance).recommend(
            PAST.set_column(place, "as_of", instants), 3
        )

    assert at(2, 1.0).equals(at(7, 1.0))
    assert not at(7, 1.0).equals(at(8, 1.0))
    assert at(7, 0.0).equals(at(8, 0.0))


def test_an_entity_that_only_turned_things_down_has_a_list_all_the_same() -> None:
    """Of what is about, without what it turned down."""
    rows = {"entity_id": ["new"] * 2, "item_id": ["i00", "i01"], "liking": [-1.0, -2.0]}
    new = pa.table({**rows, "days": [1.0] * 2, "kind": ["k0", "k1"], "as_of": [AS_OF] * 2})
    lists = eased().recommend(pa.concat_tables([PAST, new]), 5).to_pylist()
    items = [row["item_id"] for row in lists if row["entity_id"] == "new"]
    assert len(items) == 5
    assert not {"i00", "i01"} & set(items)


def test_an_ease_without_items_is_kept_like_any_other() -> None:
    """A tenant of whom nobody liked anything has a model, too."""
    nothing = Ease(EaseSettings(), (), np.empty(0, np.int64), np.empty((0, 0)), ())
    model = Model("ease", ("liking",), EasePredictor(nothing, TREND, COLUMNS), {})
    again = from_bytes(to_bytes(model))
    assert again.recommend(PAST, 5).equals(model.recommend(PAST, 5))


def tampered(make: Make, **changes: Any) -> bytes:
    """The model with parts of its payload replaced; dots in a name lead inside."""
    document = json.loads(to_bytes(make()))
    for path, value in changes.items():
        place = document["payload"]
        *above, last = path.split("__")
        for name in above:
            place = place[name]
        place[last] = value
    return json.dumps(document).encode()


def packed(**changes: Any) -> str:
    """EASE's arrays with some replaced, in base64."""
    found = dict(eased().predictor.ease.arrays()) | changes  # type: ignore[union-attr]
    return base64.b64encode(arrays.to_bytes(found)).decode()


EASE_ARRAYS = json.loads(to_bytes(eased()))["payload"]["ease"]["arrays"]
HOSTILE = {
    "a blend with another expert": tampered(eased, blend__code="import os"),
    "a blend of text": tampered(eased, blend={"trend": "1", "taste": 1.0, "likeness": 1.0}),
    "a weight below zero": tampered(eased, blend__trend=-1.0),
    "a weight that is no number": tampered(eased, blend__trend=float("nan")),
    "a weight without bounds": tampered(eased, blend__trend=1e300),
    "true for a weight": tampered(eased, blend__trend=True),
    "no blend": tampered(eased, blend=None),
    "a list for a blend": tampered(eased, blend=["trend", "taste", "likeness"]),
    "a column that is no name": tampered(eased, columns__weight=["liking"]),
    "no days": tampered(eased, columns__lately=0.0),
    "days without end": tampered(eased, columns__lately=float("inf")),
    "relevance above one": tampered(eased, variety__relevance=1.5),
    "a chance that is no number": tampered(eased, variety__chance=float("nan")),
    "a seed that is no whole number": tampered(eased, variety__seed=1.5),
    "no variety": tampered(eased, variety=None),
    "another key": tampered(eased, code="x"),
    "no base64": tampered(eased, ease__arrays="ä" + EASE_ARRAYS),
    "base64 with blanks": tampered(eased, ease__arrays=EASE_ARRAYS + "\n"),
    "no arrays": tampered(eased, ease__arrays=""),
    "arrays of numbers": tampered(eased, ease__arrays=[1, 2]),
    "half of the arrays": tampered(eased, ease__arrays=EASE_ARRAYS[: len(EASE_ARRAYS) // 8 * 4]),
    "effects that are not finite": tampered(
        eased, ease__arrays=packed(effects=np.full((12, 12), np.inf, "<f2"))
    ),
    "effects of another shape": tampered(
        eased, ease__arrays=packed(effects=np.zeros((3, 12), "<f2"))
    ),
    "an item that affects itself": tampered(
        eased, ease__arrays=packed(effects=np.eye(12, dtype="<f2"))
    ),
    "a header without settings": tampered(eased, ease__header={}),
    "a setting out of bounds": tampered(eased, ease__header__ridge=-5.0),
    "a header that is text": tampered(bought_together, header="x"),
    "a total of no baskets": tampered(bought_together, header__total=0),
    "arrays of another model": tampered(bought_together, arrays=EASE_ARRAYS),
    "popular by EASE": tampered(popular, arrays=EASE_ARRAYS),
    "popular in another way": tampered(popular, header__kind="paid for"),
    "a weight that is a number": tampered(own_history, weight=1),
    "own history with more": tampered(own_history, code="x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_are_refused(name: str) -> None:
    """Whatever is none of our item models is an integrity error, before it answers anybody."""
    with pytest.raises(IntegrityError):
        from_bytes(HOSTILE[name])


@pytest.mark.parametrize("make", KINDS)
def test_a_payload_of_another_kind_is_refused(make: Make) -> None:
    """A kind's name alone makes no model of it."""
    document = json.loads(to_bytes(make()))
    for other in {"ease", "bought_together", "popularity", "own_history"} - {document["kind"]}:
        with pytest.raises(IntegrityError):
            from_bytes(json.dumps({**document, "kind": other}).encode())


def test_a_predictor_itself_refuses_what_is_no_payload() -> None:
    """Also where nobody stands between it and the bytes."""
    for kind in (EasePredictor, AssociationPredictor, PopularityPredictor, OwnHistoryPredictor):
        hostile: tuple[Any, ...] = (None, [], "x", {"header": {}, "arrays": "ä"})
        for payload in hostile:
            with pytest.raises(IntegrityError):
                kind.from_payload(payload)
