"""A scikit-learn pipeline as a skops archive: deterministic, and loaded with our own list of types.

skops writes memory addresses and the time of day into its archive; `dump` replaces both. Its own
list of trusted types is long and grows with its releases; `load` looks at the archive's schema
before skops does and refuses every type, function and loader that does not stand here.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
from typing import Any, Final

import skops.io
from sklearn.pipeline import Pipeline

from include.errors import IntegrityError

TRUSTED_TYPES: Final = frozenset(
    {
        "builtins.dict",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.dtype",
        "numpy.float64",
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
    }
)
#: Kinds of node skops may be asked to build: containers, arrays and objects, never functions.
TRUSTED_LOADERS: Final = frozenset(
    {
        "DTypeNode",
        "DictNode",
        "JsonNode",
        "ListNode",
        "NdArrayNode",
        "ObjectNode",
        "TupleNode",
        "TypeNode",
    }
)
_LARGEST: Final = 32 * 1024 * 1024  #: bytes, unpacked
_MOST_MEMBERS: Final = 1_000
_SCHEMA: Final = "schema.json"
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def dump(pipeline: Pipeline) -> str:
    """The pipeline as base64 of an archive that is the same for equal pipelines."""
    members = _members(skops.io.dumps(pipeline))
    schema = json.loads(members[_SCHEMA])
    # Whether two equal parts happen to be one object in memory must not show: every node gets a
    # number of its own, and arrays are told apart by content alone.
    files: dict[bytes, str] = {}
    for number, node in enumerate(_nodes(schema), start=1):
        node["__id__"] = number
        if "file" in node:
            node["file"] = files.setdefault(members[node["file"]], f"{len(files)}.npy")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _DATE), json.dumps(schema, sort_keys=True))
        for content, name in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return base64.b64encode(packed.getvalue()).decode()


def load(text: str, columns: int) -> Pipeline:
    """The pipeline in `dump`'s text, a classifier of `columns` features.

    Raises:
        IntegrityError: the archive is malformed or holds a type that is not trusted.
    """
    try:
        content = base64.b64decode(text, validate=True)
        schema = json.loads(_members(content)[_SCHEMA])
    except (binascii.Error, zipfile.BadZipFile, KeyError, ValueError, RecursionError):
        raise IntegrityError("the payload is no skops archive") from None
    for node in _nodes(schema):
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        if name not in TRUSTED_TYPES or node.get("__loader__") not in TRUSTED_LOADERS:
            raise IntegrityError(f"the archive asks for {name[:80]!r}, which is not trusted")
    pipeline = skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
    if not isinstance(pipeline, Pipeline) or pipeline.n_features_in_ != columns:
        raise IntegrityError(f"the archive holds no pipeline of {columns} features")
    return pipeline


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = archive.infolist()
        if len(found) > _MOST_MEMBERS or sum(member.file_size for member in found) > _LARGEST:
            raise IntegrityError(f"the archive unpacks to more than {_LARGEST:,} bytes")
        if len({member.filename for member in found}) < len(found):
            raise IntegrityError("the archive holds two members of one name")
        return {member.filename: archive.read(member) for member in found}


def _nodes(part: Any) -> list[dict[str, Any]]:
    """Every mapping of the schema that stands for an object, in the order of sorted keys."""
    if isinstance(part, list):
        return [node for item in part for node in _nodes(item)]
    if not isinstance(part, dict):
        return []
    own = [part] if "__class__" in part or "__loader__" in part or "__module__" in part else []
    return own + [node for _, item in sorted(part.items()) for node in _nodes(item)]
