"""What a training of many tenants may write down: the one place where that is decided.

Who reads what of a global model, and what it may hold:

| what | who gets it | what it may hold |
| --- | --- | --- |
| model of lists (bought together, EASE, popularity) | every tenant | items and pairs of enough |
| | | contributors, and what is made of these alone: categories, counts, trends |
| words of a text match | every tenant | words of enough contributors |
| trees, coefficients, intervals | every tenant | numbers made of all rows; no range of a feature |
| tails of unusual rows (ECOD) | the platform | numbers that enough tenants reach, to two digits |
| reference window | the platform | rows under numbers for names; texts of enough tenants |
| evaluation, card | the platform | figures per tenant, under their names |
| catalogue in the evaluation | who sells little, by its own rule | see `catalogue` |

The rule itself is `include.models.contributors`; models apply it to what they count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.models.contributors import Contributors
from include.models.model import ExtremesPredictor, Model
from include.training.rows import LabelledRows


def without_extremes(model: Model) -> Model:
    """The model without what its trees keep of single values."""
    if isinstance(model.predictor, ExtremesPredictor):
        return replace(model, predictor=model.predictor.without_extremes())
    return model


def known_texts(
    features: pa.Table, tenants: npt.NDArray[np.str_], contributors: Contributors
) -> pa.Table:
    """The features, texts that too few tenants have being null."""
    for at, field in enumerate(features.schema):
        if pa.types.is_string(field.type):
            column = features[field.name]
            kept = contributors.shared(column.to_pylist(), tenants.tolist())
            known = pc.is_in(column, value_set=pa.array(sorted(kept), pa.string()))
            shown = pc.if_else(known, column, pa.scalar(None, pa.string()))
            features = features.set_column(at, field.name, shown)
    return features


def known_categories(
    rows: LabelledRows, told: Sequence[str | None], contributors: Contributors
) -> list[str | None]:
    """The category of each row's item, None where too few tenants say so of that item."""
    pairs = [
        (item, category) if category else None
        for item, category in zip(rows.item.tolist(), told, strict=True)
    ]
    kept = contributors.shared(pairs, rows.tenant.tolist())
    return [pair[1] if pair in kept and pair is not None else None for pair in pairs]
