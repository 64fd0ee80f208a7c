"""Which facts of a table of attributes have had their time.

A fact is superseded once a later one about the same entity and name is valid and known. The newest
fact stays for as long as its entity is there: an item always, a user or account while the tenant
has events of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

_DOOMED: Final = """
    WITH known AS (
        SELECT *, rank() OVER (
            PARTITION BY entity, entity_id, name ORDER BY valid_from DESC, created_timestamp DESC
        ) AS age FROM facts
    )
    SELECT DISTINCT source, month, event_id FROM known
    WHERE age > 1 OR (entity = 'user' AND entity_id NOT IN (SELECT id FROM users))
    OR (entity = 'account' AND entity_id NOT IN (SELECT id FROM accounts))
"""
_COLUMNS: Final = ("source", "month", "event_id", "entity", "entity_id", "name")


def outdated(attributes: ds.Dataset, seen: Mapping[str, pa.Array], before: datetime) -> pa.Table:
    """`source`, `month` and `event_id` of the facts that have had their time at `before`.

    Args:
        seen: `user` and `account`, each with the ids there are events of.
    """
    instants = ("valid_from", "created_timestamp")
    early = ds.field("created_timestamp") < pa.scalar(before)
    known = attributes.to_table(columns=[*_COLUMNS, *instants], filter=early)
    known = known.filter(ds.field("valid_from") < pa.scalar(before))
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "threads": "2",
    }
    with duckdb.connect(config=config) as connection:
        connection.register("facts", known)
        connection.register("users", pa.table({"id": seen["user"]}))
        connection.register("accounts", pa.table({"id": seen["account"]}))
        return connection.sql(_DOOMED).to_arrow_table()
