"""The distinct questions of a spine: what is asked twice is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from include.features.asof import microseconds
from include.features.key_codes import KeyCodes
from include.features.spine import AS_OF, Spine
from include.features.time_order import Integers, Timeline, sorting


@dataclass(frozen=True)
class Questions:
    """Entities and instants for which something is asked, by entity, then instant."""

    entity: Integers  #: numbers from 0; -1 is nobody
    as_of: Integers  #: microseconds since 1970
    entities: int  #: more than any entity's number

    def __len__(self) -> int:
        return len(self.entity)

    def part(self, rows: slice, first: int, stop: int) -> Questions:
        """Those about some entities, which are numbered anew."""
        return Questions(self.entity[rows] - first, self.as_of[rows], stop - first)


class SpineIndex:
    """The distinct (entity, as_of) of a spine in that order, so that searches stay local."""

    def __init__(self, spine: Spine, join_keys: tuple[str, ...]) -> None:
        self._join_keys = join_keys
        self._keys = KeyCodes([spine.table[key] for key in join_keys], len(spine.table))
        entity, at = self._keys.codes, microseconds(spine.table[AS_OF])
        keys = Timeline(at, self._keys.count + 1).keys(entity + 1, at)
        order = sorting(keys)
        keys = keys[order]
        # A row without an entity may still have the key that an attribute is looked up by.
        apart = (keys[1:] != keys[:-1]) | (entity[order[1:]] < 0)
        fresh = np.append(True, apart)[: len(keys)]
        #: Per distinct row, one of the spine's rows.
        self.spine_row = order[fresh]
        #: Per spine row, its distinct row.
        self.row_of = np.empty(len(order), dtype=np.int64)
        self.row_of[order] = np.cumsum(fresh) - 1
        #: Per distinct row, its entity, -1 where a join key is null, and instant.
        self.questions = Questions(entity[self.spine_row], at[self.spine_row], self._keys.count)

    def __len__(self) -> int:
        return len(self.spine_row)

    @property
    def ids(self) -> pa.Array:
        """The entities' ids, where there is one join key."""
        return self._keys.values

    def entity_of(self, events: pa.Table) -> Integers:
        """Per event the number of its entity, -1 where the spine does not ask for it."""
        return self._keys.of([events[key] for key in self._join_keys], len(events))

    def spread(self, array: pa.Array) -> pa.Array:
        """Per spine row what an array says of its distinct row."""
        return array.take(pa.array(self.row_of))
