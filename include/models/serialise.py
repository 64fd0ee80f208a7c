"""Models as bytes: one JSON document, deterministic, in which nothing can execute.

`{"format", "kind", "columns", "parameters", "payload"}`: the payload of trees is LightGBM's own
text, that of a pipeline a skops archive in base64, that of a baseline nothing. Callers verify the
digest before they come here; this module nevertheless trusts no byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from include.errors import IntegrityError
from include.models import skops_archive
from include.models.baselines import baseline_model
from include.models.estimators import LightGBMPredictor, PipelinePredictor
from include.models.lightgbm_text import booster_text, read_booster
from include.models.model import Model

FORMAT: Final = "tenantry-model/1"
KINDS: Final = ("baseline", "lightgbm", "logistic")
LARGEST: Final = 64 * 1024 * 1024  #: bytes
_KEYS: Final = {"format", "kind", "columns", "parameters", "payload"}
_LARGEST_COLUMNS: Final = 10_000


def to_bytes(model: Model) -> bytes:
    """The model as JSON; equal models give equal bytes.

    Raises:
        IntegrityError: the kind of model has no format here.
    """
    predictor = model.predictor
    payload = ""
    if isinstance(predictor, LightGBMPredictor):
        payload = booster_text(predictor.booster)
    elif isinstance(predictor, PipelinePredictor):
        payload = skops_archive.dump(predictor.pipeline)
    if model.kind not in KINDS:
        raise IntegrityError(
            f"no format for models of kind {model.kind!r}; known: {', '.join(KINDS)}"
        )
    document = {
        "format": FORMAT,
        "kind": model.kind,
        "columns": list(model.columns),
        "parameters": dict(model.parameters),
        "payload": payload,
    }
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()


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
    _check(document)
    kind, columns = document["kind"], tuple(document["columns"])
    parameters, payload = document["parameters"], document["payload"]
    try:
        if kind == "baseline":
            return _baseline(parameters, columns, payload)
        if kind == "lightgbm":
            return Model(
                kind,
                columns,
                LightGBMPredictor(columns, read_booster(payload, columns)),
                parameters,
            )
        pipeline = skops_archive.load(payload, len(columns))
        return Model(kind, columns, PipelinePredictor(columns, pipeline), parameters)
    except IntegrityError:
        raise
    except Exception as error:  # parsers of hostile input raise what they like
        raise IntegrityError(f"the {kind} model cannot be read: {type(error).__name__}") from None


def _check(document: Any) -> None:
    if not isinstance(document, dict) or set(document) != _KEYS:
        raise IntegrityError(f"a model document has exactly the keys {', '.join(sorted(_KEYS))}")
    if document["format"] != FORMAT:
        raise IntegrityError(f"model format {str(document['format'])[:40]!r} is not {FORMAT!r}")
    if document["kind"] not in KINDS:
        raise IntegrityError(
            f"unknown kind of model {str(document['kind'])[:40]!r}; known: {', '.join(KINDS)}"
        )
    columns = document["columns"]
    named = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if not named or not 0 < len(columns) <= _LARGEST_COLUMNS or len(set(columns)) < len(columns):
        raise IntegrityError("a model's columns are a list of different names")
    if not isinstance(document["parameters"], dict) or not isinstance(document["payload"], str):
        raise IntegrityError("a model's parameters are a mapping and its payload is text")


def _baseline(parameters: Mapping[str, Any], columns: tuple[str, ...], payload: str) -> Model:
    types = {"column": str, "descending": bool, "then": str}
    fits = set(parameters) == set(types) and all(
        isinstance(parameters[name], kind) for name, kind in types.items()
    )
    if not fits or payload:
        raise IntegrityError(f"a baseline has the parameters {', '.join(types)} and no payload")
    model = baseline_model(parameters)
    if model.columns != columns:
        raise IntegrityError("the baseline's columns contradict its parameters")
    return model
