"""The columns a declaration may read from an event, and how one value is read as number or text.

| written | what it is | read as |
| --- | --- | --- |
| `event`, `event_id`, `user_id`, `account_id`, `item_id`, `group_id` | event column | text |
| `quantity`, `amount` | event column | number |
| `properties.NAME` | a key of the event's JSON object | number or text, as the use needs |
| `user.NAME`, `account.NAME`, `item.NAME` | looked-up attribute | number or text |
| `local_hour` (0–23), `local_weekday` (Monday is 0) | of `event_timestamp`, local | number |
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.storage.entities import ENTITY_COLUMNS

Reading = Literal["number", "text"]
Origin = Literal["event", "property", "attribute", "local"]

JOIN_KEYS: Final = ("user_id", "account_id", "item_id", "group_id")
_TEXT_COLUMNS: Final = ("event", "event_id", *JOIN_KEYS)
_NUMBER_COLUMNS: Final = ("quantity", "amount")
LOCAL_COLUMNS: Final = ("local_hour", "local_weekday")
KNOWN_COLUMNS: Final = (
    *_TEXT_COLUMNS,
    *_NUMBER_COLUMNS,
    *LOCAL_COLUMNS,
    "properties.NAME",
    *(f"{entity}.NAME" for entity in ENTITY_COLUMNS),
)
_DECODER: Final = json.JSONDecoder(parse_constant=lambda _: None)  # NaN and infinities are null
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Column:
    """One readable column: where it comes from and the name it has there."""

    name: str  #: as written in the declaration, e.g. `item.category`
    origin: Origin
    field: str  #: event column, JSON key or attribute name
    entity: str = ""  #: `user`, `account` or `item` for an attribute

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How the column can be read; the first is what `first` and `last` return unasked."""
        if self.origin == "property":
            return ("number", "text")
        if self.origin == "attribute":
            return ("text", "number")
        return ("number",) if self.field in (*_NUMBER_COLUMNS, *LOCAL_COLUMNS) else ("text",)


def parse_column(name: object, where: str) -> Column:
    """The column called `name`; raises `UnknownNameError` naming `where` it was used."""
    if isinstance(name, str):
        if name in (*_TEXT_COLUMNS, *_NUMBER_COLUMNS):
            return Column(name, "event", name)
        if name in LOCAL_COLUMNS:
            return Column(name, "local", name)
        head, _, field = name.partition(".")
        if _FIELD_NAME.fullmatch(field):
            if head == "properties":
                return Column(name, "property", field)
            if head in ENTITY_COLUMNS:
                return Column(name, "attribute", field, entity=head)
    raise UnknownNameError("column", name, KNOWN_COLUMNS, where)


def check_reading(column: Column, reading: Reading, where: str) -> None:
    """Refuse to read a text column as number or the other way round."""
    if not isinstance(reading, str) or reading not in ("number", "text"):
        raise UnknownNameError("reading", reading, ("number", "text"), where)
    if reading not in column.readings:
        raise ConfigError(
            f"{where} reads a {reading}, and {column.name!r} is a {column.readings[0]} column"
        )


def check_text(text: str, where: str) -> str:
    """The text; raises `ConfigError` for half a surrogate pair, which no column can hold."""
    if read_text(text) is None:
        raise ConfigError(f"{where} takes texts of Unicode characters, got {text!r}")
    return text


def read_number(value: object) -> float | None:
    """A finite number, or None: NaN, infinities, booleans and words are no numbers."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number + 0.0 if math.isfinite(number) else None  # -0.0 + 0.0 is 0.0


def read_text(value: object) -> str | None:
    """A text, or None: a JSON scalar reads as it is written, an object or list as nothing."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half a surrogate pair
            return None
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def parse_properties(text: str | None) -> dict[str, object]:
    """The event's JSON object; whatever is not one has no properties."""
    if not text:
        return {}
    try:
        parsed = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
