"""The spine: the rows for which features are wanted, each an entity and an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.errors import ConfigError, UnknownNameError
from include.features.columns import JOIN_KEYS
from include.features.views import FeatureService
from include.storage.canonical import TIMESTAMP

AS_OF = "as_of"


@dataclass(frozen=True)
class Spine:
    """Join keys (text) and `as_of` (timestamp[us, UTC], no null); any order, repeats allowed."""

    table: pa.Table

    def __post_init__(self) -> None:
        names = self.table.column_names
        for name in names:
            if name != AS_OF and name not in JOIN_KEYS:
                raise UnknownNameError("column", name, (*JOIN_KEYS, AS_OF), "the spine")
        if AS_OF not in names or len(set(names)) < len(names):
            raise ConfigError(f"a spine has each join key once and {AS_OF!r}, got {names}")
        if self.table.schema.field(AS_OF).type != TIMESTAMP:
            given = self.table.schema.field(AS_OF).type
            raise ConfigError(f"the spine's {AS_OF!r} must be {TIMESTAMP}, got {given}")
        if self.table[AS_OF].null_count:
            raise ConfigError(f"the spine's {AS_OF!r} has {self.table[AS_OF].null_count} nulls")
        schema = pa.schema([*(pa.field(k, pa.string()) for k in self.join_keys), _AS_OF_FIELD])
        if self.table.schema.equals(schema, check_metadata=True):
            table = self.table
        else:
            try:
                table = self.table.select(schema.names).cast(schema)
            except pa.ArrowInvalid as error:
                raise ConfigError(f"the spine's join keys must be texts: {error}") from error
        object.__setattr__(self, "table", table.combine_chunks())

    @classmethod
    def at(cls, keys: Mapping[str, Sequence[str | None]], as_of: datetime) -> Spine:
        """One row per entity, all at the same instant."""
        if as_of.utcoffset() is None:
            raise ConfigError(f"as_of must be an aware datetime, got {as_of!r}")
        columns = key_columns(keys)
        rows = len(next(iter(columns.values()))) if columns else 1
        return cls(pa.table(columns | {AS_OF: pa.repeat(pa.scalar(as_of, TIMESTAMP), rows)}))

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The join keys, in column order."""
        return tuple(name for name in self.table.column_names if name != AS_OF)

    def check_serves(self, service: FeatureService) -> None:
        """Refuse a service that needs join keys the spine does not have."""
        missing = [key for key in service.join_keys if key not in self.join_keys]
        if missing:
            raise ConfigError(
                f"FeatureService {service.name!r} needs {', '.join(missing)} on the spine, "
                f"which has {', '.join(self.join_keys) or 'no join key'}"
            )


def key_columns(keys: Mapping[str, Sequence[str | None]]) -> dict[str, pa.Array]:
    """The join keys as columns of texts.

    Raises:
        ConfigError: one has more values than another, or a text where a list of them belongs.
    """
    for name, values in keys.items():
        if isinstance(values, str):
            raise ConfigError(f"{name} takes a list of ids, got the text {values!r}")
    columns = {name: pa.array(values, pa.string()) for name, values in keys.items()}
    rows = {name: len(column) for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        raise ConfigError(f"each join key has one value per row, got {rows}")
    return columns


_AS_OF_FIELD = pa.field(AS_OF, TIMESTAMP)
