"""The spine index asks once what is asked twice, and never confuses two questions."""

from __future__ import annotations

from datetime import UTC, datetime

from include.features.spine import Spine
from include.features.vectorized.spine_index import SpineIndex

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def test_repeated_rows_are_one_question() -> None:
    """Rows with the same entity and instant share a distinct row."""
    index = SpineIndex(Spine.at({"user_id": ["a", "b", "a"]}, NOW), ("user_id",))
    assert len(index) == 2
    assert index.row_of[0] == index.row_of[2] != index.row_of[1]


def test_rows_that_lack_a_key_stay_apart() -> None:
    """Two items without a user are two questions: their attributes differ."""
    spine = Spine.at({"user_id": [None, None], "item_id": ["tea", "pen"]}, NOW)
    index = SpineIndex(spine, ("user_id", "item_id"))
    assert [int(index.spine_row[row]) for row in index.row_of] == [0, 1]
    assert index.questions.entity.tolist() == [-1, -1]
