"""A feature is judged only against a reference of equal maturity.

While a tenant's history is shorter than a feature's window, the window is still filling, and the
feature moves although nothing changes; what looks at all of history moves for ever. Such a column
is no evidence as it is. It is compared once more, the current window computed as it would be if
history were no longer now than it was at the reference's newest instants: then both are cut off at
the same distance, and where nothing changed their distributions are the same (both are left
truncated alike; N. Keiding, "Statistical analysis of truncated data", 1992). Where that cannot be
done, the column is not judged, and the reason says so.

The second comparison costs another computation of the features, so it is made only where a column
that needs it is beyond its limit; where none is, none would be an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.features.declarations import ALL_HISTORY, window_name
from include.features.reach import Reach
from include.monitoring.windows import AS_OF

#: Shorter ones hold some weekdays and not others; the first day of a week begins at opening time.
SHORTEST: Final = timedelta(days=6)
#: Part of a history from which on another one is as long: retention cuts by weeks.
_SAME: Final = 0.9
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Lengths:
    """Lengths of the history that a column reads: at the reference, and now."""

    before: timedelta
    now: timedelta
    #: Attributes that it looks up had begun later than the events that look them up.
    looked_up_later: bool = False


@dataclass(frozen=True)
class Equalized:
    """The current window with histories as short as the reference's were."""

    table: pa.Table | None  #: keys, `as_of`, features and `prediction`; None where nothing is left
    lengths: Mapping[str, Lengths]  #: of every column, `prediction` among them


#: From the oldest of the reference's instants that is compared with to the window as it would be.
Equalize = Callable[[datetime], Equalized]


@dataclass(frozen=True)
class Maturity:
    """How columns depend on the length of history."""

    #: Column → reach, as the declaration has it; columns that are not named depend on nothing.
    reaches: Mapping[str, Reach] = field(default_factory=dict)
    equalize: Equalize | None = None  #: None where no window can be computed again

    def reason_to_skip(self, column: str) -> str:
        """Why a column is never judged; empty where it may be."""
        reach = self.reaches.get(column)
        if reach is None or reach.degree == 0:
            return ""
        grows = "grows" if reach.degree > 0 else "shrinks"
        return f"{grows} with the length of history by construction"

    def unequal(self, column: str, lengths: Lengths) -> bool:
        """Whether the column means something else at the two lengths of history."""
        reach = self.reaches.get(column)
        return (
            reach is not None
            and lengths.before != lengths.now
            and (reach.window > min(lengths.before, lengths.now) or lengths.looked_up_later)
        )

    def reason(self, column: str, lengths: Lengths, entities: int, needed: int) -> str:
        """Why an unequal column is not judged.

        Args:
            entities: in the smaller of the windows of equal history.
            needed: as few as can be compared.
        """
        window = self.reaches[column].window
        now, before = days(lengths.now), days(lengths.before)
        if can_be_equal(lengths):
            return (
                f"{now} of history now and {before} when the reference was made; with {before} "
                f"each, there are {entities} entities, and {needed} are needed"
            )
        if lengths.looked_up_later:
            return "attributes that it looks up began to arrive later than its events"
        if window == ALL_HISTORY:
            return f"looks at all of history, {now} now and {before} when the reference was made"
        told = f"its {window_name(window)} window; "
        if lengths.before < window:
            return f"reference made at {before} of history, shorter than {told}{now} now"
        return f"history of {now}, shorter than {told}reference made at {before}"


def can_be_equal(lengths: Lengths) -> bool:
    """Whether cutting the current window's history makes a column as mature as it was."""
    long_enough = lengths.before >= SHORTEST and lengths.now >= _SAME * lengths.before
    return long_enough and not lengths.looked_up_later


def explanation(lengths: Lengths) -> str:
    """The reason not to call a change drift that disappears with equal histories."""
    return f"as history grew from {days(lengths.before)} to {days(lengths.now)}"


def newest_instant(reference: pa.Table, current: pa.Table) -> datetime | None:
    """The oldest of the reference's newest instants, of as long a span as the current window has.

    None where the instants of either are not known.
    """
    if AS_OF not in reference.column_names or not reference.num_rows or not current.num_rows:
        return None
    ends = pc.min_max(current[AS_OF])
    found: datetime = pc.max(reference[AS_OF]).as_py() - (ends["max"].as_py() - ends["min"].as_py())
    return found


def as_old(reference: pa.Table, since: datetime, length: timedelta) -> pa.Table:
    """The reference's rows from an instant on, and those of hardly less history before it.

    Args:
        length: of the history there was at the instant.
    """
    oldest = pa.scalar(since - (1 - _SAME) * length, reference[AS_OF].type)
    return reference.filter(pc.greater_equal(reference[AS_OF], oldest))


def days(length: timedelta) -> str:
    """A length of history in words."""
    whole = max(length // _DAY, 0)
    return f"{whole} day{'' if whole == 1 else 's'}"
