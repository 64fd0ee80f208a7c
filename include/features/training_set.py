"""Training sets that can be made again: the same recipe gives the same bytes, years later.

What retention has erased since cannot be made again, and saying so is all that is left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IntegrityError, IsolationError
from include.features.categories import bind
from include.features.inputs import Inputs, check_pool, pool_tenants, read_pinned
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import Learnt, Recipe, TableVersion, pack
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

#: The category of a text that is null.
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class TrainingSet:
    """Features of a spine with what they were made from.

    `table` is `(rows, keys + 1 + features)`: texts, `as_of`, then int64, float64 and text. Its
    schema says which integers can be null, its metadata holds service, fingerprint and recipe.
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
        """`to_arrow` as a frame: int64, or Int64 where nulls are possible, float64, categories."""
        table = self.to_arrow()
        mapper = {pa.int64(): pd.Int64Dtype()}.get
        columns = {
            field.name: table[field.name].to_pandas(types_mapper=mapper if field.nullable else None)
            for field in table.schema
        }
        frame = pd.DataFrame(columns)
        frame.attrs = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        return frame


def build(
    service: FeatureService,
    spine: pa.Table,
    inputs: Inputs,
    *,
    learnt: Mapping[str, tuple[str, ...]] | None = None,
) -> TrainingSet:
    """The features of a spine, from rows that `inputs.read` has read.

    Args:
        learnt: categories of the service's shares, see `categories.learn`.
    """
    bound = bind(service, learnt) if learnt else service
    rows = Spine(spine)
    events, attributes = inputs.versions
    recipe = Recipe(
        tenant=inputs.tenant.id,
        timezone=inputs.timezone,
        service=service.name,
        service_fingerprint=bound.fingerprint,
        events=events,
        attributes=attributes,
        known_at=inputs.known_at,
        spine_digest=digest(rows.table),
        pool=inputs.pool,
        learnt=tuple(Learnt(name, found) for name, found in sorted((learnt or {}).items())),
    )
    table = _typed(inputs.compute(bound, rows), bound, recipe)
    return TrainingSet(table, recipe, digest(table))


def reproduce(
    recipe: Recipe,
    spine: pa.Table,
    lake: Lake,
    *,
    tenant: TenantRef,
    service: FeatureService,
    consenting: Collection[str] = (),
) -> TrainingSet:
    """The training set that `recipe` once gave, from the same spine and declarations.

    Args:
        service: as it is declared now.
        consenting: ids of the tenants that consent to pooling now; for shared views.

    Raises:
        IntegrityError: service or spine are not the recipe's, or rows it read are gone.
        IsolationError: the recipe is another tenant's, or a tenant withdrew its consent.
    """
    if recipe.tenant != tenant.id:
        raise IsolationError(f"the recipe is {recipe.tenant}'s, not {tenant.id}'s")
    learnt = {one.share: one.categories for one in recipe.learnt}
    fingerprint = (bind(service, learnt) if learnt else service).fingerprint
    if (service.name, fingerprint) != (recipe.service, recipe.service_fingerprint):
        raise IntegrityError(
            f"the recipe is of service {recipe.service!r} as {recipe.service_fingerprint}, and "
            f"{service.name!r} is declared as {fingerprint}; check out the code revision that the "
            "evaluation names"
        )
    found = digest(Spine(spine).table)
    if found != recipe.spine_digest:
        raise IntegrityError(
            f"the recipe's spine has digest {recipe.spine_digest[:12]}…, and this one has "
            f"{found[:12]}…; take the spine that the evaluation names"
        )
    withdrawn = sorted(set(pool_tenants(recipe.pool, lake)) - set(consenting))
    if withdrawn:
        raise IsolationError(
            f"{len(withdrawn)} of the pooled tenants have withdrawn their consent; what was made "
            "from their events cannot be made again"
        )
    try:
        for pinned in (recipe.events, recipe.attributes):
            _check_there(pinned, tenant, lake)
        check_pool(recipe.pool, lake)
        inputs = read_pinned(
            tenant,
            recipe.timezone,
            service,
            events=recipe.events,
            attributes=recipe.attributes,
            known_at=recipe.known_at,
            lake=lake,
            pool=recipe.pool,
        )
    except FileNotFoundError as error:
        raise IntegrityError(
            f"a file of the tables that {tenant.id}'s recipe names is gone, as after a vacuum or "
            f"past retention; what was made from it cannot be made again ({error})"
        ) from error
    return build(service, spine, inputs, learnt=learnt)


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


def _typed(table: pa.Table, service: FeatureService, recipe: Recipe) -> pa.Table:
    """The engine's table with a schema that says what cannot be null, and with its recipe."""
    certain = {
        name
        for view in service.views
        if view.scope == "tenant"
        for name, kind in view.columns.items()
        if kind == "integer"
    }
    fields = [field.with_nullable(field.name not in certain) for field in table.schema]
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


def _check_there(pinned: TableVersion, tenant: TenantRef, lake: Lake) -> None:
    rows = lake.dataset(tenant, pinned.table, pinned.version).count_rows()
    if rows != pinned.rows:
        raise IntegrityError(
            f"version {pinned.version} of {tenant.id}'s {pinned.table} has {rows} rows, and had "
            f"{pinned.rows}; it is another table than the recipe's"
        )
