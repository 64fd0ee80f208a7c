"""How well two texts of a row go together, as one more feature of boosted trees.

The likeness is the cosine of their TF-IDF vectors (Salton and Buckley 1988) over the words that
training has seen in at least two texts; a row without either text has none (NaN).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import IntegrityError
from include.models import boosting
from include.models.contributors import Contributors
from include.models.estimators import LightGBMPredictor
from include.models.lightgbm_text import booster_text, read_booster
from include.models.model import Contributions, Scores

#: The column that the trees read beside the features.
SIMILARITY: Final = "similarity"
MOST_WORDS: Final = 20_000
_WORD: Final = re.compile(r"[^\W_][\w+#.-]*")


def words(text: str) -> list[str]:
    """The text's words in lower case; `c++`, `c#` and `node.js` are words."""
    return [word.rstrip(".-") for word in _WORD.findall(text.lower())]


def inverse_document_frequencies(
    texts: Iterable[str | None],
    tenants: Iterable[str] = (),
    contributors: Contributors | None = None,
) -> dict[str, float]:
    """Word → smoothed IDF over the distinct texts; of too many words the most frequent ones.

    Args:
        tenants: of each text, where there are `contributors`.
        contributors: of a model that other tenants get: whom each word has to have. Its entities
            are the texts that hold it.
    """
    texts = list(texts)
    distinct = {text for text in texts if text}
    found: Counter[str] = Counter()
    for text in distinct:
        found.update(set(words(text)))
    fewest = 2
    if contributors is not None:
        told = {(text, tenant) for text, tenant in zip(texts, tenants, strict=True) if text}
        spoken = [(word, tenant) for text, tenant in told for word in set(words(text))]
        shared = contributors.shared((one[0] for one in spoken), (one[1] for one in spoken))
        found = Counter({word: count for word, count in found.items() if word in shared})
        fewest = max(fewest, contributors.entities)
    kept = sorted((word for word in found if found[word] >= fewest), key=lambda w: (-found[w], w))
    return {
        word: math.log((1 + len(distinct)) / (1 + found[word])) + 1
        for word in sorted(kept[:MOST_WORDS])
    }


@dataclass(frozen=True)
class TextMatchPredictor:
    """Trees over the numeric features and the likeness of two text features."""

    columns: tuple[str, ...]  #: numeric features, then the two texts
    weights: Mapping[str, float]  #: word → IDF
    trees: LightGBMPredictor  #: over the numeric features and `SIMILARITY`

    WORDS: ClassVar = boosting.WORDS | {"weights", "trees", SIMILARITY}

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`."""
        return self.trees.predict(self.widened(features))

    def contributions(self, features: pa.Table) -> Contributions:
        """What each feature, and the likeness, added to each row's score."""
        return self.trees.contributions(self.widened(features))

    def without_extremes(self) -> TextMatchPredictor:
        """The trees without the ranges of their features."""
        return replace(self, trees=self.trees.without_extremes())

    def widened(self, features: pa.Table) -> pa.Table:
        """The features with the likeness beside them."""
        left, right = (features[name].to_pylist() for name in self.columns[-2:])
        return with_similarity(features, similarities(self.weights, left, right))

    def payload(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {"weights": dict(self.weights), "trees": booster_text(self.trees.booster)}

    @classmethod
    def from_payload(cls, columns: tuple[str, ...], payload: Any) -> TextMatchPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        if not isinstance(payload, dict) or set(payload) != {"weights", "trees"}:
            raise IntegrityError("a text match has `weights` and `trees`")
        weights, trees = payload["weights"], payload["trees"]
        sound = (
            len(columns) > 2
            and isinstance(trees, str)
            and isinstance(weights, dict)
            and len(weights) <= MOST_WORDS
            and all(isinstance(w, float) and math.isfinite(w) and w > 0 for w in weights.values())
        )
        if not sound:
            raise IntegrityError("a text match's weights are finite numbers above zero, by word")
        numeric = (*columns[:-2], SIMILARITY)
        booster = read_booster(trees, numeric)
        return cls(columns, weights, LightGBMPredictor(numeric, booster))


def with_similarity(features: pa.Table, values: npt.NDArray[np.float64]) -> pa.Table:
    """The features and one more column, null where a likeness is NaN."""
    column = pa.array(values, mask=np.isnan(values))
    return features.append_column(SIMILARITY, column)


def similarities(
    weights: Mapping[str, float], left: list[str | None], right: list[str | None]
) -> npt.NDArray[np.float64]:
    """Cosine per pair, NaN where a text is missing; each distinct text is read once."""
    vectors = {text: _vector(weights, text) for text in {*left, *right} if text}
    return np.array(
        [
            _dot(vectors[a], vectors[b]) if a and b else math.nan
            for a, b in zip(left, right, strict=True)
        ],
        dtype=np.float64,
    )


def _vector(weights: Mapping[str, float], text: str) -> dict[str, float]:
    """The text's words with their weights, of length one."""
    counted = Counter(word for word in words(text) if word in weights)
    vector = {word: (1 + math.log(n)) * weights[word] for word, n in sorted(counted.items())}
    length = math.sqrt(math.fsum(value**2 for value in vector.values()))
    return {word: value / length for word, value in vector.items()} if length else {}


def _dot(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    return math.fsum(value * large[word] for word, value in small.items() if word in large)
