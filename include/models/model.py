"""What every model is to the rest of Tenantry: columns in, one score per row out, bytes at rest.

The bytes are one JSON document. LightGBM stands in it as its own text, a scikit-learn pipeline as
skops, which is loaded with `TRUSTED_TYPES` only. Nothing in it can execute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import ConfigError

Scores = npt.NDArray[np.float64]


class Predictor(Protocol):
    """A fitted estimator or baseline that scores rows."""

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`, higher meaning more likely; probabilities where fitted so."""


@runtime_checkable
class ListPredictor(Protocol):
    """A predictor that answers with lists, from the items that each entity has had."""

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """At most `top` items per entity: `entity_id, item_id, score`, best first.

        Args:
            history: `entity_id`, `item_id`, `as_of` and features, a row per entity and item it has
                had.
            among: items that may be listed; those of the history where None.
        """


@runtime_checkable
class IntervalPredictor(Protocol):
    """A predictor that says how far off its scores may be."""

    def intervals(self, features: pa.Table) -> Mapping[str, Scores]:
        """`low_80`, `high_80`, `low_95` and `high_95`, each of shape `(rows,)`."""


@dataclass(frozen=True)
class Contributions:
    """What each feature added to each row's margin; with `base` they sum up to it exactly."""

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]  #: `(rows, columns)`
    base: Scores  #: `(rows,)`, the margin of a row of which nothing is known


@runtime_checkable
class ExplainedPredictor(Protocol):
    """A predictor whose scores can be taken apart by feature."""

    def contributions(self, features: pa.Table) -> Contributions:
        """Additive contributions on the margin: log odds where scores are probabilities."""


@runtime_checkable
class ExtremesPredictor(Protocol):
    """A predictor that keeps single values of its rows, which other tenants must not get."""

    def without_extremes(self) -> Predictor:
        """The same predictor without them; its scores are the same."""


@runtime_checkable
class ExplainedLists(Protocol):
    """A predictor that says why an item stands on a list."""

    def reasons(self, history: pa.Table, lists: pa.Table, most: int) -> list[list[dict[str, Any]]]:
        """Per row of lists that it made of the history, what speaks for the item."""


@dataclass(frozen=True)
class Model:
    """A predictor with what is needed to use and to reproduce it."""

    kind: str  #: one of `serialise.KINDS`
    columns: tuple[str, ...]  #: features it reads, in order
    predictor: Predictor | ListPredictor
    parameters: Mapping[str, Any]

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`, in row order.

        Raises:
            ConfigError: the model answers with lists.
        """
        if isinstance(self.predictor, ListPredictor):
            raise ConfigError(f"a model of kind {self.kind!r} gives lists, not a score per row")
        return self.predictor.predict(features)

    @property
    def lists(self) -> bool:
        """Whether it answers with lists."""
        return isinstance(self.predictor, ListPredictor)

    def recommend(
        self, history: pa.Table, top: int, among: Collection[str] | None = None
    ) -> pa.Table:
        """Lists, see `ListPredictor`.

        Raises:
            ConfigError: the model scores rows.
        """
        if not isinstance(self.predictor, ListPredictor):
            raise ConfigError(f"a model of kind {self.kind!r} scores rows, it gives no lists")
        return self.predictor.recommend(history, top, among)

    def list_details(
        self, history: pa.Table, lists: pa.Table, reasons: int
    ) -> list[dict[str, Any]]:
        """Per row of its lists what is kept beside the score: what speaks for the item, if asked.

        Args:
            lists: `entity_id, item_id`, as `recommend` gave them of the history.
            reasons: how many, the weightiest first; 0 names none.
        """
        if not reasons or not isinstance(self.predictor, ExplainedLists):
            return [{} for _ in range(lists.num_rows)]
        told = self.predictor.reasons(history, lists, reasons)
        return [{"reasons": one} if one else {} for one in told]

    def details(self, features: pa.Table, reasons: int) -> list[dict[str, Any]]:
        """Per row what is kept beside its score: bounds, and the features that moved it most.

        Args:
            reasons: how many features, largest contribution first; 0 names none.
        """
        rows: list[dict[str, Any]] = [{} for _ in range(features.num_rows)]
        if isinstance(self.predictor, IntervalPredictor):
            for name, bound in self.predictor.intervals(features).items():
                for row, value in zip(rows, bound.tolist(), strict=True):
                    row[name] = value
        if reasons and isinstance(self.predictor, ExplainedPredictor):
            found = self.predictor.contributions(features)
            order = np.argsort(-np.abs(found.values), axis=1, kind="stable")[:, :reasons]
            known = set(features.column_names)  # a model may make more of them
            chosen = [features[name] if name in known else None for name in found.columns]
            for number, row in enumerate(rows):
                row["reasons"] = [
                    {
                        "feature": found.columns[column],
                        "value": None if values is None else values[number].as_py(),
                        "contribution": float(found.values[number, column]),
                    }
                    for column, values in ((at, chosen[at]) for at in order[number].tolist())
                    if found.values[number, column] != 0
                ]
        return rows


def row_scores(model: Model, features: pa.Table, entity: str) -> Scores:
    """A score per row of any model; of lists, the best score on the list of the row's entity.

    Args:
        entity: the key column by which `features` tell entities apart.
    """
    if not model.lists:
        return model.predict(features)
    owners = features[entity].combine_chunks().dictionary_encode()
    codes = owners.indices.to_numpy()
    found = model.recommend(asking(features, entity), 1)
    best = dict(zip(found["entity_id"].to_pylist(), found["score"].to_pylist(), strict=True))
    values = np.array([best.get(owner, 0.0) for owner in owners.dictionary.to_pylist()])
    return values[codes] if len(codes) else np.empty(0)


def asking(features: pa.Table, entity: str) -> pa.Table:
    """Features as list models read them; an item asks for what goes with it by itself."""
    names = ["entity_id" if name == entity else name for name in features.column_names]
    history = features.rename_columns(names)
    if entity == "item_id":
        history = history.append_column("item_id", history["entity_id"])
    return history
