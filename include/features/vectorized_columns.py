"""Names that moved to `include.features.vectorized.columns`."""

from __future__ import annotations

import pyarrow as pa

from include.features.key_codes import numbered
from include.features.outputs import Floats, Integers, Texts
from include.features.vectorized.columns import EventColumns, Mask

__all__ = ["EventColumns", "Floats", "Integers", "Mask", "Texts", "encoded"]


def encoded(column: pa.ChunkedArray) -> Texts:
    """A text column as codes and dictionary."""
    dictionary, codes = numbered(pa.chunked_array(column, pa.string()))
    return Texts(codes, dictionary)
