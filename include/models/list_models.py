"""Item models as they serve: lists, something for those of whom nothing is known, and their bytes.

A list holds nothing but items that somebody in the history handed in has had: of a shared model,
those of the tenant that asks; of an old one, those still about.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, IntegrityError
from include.models import arrays
from include.models.association import Association
from include.models.diversity import AS_SCORED, Variety, weeks_of
from include.models.ease import Ease
from include.models.interactions import interactions
from include.models.item_lists import LISTS
from include.models.playlist import Blend, Columns, experts
from include.models.popularity import Popularity

_MOST: Final = 4_000.0  #: that the weight of an expert can be, or days be many
_PACKED: Final = {"header", "arrays"}  #: keys of a part that is arrays


@dataclass(frozen=True)
class EasePredictor:
    """A blend of EASE, of what is about lately, and of the kinds of things an entity likes."""

    ease: Ease
    blend: Blend
    columns: Columns
    variety: Variety = AS_SCORED

    WORDS: ClassVar = Ease.WORDS | {
        *("ease", "blend", "columns", "variety", *_PACKED),
        *Blend.__dataclass_fields__,
        *Columns.__dataclass_fields__,
        *Variety.__dataclass_fields__,
    }

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists of at most `top`; who has had nothing that counts gets what is about lately."""
        found = experts(history, self.columns, self.ease)
        drop, variety = self.ease.settings.seen == "drop", self.variety
        deep = found.lists(
            self.blend,
            variety.depth(top),
            drop_seen=drop,
            among=among,
            novelty=variety.novelty,
        )
        weeks = weeks_of(history) if variety.chance else {}
        return variety.chosen(deep, found.categories, weeks, top)

    def reasons(self, history: pa.Table, lists: pa.Table, most: int) -> list[list[dict[str, Any]]]:
        """What each expert adds, see `Experts.reasons`; varied lists keep the items' own scores."""
        found = experts(history, self.columns, self.ease)
        novelty, kind = self.variety.novelty, self.columns.category
        return found.reasons(self.blend, lists, most, novelty=novelty, kind=kind)

    def payload(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {
            "ease": _packed(self.ease),
            "blend": asdict(self.blend),
            "columns": asdict(self.columns),
            "variety": asdict(self.variety),
        }

    @classmethod
    def from_payload(cls, payload: Any) -> EasePredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        _check(payload, {"ease", "blend", "columns", "variety"})
        blend, columns = payload["blend"], payload["columns"]
        variety = payload["variety"]
        _check(blend, {"trend", "taste", "likeness"})
        _check(columns, {"weight", "recency", "category", "lately"})
        _check(variety, {"relevance", "novelty", "chance", "seed"})
        lately, seed = columns["lately"], variety["seed"]
        sound = (
            all(isinstance(one, float) and 0 <= one <= _MOST for one in blend.values())
            and all(isinstance(columns[name], str) for name in ("weight", "recency", "category"))
            and isinstance(lately, float)
            and 0 < lately <= _MOST
            and all(isinstance(one, float) for name, one in variety.items() if name != "seed")
            and type(seed) is int
        )
        if not sound:
            raise IntegrityError("a blend has weights, names of columns, days and variety")
        ease = Ease.from_arrays(*_unpacked(payload["ease"]))
        try:
            told = Variety(**variety)
        except ConfigError as error:
            raise IntegrityError(str(error)) from None
        return cls(ease, Blend(**blend), Columns(**columns), told)


@dataclass(frozen=True)
class AssociationPredictor:
    """What goes with the items at hand."""

    association: Association

    WORDS: ClassVar = Association.WORDS | _PACKED

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists of at most `top`, of items `among` these, or those at hand."""
        allowed = _items(history) if among is None else among
        return self.association.recommend(history, top, among=allowed)

    def reasons(self, history: pa.Table, lists: pa.Table, most: int) -> list[list[dict[str, Any]]]:
        """In how many baskets the items at hand lay with it, see `Association.together`."""
        return self.association.together(history, lists, most)

    def payload(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return _packed(self.association)

    @classmethod
    def from_payload(cls, payload: Any) -> AssociationPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        return cls(Association.from_arrays(*_unpacked(payload)))


@dataclass(frozen=True)
class PopularityPredictor:
    """The same list for everybody, without what they have had where that is dropped."""

    popular: Popularity

    WORDS: ClassVar = Popularity.WORDS | _PACKED

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists of at most `top`, of items `among` these, or those at hand."""
        allowed = _items(history) if among is None else among
        return self.popular.recommend(history, top, among=allowed)

    def payload(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return _packed(self.popular)

    @classmethod
    def from_payload(cls, payload: Any) -> PopularityPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        return cls(Popularity.from_arrays(*_unpacked(payload)))


@dataclass(frozen=True)
class OwnHistoryPredictor:
    """What an entity had most of, once more."""

    weight: str  #: column of the history; each item counts alike without one

    WORDS: ClassVar = frozenset({"weight"})

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists of at most `top`; ties go by item id."""
        if among is not None:
            history = history.filter(pc.is_in(history["item_id"], pa.array(sorted(among))))
        own = interactions(history, self.weight)
        order = np.lexsort((own.columns, -own.weights, own.rows))
        place = np.arange(len(order)) - np.searchsorted(own.rows, own.rows)
        kept = order[place < top]
        return pa.table(
            [
                pa.array(own.entities, pa.string()).take(pa.array(own.rows[kept])),
                pa.array(own.items, pa.string()).take(pa.array(own.columns[kept])),
                pa.array(own.weights[kept], pa.float64()),
            ],
            schema=LISTS,
        )

    def payload(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {"weight": self.weight}

    @classmethod
    def from_payload(cls, payload: Any) -> OwnHistoryPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        _check(payload, {"weight"})
        if not isinstance(payload["weight"], str):
            raise IntegrityError("the weight of a history is the name of a column")
        return cls(payload["weight"])


def _items(history: pa.Table) -> set[str]:
    return set(pc.unique(history["item_id"]).to_pylist())


def _packed(part: Ease | Association | Popularity) -> dict[str, Any]:
    content = base64.b64encode(arrays.to_bytes(part.arrays())).decode()
    return {"header": dict(part.header()), "arrays": content}


def _unpacked(payload: Any) -> tuple[Mapping[str, Any], arrays.Arrays]:
    _check(payload, _PACKED)
    header, content = payload["header"], payload["arrays"]
    if not isinstance(header, dict) or not isinstance(content, str):
        raise IntegrityError("a part of an item model is a header and arrays in base64")
    try:
        decoded = base64.b64decode(content, validate=True)
    except ValueError:
        decoded = b""
    if base64.b64encode(decoded).decode() != content:  # which has one spelling
        raise IntegrityError("the arrays of an item model are not base64")
    return header, arrays.from_bytes(decoded)


def _check(payload: Any, keys: set[str]) -> None:
    if not isinstance(payload, dict) or set(payload) != keys:
        raise IntegrityError(f"this part of a model has exactly the keys {', '.join(sorted(keys))}")
