"""What one use case needs of a tenant's data; the pipeline fills it in from the declaration."""

from __future__ import annotations

from dataclasses import dataclass

from include.errors import ConfigError, UnknownNameError
from include.storage.entities import ENTITY_COLUMNS
from include.tenants.namespace import NAME


@dataclass(frozen=True)
class DataNeeds:
    """The events, columns and attributes without which a use case learns nothing.

    Raises:
        UnknownNameError: an entity column that `events` does not have.
    """

    use_case: str
    events: tuple[str, ...]  #: event names it reads; at least one
    entity_columns: tuple[str, ...]  #: columns of `events` it joins on; the first is its entity's
    attributes: tuple[str, ...] = ()  #: attribute names it looks up
    label_event: str = ""  #: event its label counts, if any
    #: Sane number of label events per active entity and interval. Too many has no bound of ours:
    #: what doubles shows in the volume, by the source's own past.
    label_rate: tuple[float, float | None] = (0.01, None)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.use_case):
            raise ConfigError(f"use case {self.use_case[:60]!r} must match {NAME.pattern}")
        known = (*ENTITY_COLUMNS.values(), "group_id")
        for column in self.entity_columns:
            if column not in known:
                raise UnknownNameError("entity column", column, known, f"needs of {self.use_case}")
        if not self.events or not self.entity_columns:
            raise ConfigError(f"needs of {self.use_case}: name at least one event and one column")
