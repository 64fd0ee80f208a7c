"""Trees that also read the likeness of the use case's two texts, in words training knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from include.models import text_match
from include.models.contributors import Contributors
from include.models.model import Model
from include.models.text_match import TextMatchPredictor
from include.training.estimators import Settings
from include.training.estimators.lightgbm import fit_trees
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

SETTINGS: Final[tuple[Settings, ...]] = ({"rounds": 60, "num_leaves": 8, "min_data_in_leaf": 40},)
MORE_SETTINGS: Final[tuple[Settings, ...]] = ()


def fit(
    use_case: UseCase,
    settings: Settings,
    rows: LabelledRows,
    contributors: Contributors | None = None,
) -> Model:
    """A ranking by the numeric features and the likeness."""
    assert use_case.texts is not None  # the declaration checks it
    left, right = (rows.features[name].to_pylist() for name in use_case.texts)
    tenants = rows.tenant.tolist() * 2
    weights = text_match.inverse_document_frequencies([*left, *right], tenants, contributors)
    likeness = text_match.similarities(weights, left, right)
    widened = replace(rows, features=text_match.with_similarity(rows.features, likeness))
    numeric = (*use_case.columns, text_match.SIMILARITY)
    trees, parameters = fit_trees(use_case, settings, widened, numeric)
    columns = (*use_case.columns, *use_case.texts)
    return Model("text_match", columns, TextMatchPredictor(columns, weights, trees), parameters)
