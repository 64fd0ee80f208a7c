"""A read: entities, an instant, and the distinct entities per set of join keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from include.features.online.records import key_of
from include.features.outputs import Integers, Texts, Values


@dataclass(frozen=True)
class Keys:
    """The distinct entities of the rows."""

    place: Mapping[str, int]  #: entity key → position
    row_of: Integers | None  #: per row its entity, the number of them for null; None: row by row

    @property
    def entities(self) -> int:
        """How many entities answer: one more than there are where a row is nobody's."""
        return len(self.place) + (self.row_of is not None)

    def expand(self, values: Values) -> Values:
        """Per row the entity's value."""
        rows = self.row_of
        if rows is None:
            return values
        if isinstance(values, Texts):
            return Texts(values.codes[rows], values.dictionary)
        return values[rows]


class Request:
    """Entities whose features are wanted, and when."""

    def __init__(
        self, entities: Mapping[str, Sequence[str | None]], rows: int, at: datetime
    ) -> None:
        self.entities, self.rows, self.at = entities, rows, at
        self._keys: dict[tuple[str, ...], Keys] = {}

    def keys(self, join_keys: tuple[str, ...]) -> Keys:
        """The distinct entities by these join keys."""
        keys = self._keys.get(join_keys)
        if keys is None:
            values = zip(*(self.entities[name] for name in join_keys), strict=True)
            parts = values if join_keys else [()] * self.rows
            texts = [None if None in part else key_of(part) for part in parts]
            place = {key: n for n, key in enumerate(dict.fromkeys(t for t in texts if t))}
            if len(place) == len(texts):
                keys = Keys(place, None)
            else:
                row_of = [len(place) if text is None else place[text] for text in texts]
                keys = Keys(place, np.array(row_of, dtype=np.int64))
            self._keys[join_keys] = keys
        return keys
