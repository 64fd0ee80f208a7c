"""Freshness, age, completion and vintage: leaks that show in when a value became known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from include.models.estimators import matrix
from include.training.leakage.evidence import Fresh, Logged
from include.training.leakage.power import power
from include.training.leakage.table import (
    EXPECTED,
    FEWEST,
    SURE,
    SURER,
    Side,
    Table,
    usual_value,
)

#: Power from which a feature is strong, and how much of it goes with age alone.
STRONG, CHANGED = 0.4, 0.3
#: Power that fresh events have, and how much more that is than that of final ones.
TELLING, FRESHER = 0.2, 0.05
#: How many times fewer fresh rows have a value.
FEWER: Final = 2.0
#: Share of logged vectors that have changed since.
REWRITTEN: Final = 0.02


def fresher(side: Side, found: Sequence[Fresh]) -> Iterator[str]:
    """A reason where young events tell the outcome, and older ones, which are final, do not."""
    table = side.table
    for measure in found:
        both = ~np.isnan(measure.young) & ~np.isnan(measure.final)
        if both.sum() < FEWEST:
            continue
        young, final = table.power(measure.young, both), table.power(measure.final, both)
        sign = -1.0 if young.value < 0 else 1.0
        lead = young.times(sign) - final.times(sign)
        if abs(young.value) >= TELLING and lead.above(FRESHER, table.entity, SURE):
            yield (
                f"{measure.what} of events younger than the label's horizon tells the outcome with "
                f"a power of {abs(young.value):.2f}, that of older ones, which are final, with "
                f"{sign * final.value:.2f}"
            )
            return


def changed_with_age(side: Side) -> Iterator[str]:
    """A reason where a feature tells the outcome of new rows and not of old ones, or the reverse.

    The loss must be large by itself, and beyond what everything else loses between the same rows.
    """
    table = side.table
    if table.instant.max() < 1:
        return
    new, old = table.new, table.old
    rest = table.power(side.rest, new) - table.power(side.rest, old)
    for strong, weak, sign, words in ((new, old, 1, "new"), (old, new, -1, "old")):
        name = table.strongest(side.names, strong)[0]
        here = table.power(table.column(name), strong)
        turn = -1.0 if here.value < 0 else 1.0
        here = here.times(turn)
        elsewhere = table.power(table.column(name), weak).times(turn)
        lost = here - elsewhere
        if here.value < STRONG or abs(elsewhere.value) > here.value / 2:
            continue
        own = lost - rest.times(sign)
        if all(drop.above(CHANGED, table.entity, SURER) for drop in (lost, own)):
            yield (
                f"{name} tells the outcome of {words} rows with a power of {here.value:.2f}, "
                f"and of {'old' if words == 'new' else 'new'} ones with {elsewhere.value:.2f}"
            )
            return


def rewritten(side: Side, logged: Logged) -> Iterator[str]:
    """A reason where a feature changed after it was scored, and the change tells the outcome.

    Three scores are tried: by how much the value changed, whether it did, and what the value of now
    tells more than the one of then.
    """
    binary = side.table.binary
    for name in side.names:
        if name not in logged.then.column_names or name not in logged.now.column_names:
            continue
        then, now = (matrix(table, (name,))[:, 0] for table in (logged.then, logged.now))
        differs = ~((then == now) | (np.isnan(then) & np.isnan(now)))
        if differs.sum() < FEWEST or differs.mean() < REWRITTEN:
            continue
        change = np.nan_to_num(now) - np.nan_to_num(then)
        scores = (change, differs.astype(np.float64), now)
        for score in scores:
            after = power(logged.label, score, binary)
            sign = -1.0 if after.value < 0 else 1.0
            after = after.times(sign)
            if score is now:
                after -= power(logged.label, then, binary).times(sign)
            if after.value >= TELLING and after.above(FRESHER, logged.entity, SURE):
                yield (
                    f"{name} is another than it was when it was scored in {differs.mean():.0%} "
                    f"of {len(then):,} rows, and the change tells the outcome with a power of "
                    f"{after.value:.2f}"
                )
                return


def lacking(table: Table, recent: pa.Table | None) -> dict[str, str]:
    """Features that tell the outcome by being there, and that rows without an outcome lack.

    Each with the reason. Labelled rows of the newer half of instants are the measure, the emptiest
    instant among them included: rows of any one instant may be few.
    """
    if recent is None or not recent.num_rows:
        return {}
    reasons = {}
    counts = np.bincount(table.instant, table.weight)
    half = len(counts) // 2
    last = int((table.instant == len(counts) - 1).sum())
    fresh = matrix(recent, table.columns)
    for place, name in enumerate(table.columns):
        column, values = table.values[:, place], fresh[:, place]
        usual = usual_value(column)
        present, present_now = (~np.isnan(part) & (part != usual) for part in (column, values))
        filled = np.bincount(table.instant, present * table.weight)[half:]
        before, after = float(filled.sum() / counts[half:].sum()), float(present_now.mean())
        least = float((filled / counts[half:]).min())
        if before * len(present_now) < EXPECTED or after > least / FEWER:
            continue
        spread = before * (1 - before) / last + after * (1 - after) / len(present_now)
        by_presence = table.power(present.astype(np.float64), np.ones(len(present), dtype=bool))
        by_presence = by_presence.times(-1.0 if by_presence.value < 0 else 1.0)
        tells = by_presence.above(FRESHER, table.entity, SURE)
        if tells and before - after > SURER * np.sqrt(spread):
            reasons[name] = (
                f"{name} says something in {after:.0%} of the rows that have no outcome yet, "
                f"and did in {before:.0%} of those that have one"
            )
    return reasons
