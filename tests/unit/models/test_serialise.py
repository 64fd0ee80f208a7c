"""Models as bytes: they come back the same, and nothing else comes in."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from include.errors import IntegrityError
from include.models import serialise
from include.models.baselines import baseline_model
from include.models.estimators import LightGBMPredictor, PipelinePredictor
from include.models.model import Model
from include.models.serialise import from_bytes, to_bytes

COLUMNS = ("recency__days", "spend__sum")
GENERATOR = np.random.default_rng(3)
VALUES = GENERATOR.normal(size=(200, 2))
LABEL = (VALUES[:, 0] + GENERATOR.normal(size=200) > 0).astype(int)
FEATURES = pa.table({name: VALUES[:, i] for i, name in enumerate(COLUMNS)})


def logistic() -> Model:
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(random_state=1),
    ).fit(VALUES, LABEL)
    return Model("logistic", COLUMNS, PipelinePredictor(COLUMNS, pipeline), {"C": 1.0})


def trees() -> Model:
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1, "deterministic": True}
    data = lightgbm.Dataset(VALUES, LABEL, feature_name=list(COLUMNS))
    booster = lightgbm.train(settings, data, 10)
    return Model("lightgbm", COLUMNS, LightGBMPredictor(COLUMNS, booster), {"rounds": 10})


def baseline() -> Model:
    return baseline_model({"column": COLUMNS[0], "descending": True, "then": COLUMNS[1]})


@pytest.mark.parametrize("make", [logistic, trees, baseline])
def test_a_model_comes_back_with_the_same_predictions_and_bytes(make: Any) -> None:
    """Reading and writing again changes neither scores nor digest."""
    model = make()
    content = to_bytes(model)
    back = from_bytes(content)
    assert (back.kind, back.columns, dict(back.parameters)) == (
        model.kind,
        model.columns,
        dict(model.parameters),
    )
    assert np.array_equal(back.predict(FEATURES), model.predict(FEATURES))
    assert to_bytes(back) == content


@pytest.mark.parametrize("make", [logistic, trees])
def test_fitting_twice_gives_the_same_bytes(make: Any) -> None:
    """Neither addresses nor the time of day stand in the bytes."""
    assert to_bytes(make()) == to_bytes(make())


def test_a_model_predicts_nothing_for_no_rows() -> None:
    """An empty table gives an empty answer of the right shape."""
    for make in (logistic, trees, baseline):
        assert make().predict(FEATURES.slice(0, 0)).shape == (0,)


@pytest.mark.parametrize("make", [logistic, trees, baseline])
def test_missing_and_infinite_features_give_finite_scores(make: Any) -> None:
    """A hole in the data is no reason to fail or to score NaN."""
    holes = pa.table({name: [None, float("inf"), float("-inf"), -1e300] for name in COLUMNS})
    holes = holes.cast(pa.schema([(name, pa.float64()) for name in COLUMNS]))
    assert np.isfinite(make().predict(holes)).all()


def test_a_falling_baseline_ranks_the_smallest_first_and_a_rising_one_last() -> None:
    """The direction is the declared one, ties are broken by the second column."""
    table = pa.table({"count": [0.0, 2.0, 2.0], "popular": [9.0, 1.0, 5.0]})
    falling = baseline_model({"column": "count", "descending": True, "then": ""})
    rising = baseline_model({"column": "count", "descending": False, "then": "popular"})
    assert np.argmax(falling.predict(table)) == 0
    assert np.argsort(-rising.predict(table)).tolist() == [2, 1, 0]


def tampered(model: Model, **changes: Any) -> bytes:
    return json.dumps({**json.loads(to_bytes(model)), **changes}).encode()


def archive_of(pipeline: Any) -> str:
    return base64.b64encode(skops.io.dumps(pipeline)).decode()


class Bomb:
    """A pickle that would leave a mark if anybody loaded it."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('executed')",))


HOSTILE = {
    "pickle": pickle.dumps(Bomb()),
    "nothing": b"",
    "not text": b"\xff\xfe\x00",
    "no document": b"[]",
    "nested": b"[" * 100_000,
    "a number": b"NaN",
    "unknown kind": tampered(baseline(), kind="pickle"),
    "kind of another type": tampered(baseline(), kind=["baseline"]),
    "unknown format": tampered(baseline(), format="tenantry-model/9"),
    "another key": tampered(baseline(), code="import os"),
    "no columns": tampered(baseline(), columns=[]),
    "columns twice": tampered(baseline(), columns=["a", "a"]),
    "columns of another type": tampered(baseline(), columns=[1, 2]),
    "baseline with a payload": tampered(baseline(), payload="x"),
    "baseline of another column": tampered(baseline(), columns=["other", COLUMNS[1]]),
    "baseline without a column": tampered(baseline(), parameters={}),
    "pickle as skops": tampered(
        logistic(), payload=base64.b64encode(pickle.dumps(Bomb())).decode()
    ),
    "no base64": tampered(logistic(), payload="ä"),
    "skops of another width": tampered(logistic(), columns=["a", "b", "c"]),
    "trees as skops": tampered(trees(), kind="logistic"),
    "skops as trees": tampered(logistic(), kind="lightgbm"),
    "trees of other columns": tampered(trees(), columns=["a", "b"]),
    "half the trees": tampered(trees(), payload=json.loads(to_bytes(trees()))["payload"][:900]),
    "no trees": tampered(trees(), payload=""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name: str) -> None:
    """Whatever is no model of ours is an integrity error, and nothing of it runs."""
    with pytest.raises(IntegrityError):
        from_bytes(HOSTILE[name])


@pytest.mark.parametrize("make", [logistic, trees, baseline])
def test_every_truncation_is_refused(make: Any) -> None:
    """A half-written file is never a model."""
    content = to_bytes(make())
    for length in range(0, len(content), max(1, len(content) // 60)):
        with pytest.raises(IntegrityError):
            from_bytes(content[:length])


@pytest.mark.parametrize(
    "pipeline",
    [
        RandomForestClassifier(n_estimators=2, random_state=1).fit(VALUES, LABEL),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(abs(VALUES), LABEL),
        {"a": [1, 2]},
        Pipeline,
    ],
    ids=["forest", "function", "mapping", "class"],
)
def test_types_that_are_not_on_our_list_are_refused_before_loading(pipeline: Any) -> None:
    """What skops itself would trust is not enough."""
    with pytest.raises(IntegrityError):
        from_bytes(tampered(logistic(), payload=archive_of(pipeline)))


def test_an_archive_that_unpacks_too_large_is_refused() -> None:
    """A zip bomb is measured before it is unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("0.npy", b"\0" * (40 * 1024 * 1024))
    text = base64.b64encode(packed.getvalue()).decode()
    with pytest.raises(IntegrityError, match="unpacks"):
        from_bytes(tampered(logistic(), payload=text))


def test_a_model_beyond_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size is checked first."""
    monkeypatch.setattr(serialise, "LARGEST", 10)
    with pytest.raises(IntegrityError, match="the most is 10"):
        from_bytes(to_bytes(baseline()))


def test_a_kind_without_a_format_cannot_be_written() -> None:
    """Nobody stores what nobody could read."""
    strange = Model("forest", COLUMNS, baseline().predictor, {})
    with pytest.raises(IntegrityError, match="forest"):
        to_bytes(strange)


@settings(max_examples=60)
@given(st.sampled_from([logistic, trees, baseline]), st.data())
def test_a_changed_byte_gives_a_model_or_an_integrity_error(make: Any, data: st.DataObject) -> None:
    """Damage never surfaces as another error."""
    content = bytearray(to_bytes(_made(make)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 127))
    try:
        model = from_bytes(bytes(content))
    except IntegrityError:
        return
    assert model.kind in serialise.KINDS


_MODELS: dict[Any, Model] = {}


def _made(make: Any) -> Model:
    return _MODELS.setdefault(make, make())
