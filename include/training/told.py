"""Reads all texts of the tenants that a training read, to search a model for all tenants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.models.text_match import words
from include.registry.leaks import Told, check_read
from include.storage.canonical import REPLACED
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

_IDS: Final = ("event_id", "user_id", "account_id", "item_id", "group_id")
#: Of JSON, where a text is a value: others hold numbers alone, and need not be read.
_HAS_TEXT: Final = r':\s*"'


def told(
    document: Mapping[str, Any],
    tenants: Mapping[str, TenantRef],
    known_at: datetime,
    lake: Lake,
) -> Iterator[Told]:
    """The distinct texts of every tenant and column that a training read.

    Args:
        document: the training's evaluation.
        tenants: by id.

    Raises:
        IntegrityError: the training read tables of a tenant that is not among `tenants`, or a table
            is gone.
    """
    tables = document["tables"]
    check_read((table["tenant"] for table in tables), tenants)
    for table in tables:
        tenant, version = tenants[table["tenant"]], table["version"]
        if version < 0:
            continue
        events = table["table"] == "events"
        columns = [*_IDS, "properties"] if events else ["entity_id", "value"]
        read = lake.read(  # of corrected events all versions
            tenant,
            table["table"],
            version=version,
            columns=[*columns, REPLACED],
            known_at=known_at,
        )
        for name in columns:
            texts = pc.unique(read[name]).drop_null()
            if name == "properties":
                texts = _values(texts)
            yield Told(tenant.id, name, texts)
            if name in ("properties", "value"):
                yield Told(tenant.id, f"words of {name}", _words(texts))


def _values(properties: pa.Array) -> pa.Array:
    """The texts that are values of properties, however deep."""
    values: set[str] = set()
    for text in properties.filter(pc.match_substring_regex(properties, _HAS_TEXT)).to_pylist():
        try:
            waiting = [json.loads(text)]
        except ValueError:
            continue
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                waiting += part.values()
            elif isinstance(part, list):
                waiting += part
            elif isinstance(part, str):
                values.add(part)
    return pa.array(sorted(values), pa.string())


def _words(texts: pa.Array) -> pa.Array:
    spoken = texts.filter(pc.match_substring_regex(texts, r"\p{L}"))
    return pa.array(sorted({word for text in spoken.to_pylist() for word in words(text)}))
