"""Source columns of any type → canonical columns; what cannot be converted becomes null.

Whole columns go through Arrow. Only a column that holds something odd is read value by value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.plain import as_text

#: Control characters, and those that reorder or hide text.
UNPRINTABLE: Final = (
    r"[\x00-\x1f\x7f-\x9f\x{61c}\x{180e}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}"
    r"\x{2060}-\x{2069}\x{feff}\x{e0000}-\x{e007f}]"
)
#: A float below is spelled as an integer where it is one.
_INTEGERS: Final = 2.0**63
_SPACES: Final = r"[ \x{a0}\x{202f}]"  #: also those that no line is broken at
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NUMBER: Final = r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"
_INTEGER: Final = r"0|-?[1-9][0-9]{0,18}"
_COMMON_NUMBER: Final = r"^[+-]?[0-9]{1,15}(\.[0-9]{1,15})?$"


@dataclass(frozen=True)
class Spelling:
    """How text of a source spells numbers."""

    decimal: str = "."
    thousands: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether numbers are spelled as everybody's programs spell them."""
        return self == Spelling()

    def plain(self, column: pa.Array) -> pa.Array:
        """Texts that are numbers so spelled, as `1234.5`; any other text is left as it is.

        Where a full stop separates no thousands, `1234.5` itself is a number, too.
        """
        if self.is_plain:
            return column
        between = self._between
        bare = pc.replace_substring_regex(column, between, "") if between else column
        bare = pc.replace_substring(bare, self.decimal, ".")
        return pc.if_else(self.matches(column), bare, column)

    def matches(self, column: pa.Array) -> pa.Array:
        """For each text, whether it is a number so spelled."""
        between = self._between
        digits = rf"[0-9]{{1,3}}({between}[0-9]{{3}})+|[0-9]+" if between else "[0-9]+"
        fraction = rf"({re.escape(self.decimal)}[0-9]+)?"
        number = rf"^\s*[+-]?({digits}){fraction}([eE][+-]?[0-9]+)?\s*$"
        return pc.match_substring_regex(column, number)

    @property
    def _between(self) -> str:
        return _SPACES if self.thousands == " " else re.escape(self.thousands or "")


def texts(column: pa.Array) -> pa.Array:
    """A plain column as text, shape kept; empty text and what is not Unicode become null.

    A number is spelled by its value alone, an instant as ISO 8601: an id must depend neither on the
    batch in which it came nor on the format.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        small = pc.less(pc.abs(column), _INTEGERS)
        whole = pc.fill_null(pc.and_(pc.equal(pc.floor(column), column), small), False)
        integers = pc.if_else(whole, column, 0.0).cast(pa.int64()).cast(pa.string())
        return pc.if_else(whole, integers, column.cast(pa.string()))
    text = _try(lambda: column.cast(pa.string()))
    if text is None or pa.types.is_timestamp(kind):
        text = pa.array([_text(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_decimal(kind):
        text = _without_exponents(text)
        fraction = pc.match_substring(text, ".")
        bare = pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")
        text = pc.if_else(fraction, bare, text)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _without_exponents(decimals: pa.Array) -> pa.Array:
    """Arrow spells a decimal nought of eight places 0E-8, where a file of text has 0.00000000."""
    odd = pc.fill_null(pc.match_substring(decimals, "E"), False)
    read = [f"{Decimal(text):f}" for text in decimals.filter(odd).to_pylist()]
    return pc.replace_with_mask(decimals, odd, pa.array(read, pa.string()))


def numbers(column: pa.Array, spelling: Spelling = Spelling()) -> pa.Array:
    """As float64; NaN, infinities and what is no number become null."""
    if pa.types.is_boolean(column.type):
        return pa.nulls(len(column), pa.float64())
    if pa.types.is_decimal(column.type):  # Arrow's own cast misses the nearest float now and then
        column = column.cast(pa.string()).cast(pa.float64())
    if not pa.types.is_string(column.type):
        values = _try(lambda: column.cast(pa.float64(), safe=False))
        if values is None:
            return pa.nulls(len(column), pa.float64())
    else:
        values = _of_texts(column, spelling)
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _of_texts(column: pa.Array, spelling: Spelling) -> pa.Array:
    """Whole columns by Arrow; where a text is odd, the odd ones value by value."""
    trimmed = pc.utf8_trim_whitespace(column)
    if spelling.thousands == ".":  # what is left of a full stop is no number's
        trimmed = pc.if_else(spelling.matches(column), trimmed, None)
    trimmed = spelling.plain(trimmed)
    common = pc.fill_null(pc.match_substring_regex(trimmed, _COMMON_NUMBER), False)
    values = pc.if_else(common, trimmed, None).cast(pa.float64())
    odd = pc.and_(pc.invert(common), pc.is_valid(trimmed))
    if not pc.any(odd).as_py():
        return values
    read = [_number(text) for text in trimmed.filter(odd).to_pylist()]
    return pc.replace_with_mask(values, odd, pa.array(read, pa.float64()))


def joined(parts: list[pa.Array]) -> pa.Array:
    """Texts joined so that different tuples never meet; null where any part is."""
    escaped = [
        pc.replace_substring(pc.replace_substring(part, "\\", "\\\\"), "|", "\\|") for part in parts
    ]
    return pc.binary_join_element_wise(*escaped, "|")


def json_objects(columns: dict[str, pa.Array]) -> pa.Array:
    """One JSON object per row; null values are left out, and so is an object without any.

    Args:
        columns: plain ones, by the names of the members.
    """
    members = [
        pc.binary_join_element_wise(f", {json.dumps(name)}: ", _json_values(column), "")
        for name, column in columns.items()
    ]
    # Not by the kernel's own skipping of nulls: of a single column, it skips the rows.
    inner = pc.binary_join_element_wise(*(pc.fill_null(one, "") for one in members), "")
    wrapped = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(inner, 2), "}", "")
    return pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.string()), wrapped)


def _json_values(column: pa.Array) -> pa.Array:
    """JSON of each value, the same whether a number or boolean comes typed or as text."""
    if pa.types.is_floating(column.type):
        return texts(numbers(column))
    encoded = texts(column).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    decimals = [text for text in distinct if _is_decimal(text)]
    spelled = texts(pa.array(map(float, decimals), pa.float64())).to_pylist()
    known = dict(zip(decimals, spelled, strict=True))
    values = [known.get(text) or _json_value(text) for text in distinct]
    return pa.array(values, pa.string()).take(encoded.indices)


def _is_decimal(text: str) -> bool:
    return bool(re.fullmatch(_NUMBER, text)) and not re.fullmatch(_INTEGER, text)


def _json_value(text: str) -> str:
    plain = text in ("true", "false") or re.fullmatch(_INTEGER, text)
    return text if plain else json.dumps(text)


def _try(convert: Callable[[], pa.Array]) -> pa.Array | None:
    try:
        return convert()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError):
        return None


def _text(value: Any) -> str | None:
    text = as_text(value)
    return text if text is None or text.isascii() or not _SURROGATE.search(text) else None


def _number(text: str) -> float | None:
    try:
        value = math.nan if "_" in text else float(text)  # 1_000 is a number to Python only
    except ValueError:
        return None
    return value if math.isfinite(value) else None
