"""How texts of a row are likened, and trees that read it."""

from __future__ import annotations

import json
import math

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import IntegrityError
from include.models.estimators import LightGBMPredictor
from include.models.text_match import (
    SIMILARITY,
    TextMatchPredictor,
    inverse_document_frequencies,
    similarities,
    words,
)

SKILLS = ["python sql", "python spark", "sales negotiation", "sales crm", "sql", "crm"]


def test_names_of_technologies_are_words() -> None:
    """Signs that belong to a name stay, punctuation around it goes."""
    assert words("C++, C# and Node.js - or SQL.") == [
        "c++", "c#", "and", "node.js", "or", "sql"
    ]  # fmt: skip


def test_texts_are_alike_by_the_rare_words_they_share() -> None:
    """Equal texts 1, nothing in common 0, a missing text unknown."""
    weights = inverse_document_frequencies(SKILLS)
    left = ["python sql", "python sql", "python sql", None, "python"]
    right = ["sql python", "sales crm", "python spark", "sql", "python"]
    same, other, part, missing, _ = similarities(weights, left, right).tolist()
    assert same == pytest.approx(1.0)
    assert other == 0.0
    assert 0 < part < 1
    assert math.isnan(missing)


def test_a_word_of_one_text_only_is_not_learnt() -> None:
    """It could match nothing that training has seen."""
    assert "negotiation" not in inverse_document_frequencies(SKILLS)


@given(st.lists(st.one_of(st.none(), st.text("ab cd", max_size=8)), min_size=1, max_size=8))
def test_likeness_is_symmetric_and_at_most_one(texts: list[str | None]) -> None:
    """Whatever the texts are."""
    weights = inverse_document_frequencies([*SKILLS, "a b", "a b c", *texts])
    forth = similarities(weights, texts, texts[::-1])
    back = similarities(weights, texts[::-1], texts)
    np.testing.assert_allclose(forth, back)
    known = forth[~np.isnan(forth)]
    assert ((known >= 0) & (known <= 1 + 1e-12)).all()


def predictor() -> TextMatchPredictor:
    draw = np.random.default_rng(3)
    values = draw.random((200, 2))
    data = lightgbm.Dataset(
        values, (values[:, 1] > 0.5).astype(float), feature_name=["x", SIMILARITY]
    )
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    trees = LightGBMPredictor(("x", SIMILARITY), booster)
    return TextMatchPredictor(("x", "mine", "theirs"), inverse_document_frequencies(SKILLS), trees)


def test_the_likeness_moves_the_score_and_survives_storage() -> None:
    """A row whose texts go together scores higher, before and after."""
    before = predictor()
    features = pa.table(
        {"x": [0.5, 0.5], "mine": ["python sql"] * 2, "theirs": ["sql python", "sales crm"]}
    )
    after = TextMatchPredictor.from_payload(
        before.columns, json.loads(json.dumps(before.payload()))
    )
    scores = after.predict(features)
    assert scores[0] > scores[1]
    assert scores.tolist() == before.predict(features).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"a": math.inf}},
        {"weights": {"a": "1"}},
        {"weights": []},
        {"trees": 1},
        {"more": 1},
    ],
)
def test_a_strange_payload_is_refused(change: dict[str, object]) -> None:
    """Nothing but what was written is read."""
    with pytest.raises(IntegrityError):
        TextMatchPredictor.from_payload(("x", "a", "b"), predictor().payload() | change)
