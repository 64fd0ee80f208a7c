"""What use cases ask of canonical rows: which names they have, and what is filled in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.redaction import looks_like_a_name


@dataclass(frozen=True)
class Repeats:
    """Rows whose event id an earlier row of the sample has, and that are dropped for that."""

    equal: int = 0  #: that say the same as the earlier one
    different: int = 0  #: that say something else, which is lost

    @property
    def rows(self) -> int:
        """All of them."""
        return self.equal + self.different


@dataclass(frozen=True)
class Sample:
    """Rows of one source that would be taken in: of `events`, or facts of `attributes`."""

    rows: pa.Table

    @property
    def of_events(self) -> bool:
        """Whether the rows are events."""
        return "event" in self.rows.column_names

    def kinds(self) -> dict[str, int]:
        """Name of an event or a fact → rows with it, the most frequent first."""
        counted = pc.value_counts(self.rows["event" if self.of_events else "name"]).to_pylist()
        counts = {one["values"]: one["counts"] for one in counted}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def named_kinds(self) -> tuple[dict[str, int], int]:
        """The kinds that may be shown, and the rows of the others.

        A fact's name is the tenant file's own. An event's may be any value of a column.
        """
        kinds = self.kinds()
        if not self.of_events:
            return kinds, 0
        shown = {name: count for name, count in kinds.items() if looks_like_a_name(name)}
        return shown, sum(kinds.values()) - sum(shown.values())

    def ends(self) -> tuple[datetime | None, datetime | None]:
        """When the earliest and the latest happened, or became valid."""
        ends = pc.min_max(self.rows["event_timestamp" if self.of_events else "valid_from"])
        return ends["min"].as_py(), ends["max"].as_py()

    def repeats(self) -> Repeats:
        """The events that ingestion would drop, as their id was there before."""
        if not self.of_events:
            return Repeats()
        ids = pc.count_distinct(self.rows["event_id"]).as_py()
        different = len(self.rows.group_by(self.rows.column_names).aggregate([]))
        return Repeats(len(self.rows) - different, different - ids)

    def of(self, names: Collection[str]) -> Sample:
        """The rows with one of the names."""
        column = self.rows["event" if self.of_events else "name"]
        return Sample(self.rows.filter(pc.is_in(column, value_set=pa.array(names, pa.string()))))

    def filled(self, columns: Sequence[str]) -> int:
        """How many rows have a value in all of the columns."""
        mask = pa.repeat(True, len(self.rows))
        for column in columns:
            mask = pc.and_(mask, pc.is_valid(self.rows[column]))
        return int(pc.sum(mask).as_py() or 0)

    def distinct(self, column: str) -> int:
        """How many different values a column has."""
        return int(pc.count_distinct(self.rows[column]).as_py())
