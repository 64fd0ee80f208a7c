"""The look at a model for all: what single tenants have is found in it, and nothing else is."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from include import use_cases
from include.models import arrays, association_fit, ease, popularity
from include.models.association import AssociationSettings
from include.models.baselines import baseline_model
from include.models.contributors import Contributors
from include.models.ease import EaseSettings
from include.models.estimators import LightGBMPredictor, PipelinePredictor
from include.models.list_models import AssociationPredictor, EasePredictor, PopularityPredictor
from include.models.model import Model
from include.models.playlist import Blend, Columns
from include.models.popularity import PopularitySettings
from include.models.serialise import to_bytes
from include.models.text_match import TextMatchPredictor
from include.registry.leaks import Look, Told, ordinary, reason
from include.registry.unpacking import unpacked

CANARY = "only-alder-0"
MEMBERS = ("alder", "birch", "cedar")
COLUMNS = ("recency__days", "spend__sum")


def looks(
    contents: list[bytes], texts: Mapping[str, list[str]], *declared: object
) -> tuple[str, ...]:
    """The columns of which one model, of some files, holds too rare a text."""

    def told(_: Mapping[str, Any]) -> Iterator[Told]:
        for tenant, some in texts.items():
            yield Told(tenant, "item_id", pa.array(some, pa.string()))

    return Look(told, ordinary(*declared), ("user_id",), 3).find([contents], {})[0]


def of(content: object, packed: Callable[[bytes], bytes] = bytes) -> bytes:
    return packed(json.dumps(content).encode())


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", content)
    return out.getvalue()


def zstandard(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def npz(**named: Any) -> bytes:
    return arrays.to_bytes(named)


WAYS: dict[str, Callable[[str], bytes]] = {
    "a value": lambda text: of({"payload": {"items": [text]}}),
    "a key": lambda text: of({"payload": {text: 1.0}}),
    "part of a value": lambda text: of({"payload": f"alder/{text}@2024"}),
    "base64": lambda text: of({"payload": base64.b64encode(of([text] * 3)).decode()}),
    "zip in base64": lambda text: of({"payload": base64.b64encode(zipped(of([text]))).decode()}),
    "gzip": lambda text: gzip.compress(of([text])),
    "zstandard": lambda text: zstandard(of([text])),
    "a list of texts": lambda text: npz(**arrays.from_texts(["tea", text, "ale"], "items")),
    "letters as numbers": lambda text: npz(weird=np.frombuffer(text.encode(), np.uint8)),
    "npz in base64": lambda text: of(
        {"arrays": base64.b64encode(npz(**arrays.from_texts([text], "left_out"))).decode()}
    ),
    "a column": lambda text: parquet(category=["tea", text]),
    "a dictionary": lambda text: parquet(category=pa.array(["tea", text]).dictionary_encode()),
    "coded ids that are not": lambda text: parquet(user_id=["0", text]),
    "the text of trees": lambda text: of({"payload": f"tree\nversion=v4\nx={text} 1\n"}),
    "escaped": lambda text: json.dumps({"payload": [f"ü{text}ü"]}).encode("ascii"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_one_or_two_tenants_have_is_found_however_it_is_packed(way: str) -> None:
    """As a whole and in parts; what three have is nobody's."""
    content = WAYS[way](CANARY)
    assert looks([content], {"alder": [CANARY]}) == ("item_id",)
    assert looks([content], {name: [CANARY] for name in MEMBERS[:2]}) == ("item_id",)
    assert looks([content], {name: [CANARY] for name in MEMBERS}) == ()
    assert looks([content], {"alder": ["only-alder-1"]}) == ()


@pytest.mark.parametrize("text", ["17", "tea", "жито", "x"])
def test_a_short_text_is_found_as_a_whole_and_not_in_numbers(text: str) -> None:
    """Seventeen trees are no item 17."""
    texts = {"alder": [text]}
    assert looks([of({"items": ["ale", text]})], texts) == ("item_id",)
    assert looks([of({"payload": f"tree\nversion=v4\nx={text} {text}\n", "n": 17})], texts) == ()
    assert looks([parquet(user_id=[text, "1"])], texts) == ()


@pytest.mark.parametrize(
    "text",
    ["leaf_value", "2024-01-01", "2024-06-03T00:00:00+00:00", "category", "seed"],
)
def test_what_declarations_and_formats_say_is_no_leak(text: str) -> None:
    """A shop that calls its colour `leaf_value` does not end the global model."""
    case = use_cases.get("churn")
    model = {"parameters": {"seed": 1, "trained_until": "2024-06-03T00:00:00+00:00"}}
    content = of({**model, "payload": "tree\nversion=v4\nleaf_value=1\ncategory sklearn.x"})
    assert looks([content], {"alder": [text]}, case, tuple(case.feature_columns)) == ()


@pytest.mark.parametrize("text", ["items_utf8", "left_out_utf8"])
def test_the_name_of_an_array_is_no_leak(text: str) -> None:
    """The arrays of an item model stand in its bytes by name."""
    content = to_bytes(list_models(Contributors())["ease"])
    assert looks([content], {"alder": [text]}) == ()


def test_a_name_in_the_declarations_is_no_leak() -> None:
    """As an event or a feature is called, an item may be called."""
    case = use_cases.get("churn")
    for text in ("Order Completed", *case.feature_columns):
        assert looks([of([text])], {"alder": [text]}, case, tuple(case.feature_columns)) == ()


def test_a_part_of_what_three_tenants_have_is_no_leak() -> None:
    """Who knows two skills of three that are common tells nothing; as a whole text it would."""
    wide, part = "python-3 airflow-2 kubernetes-1", "python-3 airflow-2"
    texts = {name: [wide] for name in MEMBERS}
    texts["alder"] = [wide, part]
    assert looks([of([wide])], texts) == ()
    assert looks([parquet(skills=[wide, "tea"])], texts) == ()
    assert looks([of([wide, part])], texts) == ("item_id",)
    assert looks([of([f"{part} x"])], texts) == ("item_id",)


def test_what_cannot_be_read_is_not_passed_over() -> None:
    """A broken archive, and one that is packed too deeply, count as leaks."""
    broken = looks([b"PK\x03\x04 and no more"], {})
    assert len(broken) == 1
    assert "cannot be read" in broken[0]
    content = of([CANARY])
    for _ in range(12):
        content = gzip.compress(content)
    (told,) = looks([content], {})
    assert "too deeply" in told


def test_a_reason_names_columns_and_no_text() -> None:
    """The ledger is read by people whom the text does not concern."""
    told = reason("global/ease", [f"column{place}" for place in range(7)], 3)
    assert told.startswith("global/ease is refused")
    assert "fewer than 3 tenants have: column0, column1, column2, column3, column4, …" in told


def test_many_texts_are_looked_for_in_one_pass() -> None:
    """Each is compared with what there is, and only the few that may be there are searched for."""
    content = npz(effects=np.random.default_rng(0).normal(size=(300, 300)).astype("<f4"))
    texts = [f"customer-{place:07}" for place in range(200_000)]
    model = of({"arrays": base64.b64encode(content).decode(), "items": [f"x{texts[777]}y"]})
    assert looks([model], {"alder": texts}) == ("item_id",)
    assert looks([model], {"alder": texts[:777]}) == ()


def baskets() -> pa.Table:
    """Three tenants sell ten items alike; the first one also sells what nobody else does."""
    rows = [
        (f"{tenant}/b{place}", f"i{(place * 7 + step) % 10}")
        for tenant in MEMBERS
        for place in range(40)
        for step in range(3)
    ] + [(f"alder/b{place}", CANARY) for place in range(40)]
    at = datetime(2024, 3, 1, tzinfo=UTC) - timedelta(days=1)
    return pa.table(
        {
            "entity_id": [row[0] for row in rows],
            "group_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "event_timestamp": pa.array([at] * len(rows), pa.timestamp("us", "UTC")),
        }
    )


def list_models(contributors: Contributors | None) -> dict[str, Model]:
    table, at = baskets(), datetime(2024, 3, 1, tzinfo=UTC)
    settings = AssociationSettings()
    together = association_fit.fit(table, settings, as_of=at, contributors=contributors)
    liked = ease.fit(table, EaseSettings(most_items=8), contributors=contributors)
    popular = popularity.fit(table, PopularitySettings(), as_of=at, contributors=contributors)
    blend, columns = Blend(1.0, 0.5, 1.0), Columns("", "", "", 7.0)
    return {
        "bought_together": Model(
            "bought_together", COLUMNS[:1], AssociationPredictor(together), {}
        ),
        "ease": Model("ease", COLUMNS[:1], EasePredictor(liked, blend, columns), {}),
        "popularity": Model("popularity", COLUMNS[:1], PopularityPredictor(popular), {}),
    }


@pytest.mark.parametrize("kind", ["bought_together", "ease", "popularity"])
def test_an_item_model_that_was_fitted_without_the_rule_is_found_out(kind: str) -> None:
    """The look needs no help from the estimator; fitted by the rule, it passes."""
    texts = {
        tenant: [f"i{n}" for n in range(10)] + ([CANARY] if tenant == "alder" else [])
        for tenant in MEMBERS
    }
    assert looks([to_bytes(list_models(None)[kind])], texts) == ("item_id",)
    assert looks([to_bytes(list_models(Contributors())[kind])], texts) == ()


def row_models() -> dict[str, Model]:
    values = np.random.default_rng(3).normal(size=(200, 2))
    label = (values[:, 0] > 0).astype(int)
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(random_state=1),
    ).fit(values, label)
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    data = lightgbm.Dataset(values, label, feature_name=list(COLUMNS))
    booster = LightGBMPredictor(COLUMNS, lightgbm.train(settings, data, 3))
    named = lightgbm.Dataset(values, label, feature_name=[COLUMNS[0], "similarity"])
    match = LightGBMPredictor(("x", "similarity"), lightgbm.train(settings, named, 3))
    return {
        "logistic": Model("logistic", COLUMNS, PipelinePredictor(COLUMNS, pipeline), {"C": 1.0}),
        "lightgbm": Model("lightgbm", COLUMNS, booster, {"rounds": 3, "objective": "binary"}),
        "text_match": Model(
            "text_match",
            (COLUMNS[0], "skills", "needs"),
            TextMatchPredictor((COLUMNS[0], "skills", "needs"), {"python": 1.5}, match),
            {},
        ),
        "baseline": baseline_model({"column": COLUMNS[0], "descending": True, "then": ""}),
    }


def test_a_word_of_one_tenant_is_found_among_those_of_a_text_match() -> None:
    """The words are keys of its document."""
    content = to_bytes(row_models()["text_match"])
    assert looks([content], {"alder": ["python"]}) == ("item_id",)


def test_every_word_that_models_are_written_with_is_known() -> None:
    """Else a tenant that has a text like it, an item `steps` or `drop`, would end the global
    model."""
    known = ordinary((*COLUMNS, "x", "skills", "needs", "python"))
    for name, model in (row_models() | list_models(Contributors())).items():
        texts = unpacked([to_bytes(model)]).texts - {f"i{place}" for place in range(10)}
        unknown = {text for text in texts if not text.startswith("tree\nversion=")} - known - {""}
        assert not {text for text in unknown if not text.isdigit()}, name
