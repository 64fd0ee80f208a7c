"""The window that drift is measured against: what a model was judged on, with its predictions."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from include.models.contributors import Contributors
from include.models.model import Model, row_scores
from include.storage.canonical import TIMESTAMP
from include.training.contributors import known_texts
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

#: Rows of a reference window; drift statistics need no more, and depend on the number.
REFERENCE_ROWS: Final = 5_000


def reference_window(
    use_case: UseCase,
    model: Model,
    held: LabelledRows,
    recent: pa.Table | None,
    contributors: Contributors | None,
) -> pa.Table:
    """Features and prediction of the window the model was judged on.

    For models that answer with lists, the rows are those to be scored at the training instead: the
    holdout has several histories of one entity, or baskets where items are asked about. Entities
    and items are numbers: drift statistics have to know which rows belong together, and nobody has
    to know to whom.

    Args:
        held: the holdout.
        recent: stands in for a holdout that has no rows.
        contributors: how many must share what other tenants get; None where nobody gets anything.
    """
    names = list(use_case.feature_columns)
    if recent is None or (len(held) and not use_case.lists):
        features = held.features
        if contributors is not None:
            features = known_texts(features, held.tenant, contributors)
        keys = {"item_id": held.item, use_case.keys[0]: held.entity, "as_of": held.as_of}
    else:
        features = recent.select(names).replace_schema_metadata(None)
        keys = {key: recent[key].to_numpy() for key in (*use_case.keys, "as_of")}
    codes = {
        key: pa.array(np.unique(keys[key].astype(str), return_inverse=True)[1].astype(str))
        for key in use_case.keys
        if key in keys
    }
    instants = pa.array(keys["as_of"], TIMESTAMP)
    table = pa.table({**codes, "as_of": instants})
    for column in names:
        table = table.append_column(column, features[column])
    if use_case.lists:  # which read whole histories, of items by their names
        ids = {key: pa.array(keys[key].astype(str)) for key in codes}
        values = {name: features[name] for name in names}
        asked = pa.table({**ids, "as_of": instants, **values})
        scores = row_scores(model, asked, use_case.keys[0])
        table = table.append_column("prediction", pa.array(scores))
    if table.num_rows > REFERENCE_ROWS:
        draw = np.random.default_rng(use_case.seed)
        chosen = draw.choice(table.num_rows, REFERENCE_ROWS, replace=False)
        table = table.take(pa.array(np.sort(chosen)))
    if not use_case.lists:
        table = table.append_column("prediction", pa.array(model.predict(table)))
    return table
