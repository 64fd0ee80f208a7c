"""What a look for target leakage reads beside the labelled rows, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from include.training.leakage.power import Codes, Floats


@dataclass(frozen=True)
class Fresh:
    """What events say to a row, those younger than the label's horizon and older ones; or NaN."""

    what: str
    young: Floats
    final: Floats


@dataclass(frozen=True)
class Logged:
    """Vectors as they were logged when they were scored, the same made now, and their label."""

    then: pa.Table
    now: pa.Table
    label: Floats
    entity: Codes


@dataclass(frozen=True)
class Looks:
    """What there is beside the labelled rows."""

    recent: pa.Table | None = None  #: features of rows whose outcome nobody knows yet
    #: Origin → what its events say to each of the rows, in their order.
    fresh: Mapping[str, Sequence[Fresh]] = field(default_factory=dict)
    logged: Logged | None = None


@dataclass(frozen=True)
class SuspectedOrigin:
    """An origin that looks like the outcome."""

    origin: str
    columns: tuple[str, ...]  #: features that are made of it
    reasons: tuple[str, ...]
