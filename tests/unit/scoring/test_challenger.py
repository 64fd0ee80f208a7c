"""Who is served what in an experiment, for scores and for lists."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from include.registry.experiments import Ending, Experiment, challenger_at
from include.registry.policy import Policy
from include.registry.promotions import Promotion
from include.scoring.challenger import Challenged, served
from include.scoring.ranks import listed, ranked

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2024, 2, 1, tzinfo=UTC)
TRIAL = Experiment(
    "dora", "churn", 1, "1", "2", "d", Policy(share=0.5), MONDAY, (), "ada", None, None
)
PEOPLE = [f"u{n}" for n in range(40)]
ARMS = dict(zip(PEOPLE, TRIAL.split.arms_of(PEOPLE), strict=True))


def lists(answers: dict[str, list[str]]) -> pa.Table:
    """Lists as a model gives them, best first."""
    rows = [(e, i, 1 / (n + 1)) for e, items in answers.items() for n, i in enumerate(items)]
    names = ["entity_id", "item_id", "score"]
    return listed(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]), 10)


def shown(parts: object) -> dict[str, list[tuple[str, int, str, str]]]:
    """Per entity what it is served: item, place, version, arm."""
    found: dict[str, list[tuple[str, int, str, str]]] = {}
    for part in parts:  # type: ignore[attr-defined]
        for row in part.rows.to_pylist():
            line = (row["item_id"], row["rank"], part.model_version, part.arm)
            found.setdefault(row["entity_id"], []).append(line)
    return found


def test_without_an_experiment_the_champion_serves_all() -> None:
    """Neither a shadow nor nothing changes what is served."""
    rows = lists({entity: ["a"] for entity in PEOPLE})
    for found in (None, Challenged("2", lists({"u1": ["b"]}), None)):
        (part,) = served(rows, "1", found, lists=True)
        assert part.rows is rows
        assert (part.model_version, part.experiment, part.arm) == ("1", None, None)


def test_each_list_is_of_its_entitys_arm_alone() -> None:
    """Lists are whole, by one version, with places of their own."""
    ours, theirs = (lists({e: [f"{v}{n}" for n in "xyz"] for e in PEOPLE}) for v in "ab")
    found = shown(served(ours, "1", Challenged("2", theirs, TRIAL), lists=True))
    for entity in PEOPLE:
        version, by = ("1", "a") if ARMS[entity] == "champion" else ("2", "b")
        assert found[entity] == [
            (f"{by}{item}", place + 1, version, ARMS[entity]) for place, item in enumerate("xyz")
        ]


def test_nobody_goes_without_because_of_the_challenger() -> None:
    """Whom the challenger has nothing for is served by the champion, and counts for its arm; whom
    only the challenger has something for sees it in its arm only."""
    quiet, new = PEOPLE[:20], PEOPLE[20:]
    ours, theirs = lists({e: ["a"] for e in quiet}), lists({e: ["b"] for e in new})
    found = shown(served(ours, "1", Challenged("2", theirs, TRIAL), lists=True))
    assert {e: found[e] for e in quiet} == {e: [("a", 1, "1", ARMS[e])] for e in quiet}
    sent = [entity for entity in new if ARMS[entity] == "challenger"]
    assert {e: found.get(e) for e in sent} == {e: [("b", 1, "2", "challenger")] for e in sent}
    assert not [e for e in new if ARMS[e] == "champion" and e in found]


def test_scores_of_both_arms_are_ranked_together() -> None:
    """In a classification places are over all entities, by what each was given."""
    features = pa.table({"user_id": PEOPLE})

    def scored(sign: int) -> pa.Table:
        values = pa.array([0.5 + sign * n / 100 for n in range(40)]).to_numpy()
        return ranked(features, "classification", 10, scores=values, baseline=None)

    parts = served(scored(1), "1", Challenged("2", scored(-1), TRIAL), lists=False)
    rows = sorted((row for part in parts for row in part.rows.to_pylist()), key=lambda r: r["rank"])
    assert [row["rank"] for row in rows] == list(range(1, 41))
    assert [row["score"] for row in rows] == sorted((r["score"] for r in rows), reverse=True)
    assert {row["entity_id"] for row in rows} == set(PEOPLE)


@pytest.mark.parametrize(
    ("as_of", "there"), [(MONDAY, True), (LATER, False), (datetime(2023, 1, 1, tzinfo=UTC), False)]
)
def test_an_experiment_is_in_force_from_its_start_to_its_end(as_of: datetime, there: bool) -> None:
    """The start is inside, the end is not."""
    from dataclasses import replace

    ended = replace(TRIAL, ending=Ending(LATER, "stopped", (), {}, "ada"))
    assert ended.in_force(as_of) is there


def test_who_challenged_follows_from_the_ledger_of_then() -> None:
    """The newest one named by then, unless it was withdrawn by then."""

    def decided(day: int, challenger: str, withdrawn: tuple[str, ...] = ()) -> Promotion:
        at = datetime(2024, 1, day, tzinfo=UTC)
        more = {"challenger": challenger}
        return Promotion(
            *("dora", "churn", at, f"t{day}", False, "1", "own", "d", "1", (), more, "ada"),
            withdrawn,
        )

    history = [decided(1, "2"), decided(5, ""), decided(9, "3"), decided(12, "", ("3",))]
    asked = [challenger_at(history, datetime(2024, 1, day, tzinfo=UTC)) for day in (5, 9, 11, 12)]
    assert asked == ["2", "3", "3", ""]
    assert challenger_at(history, datetime(2023, 1, 1, tzinfo=UTC)) == ""
