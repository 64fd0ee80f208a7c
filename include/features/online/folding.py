"""Fewer records that give the same features: old ones made coarser, then equal ones merged.

Idea: at `until` or later no finite window reaches back beyond the layout's longest one. Of the
records before that, only features over all history read anything, so every other field is blanked
and their instants become few. Records that are then equal in entity, instant and key fields are
added up.

Invariant: every feature at `until` or later is the same before and after, sums to the last bit. So
folding may happen at any time, in any order, and to records that were folded before.

    at ── old ──────────────| until - longest |── recent ──────────| until
       blanked, few instants                    as they are
       └──────────────── equal neighbours merged ───────────────┘

Sums stay exact by error-free transformations: a + b is the rounded sum plus an error that is itself
a double (Knuth's two-sum). Rounds of pairwise sums leave a total and ever fewer errors per group;
what one double cannot hold stays in further records of no events (n = 0). Sources: Shewchuk,
"Adaptive precision floating-point arithmetic" (Discrete & Computational Geometry 18, 1997); Rump,
Ogita and Oishi, "Accurate floating-point summation" (SIAM Journal on Scientific Computing 31,
2008).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from include.features.online.layout import NO_TEXT, Layout, Slot
from include.features.online.records import Fields, Records, holds, in_order, null_of
from include.features.outputs import Floats, Integers
from include.features.vectorized.columns import Mask

#: Larger numbers are not added up, so that no sum overflows.
_LARGEST: Final = 1e290
#: After so many rounds the errors that are left stay as they are.
_ROUNDS: Final = 6


def fold(records: Records, until: int) -> Records:
    """As few records as give the same features at `until` or later.

    Args:
        until: microseconds since 1970.

    Returns:
        Records sorted by entity, then instant.
    """
    old = records.fields["at"] < until - records.layout.horizon
    if old.any():
        kept = ~old | _read_forever(records)
        records, old = records.take(kept), old[kept]
        fields = _coarser(records, old)
        records = Records(records.layout, records.entity, fields, records.words)
    return merge(records)


def merge(records: Records) -> Records:
    """Records that agree in entity, instant and key fields made one; sorted by the first two."""
    layout = records.layout
    order = np.lexsort((_hashed(records.fields, layout), records.fields["at"], records.entity))
    records = records.take(order)
    entity, fields = records.entity, records.fields
    equal = _as_before(entity) & _as_before(fields["at"]) & _same_keys(fields, layout)
    sums = [slot.name for slot in layout.slots if slot.role == "sum"]
    for name in sums:
        large = np.abs(fields[name]) > _LARGEST
        equal[large] = False
        equal[1:][large[:-1]] = False
    if not equal.any():
        return records
    first = np.flatnonzero(~equal)
    merged = fields[first]
    merged["n"] = np.add.reduceat(fields["n"], first)
    for slot in layout.slots:
        if slot.role in ("min", "max"):
            pick = np.fmin if slot.role == "min" else np.fmax
            merged[slot.name] = pick.reduceat(fields[slot.name], first)
    group = np.cumsum(~equal) - 1
    terms = {name: _distilled(group, fields[name], len(first)) for name in sums}
    for name in sums:
        merged[name] = terms[name][0]
    row = [np.arange(len(first))]
    parts = [merged]
    for rank in range(1, max(map(len, terms.values()), default=1)):
        carried = merged.copy()
        carried["n"] = 0
        any_left = np.zeros(len(first), dtype=bool)
        for name in sums:
            carried[name] = terms[name][rank] if rank < len(terms[name]) else 0.0
            any_left |= carried[name] != 0
        row.append(np.flatnonzero(any_left))
        parts.append(carried[any_left])
    rows = np.concatenate(row)
    back = np.argsort(rows, kind="stable")
    return Records(layout, entity[first][rows[back]], np.concatenate(parts)[back], records.words)


def _read_forever(records: Records) -> Mask:
    """True for what some feature over all history reads."""
    layout = records.layout
    wanted = np.zeros(len(records), dtype=bool)
    for where in {use.where for use in layout.uses if use.forever}:
        wanted |= holds(records, layout.bit(where))
    return wanted


def _coarser(records: Records, old: Mask) -> Fields:
    """The fields without what only finite windows read of the old records."""
    layout, fields = records.layout, records.fields.copy()
    forever = [use for use in layout.uses if use.forever]
    if layout.bytes_of_bits:
        bits = np.zeros(8 * layout.bytes_of_bits, dtype=bool)
        for use in forever:
            bit = layout.bit(use.where)
            if bit is not None:
                bits[bit] = True
            if use.function == "mean":
                bits[layout.counted_bit(str(use.value))] = True
        fields["bits"][old] &= np.packbits(bits, bitorder="little")
    if layout.dated and not any(use.function == "days_active" for use in forever):
        fields["day"][old] = 0
    ends = np.zeros(len(records), dtype=bool)
    for slot in layout.slots:
        read = _ends(records, slot, old) if slot.role == "ends" else np.full(len(records), True)
        if not any(use.slot == slot for use in forever):
            read[:] = False
        fields[slot.name][old & ~read] = null_of(slot)
        if slot.role == "ends":
            ends |= old & read
    if layout.ordered:
        for name in ("event_id", "source"):
            fields[name][old & ~ends] = NO_TEXT
    timed = any(use.function.startswith("time_since") for use in forever)
    _set_instants(records, fields, np.flatnonzero(old & ~ends), timed=timed)
    return fields


def _ends(records: Records, slot: Slot, old: Mask) -> Mask:
    """True for the old records that hold an entity's first or last value over all history."""
    ends = np.zeros(len(records), dtype=bool)
    values = records.fields[slot.name]
    present = values != NO_TEXT if slot.reading == "text" else ~np.isnan(values)
    for use in records.layout.uses:
        if use.slot == slot and use.forever:
            among = old & present & holds(records, records.layout.bit(use.where))
            rows = in_order(records, np.flatnonzero(among))
            edge = ~_as_before(records.entity[rows])
            chosen = edge if use.function == "first" else np.roll(edge, -1)
            ends[rows[chosen]] = True
    return ends


def _set_instants(records: Records, fields: Fields, rows: Integers, *, timed: bool) -> None:
    """Give records that agree in all but their instant one instant, or the first and the last."""
    hashed = _hashed(fields[rows], records.layout)
    rows = rows[np.lexsort((fields["at"][rows], hashed, records.entity[rows]))]
    some, at = fields[rows], fields["at"][rows]
    start = ~(_as_before(records.entity[rows]) & _same_keys(some, records.layout))
    group = np.cumsum(start) - 1
    first, last = at[start], at[np.roll(start, -1)]
    fields["at"][rows] = np.where(at == first[group], at, last[group]) if timed else first[group]


def _as_before(values: npt.NDArray[np.generic]) -> Mask:
    """True where a value equals the one before it."""
    same = np.zeros(len(values), dtype=bool)
    same[1:] = values[1:] == values[:-1]
    return same


def _same_keys(fields: Fields, layout: Layout) -> Mask:
    """True where a record agrees with the one before it in every key field."""
    same = np.ones(len(fields), dtype=bool)
    for column in _key_columns(fields, layout):
        same &= _as_before(column)
    return same


def _hashed(fields: Fields, layout: Layout) -> npt.NDArray[np.uint64]:
    """Brings records with the same key fields next to each other, but for rare collisions.

    A collision keeps apart what could be merged, and that is harmless.
    """
    result = np.zeros(len(fields), dtype=np.uint64)
    for column in _key_columns(fields, layout):
        result = (result ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return result


def _key_columns(fields: Fields, layout: Layout) -> list[npt.NDArray[np.generic]]:
    """The key fields as integers."""
    columns: list[npt.NDArray[np.generic]] = []
    for name in layout.keys:
        values = np.ascontiguousarray(fields[name])
        if name == "bits":
            columns += [values[:, byte] for byte in range(layout.bytes_of_bits)]
        else:
            columns.append(values.view(np.int64) if values.dtype == np.float64 else values)
    return columns


def _distilled(group: Integers, values: Floats, groups: int) -> list[Floats]:
    """A few numbers per group that have exactly the sum of the group's; groups are adjacent."""
    terms: list[Floats] = []
    for _ in range(_ROUNDS):
        total, group, values = _added(group, values, groups)
        terms.append(total)
        if not len(values):
            return terms
    start = np.flatnonzero(~_as_before(group))
    rank = np.arange(len(group)) - np.repeat(start, np.diff(np.append(start, len(group))))
    for one in range(int(rank.max()) + 1):
        term = np.zeros(groups)
        term[group[rank == one]] = values[rank == one]
        terms.append(term)
    return terms


def _added(group: Integers, values: Floats, groups: int) -> tuple[Floats, Integers, Floats]:
    """Each group's rounded sum, and the errors that rounding made, with their groups."""
    lost_of, lost = [group[:0]], [values[:0]]
    while True:
        same = _as_before(group)
        if not same.any():
            break
        start = np.flatnonzero(~same)
        place = np.arange(len(group)) - np.repeat(start, np.diff(np.append(start, len(group))))
        left = np.flatnonzero(place % 2 == 0)
        a = values[left]
        b = np.where(np.append(same, False)[left + 1], np.append(values, 0.0)[left + 1], 0.0)
        total = a + b
        back = total - a
        error = (a - (total - back)) + (b - back)
        lost_of.append(group[left][error != 0])
        lost.append(error[error != 0])
        group, values = group[left], total
    sums = np.zeros(groups)
    sums[group] = values
    owners = np.concatenate(lost_of)
    order = np.argsort(owners, kind="stable")
    return sums, owners[order], np.concatenate(lost)[order]
