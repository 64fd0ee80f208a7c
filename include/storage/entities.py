"""Kinds of entities, and where the canonical events name them."""

from __future__ import annotations

from typing import Final

#: Entity kind → its column in `events`.
ENTITY_COLUMNS: Final = {"user": "user_id", "account": "account_id", "item": "item_id"}
