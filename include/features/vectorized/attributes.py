"""Attributes: what was known of an entity, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.features.asof import Facts, microseconds
from include.features.columns import read_number, read_text
from include.features.declarations import AttributeLookup
from include.features.key_codes import numbered, positions
from include.features.outputs import Floats, Texts, Values
from include.features.time_order import Integers
from include.features.vectorized.spine_index import SpineIndex


@dataclass(frozen=True)
class AttributeFacts:
    """The facts about one attribute of one kind of entity."""

    table: pa.Table
    codes: Integers  #: of each fact's value, -1 for null
    values: list[object]

    def latest(self, ids: pa.Array, owners: Integers, at: Integers, known_at: Integers) -> Integers:
        """Codes of the values valid at `at` and known at `known_at`, -1 for null and for none.

        `owners` are positions in the entities' `ids`, or -1.
        """
        facts = Facts(
            positions(self.table["entity_id"], ids),
            microseconds(self.table["valid_from"]),
            microseconds(self.table["created_timestamp"]),
            self.table.select(["event_id", "source"]),
        )
        return np.append(self.codes, -1)[facts.latest(owners, at, known_at)]


def facts_about(attributes: pa.Table, entity_kind: str, name: str) -> AttributeFacts:
    """The facts about the attribute `name` of users, accounts or items."""
    about = pc.and_(pc.equal(attributes["entity"], entity_kind), pc.equal(attributes["name"], name))
    table = attributes.filter(about)
    values, codes = numbered(table["value"])
    return AttributeFacts(table, codes, values.to_pylist())


def attribute_feature(index: SpineIndex, attributes: pa.Table, lookup: AttributeLookup) -> Values:
    """The attribute of each distinct row of a spine index over its entity's id alone."""
    facts = facts_about(attributes, lookup.entity_kind, lookup.name)
    asked = index.questions
    codes = facts.latest(index.ids, asked.entity, asked.as_of, asked.as_of)
    return (as_texts if lookup.reading == "text" else as_numbers)(codes, facts.values)


def as_texts(codes: Integers, values: list[object]) -> Texts:
    """What the values say, read as texts."""
    texts = pa.array([read_text(value) for value in values], pa.string())
    dictionary, codes_of_values = numbered(pa.chunked_array([texts]))
    return Texts(np.append(codes_of_values, -1)[codes], dictionary)


def as_numbers(codes: Integers, values: list[object]) -> Floats:
    """What the values say, read as numbers, NaN for null."""
    numbers = [read_number(value) for value in values]
    known = [np.nan if number is None else number for number in numbers]
    return np.array([*known, np.nan], dtype=np.float64)[codes]
