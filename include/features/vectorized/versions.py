"""Corrected events: an entity becomes several, one for each stretch of time between corrections.

In a stretch nothing that is known of the entity's events is taken back, so that there they are as
if never corrected, and whatever holds of such events holds. An instant asks about the stretch that
it lies in. A version of an event belongs to the stretches in which it counts; of these, only those
that are asked about are made. Entities without corrections stay one.
"""

from __future__ import annotations

import numpy as np

from include.features.time_order import Integers, Timeline
from include.features.vectorized.columns import NEVER
from include.features.vectorized.spine_index import Questions


def by_stretch(
    asked: Questions, rows: Integers, entity: Integers, created: Integers, replaced: Integers
) -> tuple[Questions, Integers, Integers]:
    """The questions, rows and entities of the rows, with stretches of entities as entities.

    Args:
        rows: of the events' table, each at most once.
        entity: number of each row's entity.
        created: per row of the table when it became known.
        replaced: likewise when it was replaced.
    """
    ends = replaced[rows]
    corrected = ends != NEVER
    if not corrected.any():
        return asked, rows, entity
    timeline = Timeline(np.concatenate((asked.as_of, ends[corrected])), asked.entities + 1)
    #: Where a stretch begins behind another one of its entity, by entity: how many borders there
    #: are up to an instant, those of entities before included, tells all stretches apart.
    borders = np.unique(timeline.keys(entity[corrected], ends[corrected]))

    def stretches(entities: Integers, before: Integers) -> Integers:
        """The last stretch of each entity that begins before an instant."""
        return entities + np.searchsorted(borders, timeline.places(entities, before))

    about = stretches(asked.entity, asked.as_of + 1)
    wanted = np.unique(about[asked.entity >= 0])
    first = np.searchsorted(wanted, stretches(entity, created[rows] + 1))
    behind = np.searchsorted(wanted, stretches(entity, ends), side="right")
    counts = np.maximum(behind - first, 0)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    questions = Questions(about, asked.as_of, asked.entities + len(borders))
    return questions, np.repeat(rows, counts), wanted[np.repeat(first, counts) + offset]
