"""What Delta's own log tells of a table's rows: instants only.

Delta notes the least and the greatest value of every column for each file, for ever: of a file with
few rows that is whose rows they are. So tables are made with statistics of instants alone.
"""

from __future__ import annotations

from typing import Final

PROPERTY: Final = "delta.dataSkippingStatsColumns"
#: Table property: rows that arrived before that instant were erased, and versions since lack them.
ERASED: Final = "tenantry.erasedBefore"
#: The columns that files are skipped by: both tables have the first, each one of the others.
SKIPPED_BY: Final = ("created_timestamp", "event_timestamp", "valid_from")


def statistics_of(columns: list[str]) -> str:
    """The table property for a table with these columns."""
    return ",".join(name for name in SKIPPED_BY if name in columns)
