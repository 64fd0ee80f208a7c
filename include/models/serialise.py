"""Models as bytes: one JSON document, deterministic, in which nothing can execute.

`{"format", "kind", "columns", "parameters", "payload"}`: what the payload is, each family of models
says in its own file. Callers verify the digest before they come here; this module nevertheless
trusts no byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from include.errors import IntegrityError
from include.models import skops_archive
from include.models.baselines import BaselinePredictor, baseline_model
from include.models.ecod import EcodPredictor
from include.models.estimators import LightGBMPredictor, PipelinePredictor
from include.models.forecast import ForecastPredictor
from include.models.lightgbm_text import booster_text, read_booster
from include.models.list_models import (
    AssociationPredictor,
    EasePredictor,
    OwnHistoryPredictor,
    PopularityPredictor,
)
from include.models.model import ListPredictor, Model, Predictor
from include.models.recalibrated import RecalibratedPredictor
from include.models.residual import ResidualPredictor
from include.models.text_match import TextMatchPredictor

FORMAT: Final = "tenantry-model/1"
LARGEST: Final = 64 * 1024 * 1024  #: bytes
_KEYS: Final = {"format", "kind", "columns", "parameters", "payload"}
_LARGEST_COLUMNS: Final = 10_000

Columns = tuple[str, ...]


@dataclass(frozen=True)
class _Format:
    """How the predictors of a kind become JSON, and come back from it."""

    dump: Callable[[Any], Any]
    #: From columns, payload and parameters; raises IntegrityError where they are not what was
    #: dumped. What else a parser raises on hostile input is caught here.
    load: Callable[[Columns, Any, Mapping[str, Any]], Predictor | ListPredictor]
    words: Collection[str]  #: names and texts in the bytes, which are no data of anybody's


def to_bytes(model: Model) -> bytes:
    """The model as JSON; equal models give equal bytes.

    Raises:
        IntegrityError: the kind of model has no format here.
    """
    return json.dumps(to_document(model), sort_keys=True, allow_nan=False).encode()


def to_document(model: Model) -> dict[str, Any]:
    """The model in JSON's types, for a model that contains it; `from_document` reads it back."""
    if model.kind not in KINDS:
        raise IntegrityError(
            f"no format for models of kind {model.kind!r}; known: {', '.join(KINDS)}"
        )
    return {
        "format": FORMAT,
        "kind": model.kind,
        "columns": list(model.columns),
        "parameters": dict(model.parameters),
        "payload": KINDS[model.kind].dump(model.predictor),
    }


def from_bytes(content: bytes) -> Model:
    """The model in the bytes.

    Raises:
        IntegrityError: they are not a model of ours, whatever they are.
    """
    if len(content) > LARGEST:
        raise IntegrityError(f"a model of {len(content):,} bytes; the most is {LARGEST:,}")
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise IntegrityError("these bytes are no model: not a JSON document") from None
    return from_document(document)


def from_document(document: Any) -> Model:
    """The model in a document of ours.

    Raises:
        IntegrityError: it is none.
    """
    _check(document)
    kind, columns = document["kind"], tuple(document["columns"])
    parameters, payload = document["parameters"], document["payload"]
    try:
        predictor = KINDS[kind].load(columns, payload, parameters)
    except IntegrityError:
        raise
    except Exception as error:  # parsers of hostile input raise what they like
        raise IntegrityError(f"the {kind} model cannot be read: {type(error).__name__}") from None
    return Model(kind, columns, predictor, parameters)


def _check(document: Any) -> None:
    if not isinstance(document, dict) or set(document) != _KEYS:
        raise IntegrityError(f"a model document has exactly the keys {', '.join(sorted(_KEYS))}")
    if document["format"] != FORMAT:
        raise IntegrityError(f"model format {str(document['format'])[:40]!r} is not {FORMAT!r}")
    if not isinstance(document["kind"], str) or document["kind"] not in KINDS:
        raise IntegrityError(
            f"unknown kind of model {str(document['kind'])[:40]!r}; known: {', '.join(KINDS)}"
        )
    columns = document["columns"]
    named = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if not named or not 0 < len(columns) <= _LARGEST_COLUMNS or len(set(columns)) < len(columns):
        raise IntegrityError("a model's columns are a list of different names")
    if not isinstance(document["parameters"], dict) or not isinstance(
        document["payload"], str | dict
    ):
        raise IntegrityError("a model's parameters are a mapping, its payload text or a mapping")


def _lightgbm(columns: Columns, payload: Any, _: Mapping[str, Any]) -> Predictor:
    return LightGBMPredictor(columns, read_booster(_text(payload), columns))


def _logistic(columns: Columns, payload: Any, _: Mapping[str, Any]) -> Predictor:
    return PipelinePredictor(columns, skops_archive.load(_text(payload), len(columns)))


def _text(payload: Any) -> str:
    if not isinstance(payload, str):
        raise IntegrityError("the payload of this kind of model is text")
    return payload


def _baseline(
    columns: Columns, payload: Any, parameters: Mapping[str, Any]
) -> Predictor | ListPredictor:
    types = {"column": str, "descending": bool, "then": str}
    fits = set(parameters) == set(types) and all(
        isinstance(parameters[name], kind) for name, kind in types.items()
    )
    if not fits or payload:
        raise IntegrityError(f"a baseline has the parameters {', '.join(types)} and no payload")
    model = baseline_model(parameters)
    if model.columns != columns:
        raise IntegrityError("the baseline's columns contradict its parameters")
    return model.predictor


def _on_top(kind: Any) -> _Format:
    """The format of a predictor that contains the model it builds on, under `base`."""

    def load(columns: Columns, payload: Any, _: Mapping[str, Any]) -> Predictor:
        base = payload.get("base") if isinstance(payload, dict) else None
        if not isinstance(base, dict) or base.get("kind") in ON_TOP:
            raise IntegrityError(f"a model of kind {' or '.join(ON_TOP)} has a base of other kinds")
        model = from_document(base)
        rest = {name: value for name, value in payload.items() if name != "base"}
        if model.lists:
            raise IntegrityError("a base scores rows, it gives no lists")
        predictor: Predictor = kind.from_payload(rest, model)
        if set(columns) != {*model.columns, *getattr(predictor, "columns", ())}:
            raise IntegrityError("the columns are not those of the base and of what is added")
        return predictor

    return _Format(_with_base, load, kind.WORDS)


def _with_base(predictor: Any) -> dict[str, Any]:
    return {"base": to_document(predictor.base), **predictor.payload()}


#: Kinds that contain another model.
ON_TOP: Final = ("recalibrated", "residual")


def _payload(predictor: Any) -> Any:
    return predictor.payload()


def _whole(kind: Any) -> _Format:
    """The format of a predictor whose payload is all of it."""
    return _Format(_payload, lambda _, payload, __: kind.from_payload(payload), kind.WORDS)


def _of_columns(kind: Any) -> _Format:
    """The format of a predictor whose payload does not repeat its columns."""
    return _Format(
        _payload, lambda columns, payload, _: kind.from_payload(columns, payload), kind.WORDS
    )


#: Kind → its format.
KINDS: Final[Mapping[str, _Format]] = {
    "bought_together": _whole(AssociationPredictor),
    "ease": _whole(EasePredictor),
    "own_history": _whole(OwnHistoryPredictor),
    "popularity": _whole(PopularityPredictor),
    "baseline": _Format(lambda _: "", _baseline, BaselinePredictor.WORDS),
    "ecod": _of_columns(EcodPredictor),
    "forecast": _of_columns(ForecastPredictor),
    "lightgbm": _Format(
        lambda predictor: booster_text(predictor.booster), _lightgbm, LightGBMPredictor.WORDS
    ),
    "logistic": _Format(
        lambda predictor: skops_archive.dump(predictor.pipeline), _logistic, PipelinePredictor.WORDS
    ),
    "recalibrated": _on_top(RecalibratedPredictor),
    "residual": _on_top(ResidualPredictor),
    "text_match": _of_columns(TextMatchPredictor),
}
#: Names and texts that models are written with, whoever's they are: formats, parameters, settings.
WORDS: Final = frozenset(
    {
        *(FORMAT, *_KEYS, *KINDS, "seed", "trained_until"),
        *(word for form in KINDS.values() for word in form.words),
    }
)
