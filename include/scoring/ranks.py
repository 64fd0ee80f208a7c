"""From scores to ranked rows: who comes first, and what is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, QualityError, UnknownNameError
from include.models.model import Scores
from include.registry.card import plain
from include.scoring.exposure import fair_order
from include.storage.entities import ENTITY_COLUMNS

TASKS: Final = ("classification", "regression", "ranking", "association")
#: Columns: whom, what (empty unless ranked), place from 1, score, score of the baseline or null,
#: and a JSON object of what else is known: bounds, reasons.
SCHEMA: Final = pa.schema(
    [
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("baseline_score", pa.float64()),
        pa.field("details", pa.string()),
    ]
)


def ranked(
    features: pa.Table,
    task: str,
    top_k: int,
    *,
    scores: Scores,
    baseline: Scores | None,
    details: Callable[[pa.Array], Sequence[Mapping[str, Any]]] | None = None,
    parity: Sequence[str] | None = None,
    entity: str = "",
    catalogue: Sequence[str] = (),
) -> pa.Table:
    """Rows of `SCHEMA`, best first; equal scores are ordered by entity, then item.

    Args:
        features: one row per entity; per entity and `item_id` in a ranking.
        scores: of shape `(rows,)`, in row order.
        details: of the rows at these places, asked for those that are shown.
        parity: group of each row's item; lists then give every group its share, see `exposure`.
        entity: the column of whom or what is scored; else the first there is of a user's, an
            account's and an item's.
        catalogue: items in an order that equal scores of an entity follow before that of their ids.

    Raises:
        QualityError: a score is missing or not finite, a row has no entity, or two have the same.
    """
    if task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    if scores.shape != (features.num_rows,) or not np.isfinite(scores).all():
        wrong = int(np.count_nonzero(~np.isfinite(scores)))
        raise QualityError(
            f"the model gave {scores.size} scores for {features.num_rows} rows, {wrong} of them "
            "not finite; nothing was written. Look at the features, then retrain"
        )
    ranking = task == "ranking"
    known = np.full(features.num_rows, np.nan) if baseline is None else baseline
    rows = pa.table(
        {
            "entity_id": _ids(features, entity or _entity_column(features, ranking)),
            "item_id": _ids(features, "item_id") if ranking else [""] * features.num_rows,
            "score": scores + 0.0,  # -0.0 and 0.0 are one place
            "baseline_score": pa.array(known, mask=~np.isfinite(known)),
            "place": np.arange(len(known)),
        }
    )
    keys = rows.group_by(["entity_id", "item_id"]).aggregate([])
    if keys.num_rows < rows.num_rows:
        raise QualityError(
            f"{rows.num_rows - keys.num_rows} rows to score repeat an entity; nothing was "
            "written. Run the features stage again"
        )
    if catalogue:
        standing = pc.index_in(rows["item_id"], pa.array(catalogue, pa.string()))
        rows = rows.append_column("standing", pc.fill_null(standing, len(catalogue)))
    ties = ["entity_id", *(["standing"] if catalogue else []), "item_id"]
    best_first = [("score", "descending"), *((name, "ascending") for name in ties)]
    if not ranking:
        rows = rows.sort_by(best_first)
        ranks = np.arange(1, rows.num_rows + 1)
    else:
        if parity is not None:
            rows = rows.append_column("group", pa.array(parity, pa.string()))
        rows = rows.sort_by([("entity_id", "ascending"), *best_first])
        if parity is not None:
            rows = rows.take(pa.array(_fairly(rows, top_k)))
        ranks = _places(rows["entity_id"])
        rows, ranks = rows.filter(pa.array(ranks <= top_k)), ranks[ranks <= top_k]
    told = details(rows["place"].combine_chunks()) if details else ({},) * rows.num_rows
    rows = rows.append_column("details", pa.array([_json(one) for one in told], pa.string()))
    rows = rows.append_column("rank", pa.array(ranks, pa.int32()))
    return rows.select(SCHEMA.names).cast(SCHEMA)


def _fairly(rows: pa.Table, top_k: int) -> list[int]:
    """The rows to show in their order: per entity, each group with its share of all candidates."""
    groups = rows["group"].to_pylist()
    shares = {group: count / len(groups) for group, count in Counter(groups).items()}
    starts = np.flatnonzero(_places(rows["entity_id"]) == 1).tolist()
    chosen: list[int] = []
    for start, end in pairwise([*starts, rows.num_rows]):
        order = fair_order(groups[start:end], shares, top_k)
        chosen += [start + place for place in order]
    return chosen


def listed(
    found: pa.Table,
    top_k: int,
    details: Callable[[pa.Table], Sequence[Mapping[str, Any]]] | None = None,
) -> pa.Table:
    """Rows of `SCHEMA` from the lists of a model: `entity_id, item_id, score`, best first.

    Args:
        details: of the rows that are kept, asked for these.

    Raises:
        QualityError: a score is not finite, or a list names an item twice.
    """
    scores = found["score"].to_numpy()
    if not np.isfinite(scores).all():
        raise QualityError(
            f"{int((~np.isfinite(scores)).sum())} scores of the lists are not finite; nothing was "
            "written. Look at the features, then retrain"
        )
    if found.group_by(["entity_id", "item_id"]).aggregate([]).num_rows < found.num_rows:
        raise QualityError("a list names an item twice; nothing was written. Retrain the model")
    rows = found.select(["entity_id", "item_id", "score"]).sort_by(
        [("entity_id", "ascending"), ("score", "descending"), ("item_id", "ascending")]
    )
    ranks = _places(rows["entity_id"])
    rows, ranks = rows.filter(pa.array(ranks <= top_k)), ranks[ranks <= top_k]
    told = details(rows) if details else ({},) * rows.num_rows
    return pa.table(
        {
            "entity_id": rows["entity_id"],
            "item_id": rows["item_id"],
            "rank": pa.array(ranks, pa.int32()),
            "score": rows["score"],
            "baseline_score": pa.nulls(rows.num_rows, pa.float64()),
            "details": pa.array([_json(one) for one in told], pa.string()),
        },
        schema=SCHEMA,
    )


def _json(details: Mapping[str, Any]) -> str | None:
    """The details as JSON, in which there is no NaN; None where there are none."""
    return json.dumps(plain(details), sort_keys=True) if details else None


def _places(entities: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Place within each run of equal entities, from 1."""
    codes = entities.combine_chunks().dictionary_encode().indices.to_numpy()
    at = np.arange(len(codes))
    first = np.ones(len(codes), dtype=bool)
    first[1:] = codes[1:] != codes[:-1]
    return at - np.maximum.accumulate(np.where(first, at, 0)) + 1


def _entity_column(features: pa.Table, ranking: bool) -> str:
    wanted = [c for c in ENTITY_COLUMNS.values() if not (ranking and c == "item_id")]
    for column in wanted:
        if column in features.column_names:
            return column
    raise ConfigError(f"the features have no entity column; one of: {', '.join(wanted)}")


def _ids(features: pa.Table, column: str) -> pa.ChunkedArray:
    if column not in features.column_names:
        raise ConfigError(f"the features of a ranking need the column {column!r}")
    ids = features[column].cast(pa.string())
    if ids.null_count:
        raise QualityError(f"{ids.null_count} rows to score have no {column}; nothing was written")
    return ids
