"""Training sets that can be made again: the same recipe gives the same bytes, years later."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.features.inputs import Inputs
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import Recipe, pack

#: The category of a text that is null.
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class TrainingSet:
    """Features of a spine with what they were made from.

    `table` is `(rows, keys + 1 + features)`: texts, `as_of`, then int64, float64 and text. Its
    schema says that integers cannot be null, its metadata holds service, fingerprint and recipe.
    """

    table: pa.Table
    recipe: Recipe
    digest: str  #: sha256 of the canonical bytes, hex

    def to_arrow(self) -> pa.Table:
        """The table with text features as dictionaries, in which a null is `unknown`."""
        table = self.table
        for name in _features(table):
            if pa.types.is_string(table.schema.field(name).type):
                at = table.column_names.index(name)
                table = table.set_column(at, name, _categories(table[name]))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a frame: int64, float64, categories."""
        table = self.to_arrow()
        frame = pd.DataFrame({name: table[name].to_pandas() for name in table.column_names})
        frame.attrs = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        return frame


def build(service: FeatureService, spine: pa.Table, inputs: Inputs) -> TrainingSet:
    """The features of a spine, from rows that `inputs.read` has read."""
    rows = Spine(spine)
    events, attributes = inputs.versions
    recipe = Recipe(
        tenant=inputs.tenant.id,
        timezone=inputs.timezone,
        service=service.name,
        service_fingerprint=service.fingerprint,
        events=events,
        attributes=attributes,
        known_at=inputs.known_at,
        spine_digest=digest(rows.table),
    )
    table = _typed(inputs.compute(service, rows), recipe)
    return TrainingSet(table, recipe, digest(table))


def digest(table: pa.Table) -> str:
    """sha256 over names, types, nulls and values of a table of ours, hex.

    Canonical: chunks, offsets, dictionaries and what lies under a null make no difference. It
    depends on no file format either, so that it outlives this version of Arrow.
    """
    total = hashlib.sha256()
    for field in table.schema:
        column = table[field.name].combine_chunks()
        told = [field.name, str(field.type), field.nullable, len(column)]
        total.update(json.dumps(told).encode())
        total.update(np.packbits(pc.is_valid(column).to_numpy(zero_copy_only=False)).tobytes())
        if pa.types.is_string(field.type):
            filled = pc.fill_null(column, "")
            lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False)
            total.update(lengths.astype("<i8").tobytes())
            total.update("".join(filled.to_pylist()).encode())
        else:
            numbers = column.cast(pa.int64()) if pa.types.is_timestamp(field.type) else column
            kind = "<f8" if pa.types.is_floating(field.type) else "<i8"
            values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
            total.update(np.ascontiguousarray(values).astype(kind).tobytes())
    return total.hexdigest()


def _typed(table: pa.Table, recipe: Recipe) -> pa.Table:
    """The engine's table with a schema that says what cannot be null, and with its recipe."""
    fields = [field.with_nullable(not pa.types.is_integer(field.type)) for field in table.schema]
    metadata = {**(table.schema.metadata or {}), b"recipe": json.dumps(pack(recipe)).encode()}
    return table.cast(pa.schema(fields, metadata)).combine_chunks()


def _features(table: pa.Table) -> list[str]:
    names: list[str] = table.column_names
    return names[names.index("as_of") + 1 :]


def _categories(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Codes into the sorted texts that occur, and `unknown`, which is always one of them.

    It stands for null, and for whatever a source itself calls unknown.
    """
    texts = pc.fill_null(column.combine_chunks(), UNKNOWN)
    there = [text for text in pc.unique(texts).sort().to_pylist() if text != UNKNOWN]
    dictionary = pa.array([*there, UNKNOWN], pa.string())
    return pa.DictionaryArray.from_arrays(pc.index_in(texts, dictionary), dictionary)
