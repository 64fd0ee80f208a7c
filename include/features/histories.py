"""How long rows of each kind have been arriving, and inputs cut to the history of another instant.

History begins where a source begins. An event that is rare may be first seen long after its source
began, and that it is seen now is a change; a second source of the same events adds to a history
that is there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.features.inputs import Inputs
from include.features.reach import NOTHING, Reach
from include.storage.canonical import TIMESTAMP
from include.storage.versions import counting


@dataclass(frozen=True)
class Histories:
    """What was known at an instant, by how long before it that began."""

    #: Event name → length, of all names that were ever known; none where no source had begun.
    events: Mapping[str, timedelta]
    attributes: Mapping[str, timedelta]  #: likewise, e.g. `item.category`

    def of_events(self, reach: Reach) -> timedelta:
        """The shortest history of the events that a column reads; of what never comes, any."""
        known = [self.events[name] for name in reach.events if name in self.events]
        return min(known, default=max(self.events.values(), default=NOTHING))

    def of_attributes(self, reach: Reach) -> timedelta | None:
        """The shortest history of the attributes that these look up; None where none does."""
        known = [self.attributes[name] for name in reach.attributes if name in self.attributes]
        return min(known, default=None)


def histories(inputs: Inputs, at: datetime, until: datetime) -> Histories:
    """How long there had been what at an instant.

    Args:
        until: what has become known by then has a history too, be it none yet at the instant.
    """
    return Histories(
        _event_histories(inputs.events, at, until),
        _attribute_histories(inputs.attributes, at, until),
    )


def shortened(inputs: Inputs, at: datetime, lengths: Histories) -> Inputs:
    """The inputs as they would be at an instant, were no event's history longer than told."""
    events = inputs.events
    keep = pa.array([False] * events.num_rows)
    for event, length in lengths.events.items():
        since = pa.scalar(at - length, TIMESTAMP)
        there = pc.and_(
            pc.equal(events["event"], event), pc.greater_equal(events["event_timestamp"], since)
        )
        keep = pc.or_(keep, there)
    return replace(inputs, events=events.filter(keep))


def _known(events: pa.Table, at: datetime) -> pa.Table:
    before = pc.less(events["event_timestamp"], pa.scalar(at, TIMESTAMP))
    return events.filter(pc.and_(before, counting(events, at)))


def _event_histories(events: pa.Table, at: datetime, until: datetime) -> dict[str, timedelta]:
    delivers: dict[str, set[str]] = {}
    for source, event, _ in _firsts(_known(events, until), ["source", "event"]):
        delivers.setdefault(event, set()).add(source)
    began: dict[str, datetime] = {}
    for source, first in _firsts(_known(events, at), ["source"]):
        began[source] = first
    return {
        event: at - min((began[source] for source in sources if source in began), default=at)
        for event, sources in delivers.items()
    }


def _firsts(events: pa.Table, by: list[str]) -> list[tuple[Any, ...]]:
    firsts = events.group_by(by).aggregate([("event_timestamp", "min")])
    return list(
        zip(*(firsts[name].to_pylist() for name in (*by, "event_timestamp_min")), strict=True)
    )


def _attribute_histories(
    attributes: pa.Table, at: datetime, until: datetime
) -> dict[str, timedelta]:
    if "valid_from" not in attributes.column_names:
        return {}
    valid, known = attributes["valid_from"], attributes["created_timestamp"]
    used = pc.if_else(pc.greater(valid, known), valid, known)
    facts = attributes.select(["entity", "name"]).append_column("used_from", used)
    facts = facts.filter(pc.less_equal(facts["used_from"], pa.scalar(until, TIMESTAMP)))
    firsts = facts.group_by(["entity", "name"]).aggregate([("used_from", "min")])
    columns = (firsts[name].to_pylist() for name in ("entity", "name", "used_from_min"))
    return {
        f"{entity}.{name}": max(at - first, NOTHING)
        for entity, name, first in zip(*columns, strict=True)
    }
