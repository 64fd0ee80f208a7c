"""Experiments on simulated customers: harm stops them, gains promote, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError, TenantryError, UnknownNameError
from include.pipeline import experiments as pipeline
from include.pipeline.experiment_results import told
from include.pipeline.serving_history import serving_history
from include.registry import experiments
from include.registry.experiments import Experiment
from include.registry.policy import Policy
from include.storage.lake import Lake
from include.stores.memory import in_memory
from tests.trials import CASE, Shop, monday

POLICY = Policy(share=0.4)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """One whose rows are in memory."""
    return Shop(Lake(tmp_path), stores=in_memory())


def begin(shop: Shop, champion: str, challenger: str, policy: Policy = POLICY) -> Experiment:
    """A champion that serves, and an experiment with a challenger from the first week on."""
    shop.promote(shop.add(champion), monday(0))
    return shop.begin(shop.add(challenger), policy, monday(0))


def versions(shop: Shop, week: int) -> set[str]:
    """Who served the predictions of a week."""
    return {row.model_version for row in shop.served(week)}


def serving(shop: Shop, at: datetime | None = None) -> str:
    """The version that serves."""
    champion = shop.stores.promotions.champion_at(shop.ref, CASE.name, at)
    assert champion is not None
    return champion.version


def tried(shop: Shop) -> list[Experiment]:
    """Every experiment."""
    return shop.stores.experiments.history(shop.ref, CASE.name)


def test_a_worse_challenger_is_stopped_for_harm(shop: Shop) -> None:
    """Within some weeks it ends, everybody is served by the champion again, and the ledger says
    why."""
    begin(shop, "good", "bad")
    found = [shop.week(number) for number in range(5)]
    end = next(one.ending for one in found if one is not None and one.ending)
    assert end.verdict == "stop_for_harm"
    week = next(n for n, one in enumerate(found) if one is not None and one.ending)
    assert end.as_of == monday(week + 1)
    assert [versions(shop, n) for n in range(5)] == [{"1", "2"}] * (week + 1) + [{"1"}] * (4 - week)
    assert serving(shop) == "1"
    last = shop.stores.promotions.history(shop.ref, CASE.name)[-1]
    assert (last.trigger, last.promoted, last.version) == ("experiment-1", False, "1")
    assert "does harm" in last.reasons[0]
    assert experiments.running(tried(shop)) is None


def test_a_better_challenger_is_promoted(shop: Shop) -> None:
    """It becomes champion through the promotions ledger, with the figures, from the next week."""
    begin(shop, "bad", "good")
    ended = None
    weeks = 0
    while ended is None:
        found = shop.week(weeks)
        assert found is not None
        ended, weeks = found.ending, weeks + 1
    assert ended.verdict == "promote"
    assert serving(shop, monday(weeks) - timedelta(microseconds=1)) == "1"
    after = shop.stores.promotions.champion_at(shop.ref, CASE.name, monday(weeks))
    assert after is not None
    assert (after.version, after.trigger) == ("2", "experiment-1")
    assert after.evidence["champion"] == {"value": 0.8, "low": 0.75, "high": 0.85}
    assert after.evidence["experiment"]["low"] > 0
    assert shop.aliases() == {"champion": "2", "challenger": "1"}
    shop.week(weeks)
    assert versions(shop, weeks) == {"2"}
    shadow = shop.stores.predictions.shadow(shop.ref, CASE.name, monday(weeks))
    assert {row.model_version for row in shadow} == {"1"}


def test_an_equal_challenger_is_not_promoted(shop: Shop) -> None:
    """Nothing is concluded until the agreed number of entities, and then that nothing differs."""
    begin(shop, "good", "alike", Policy(share=0.5, most=700))
    found = [shop.week(number) for number in range(5)]
    assert found[3] is not None
    assert found[3].ending is None
    (one,) = tried(shop)
    assert one.ending is not None
    assert one.ending.verdict == "no_difference"
    assert one.ending.figures["low"] < 0 < one.ending.figures["high"]
    assert serving(shop) == "1"


def test_nobody_looks_before_an_experiment_starts(shop: Shop) -> None:
    """Nor where there is none; a rerun of a week before it does not know of it."""
    assert shop.week(0) is None
    begin(shop, "good", "bad")
    shop.week(1)
    early = shop.run(monday(-1))
    assert pipeline.look(early, replace(shop.score(1), as_of=monday(-1))) is None
    assert tried(shop)[0].ending is None


def test_the_history_names_the_challengers_of_a_day(shop: Shop) -> None:
    """Who asks what served on a day learns of the version that a share of the entities had."""
    begin(shop, "good", "bad")
    ended = next(one.ending for n in range(5) if (one := shop.week(n)) is not None and one.ending)

    def beside(day: datetime | None) -> list[Any]:
        on = None if day is None else day.date()
        ledgers = (shop.registry, shop.stores.promotions, shop.stores.experiments)
        (row,) = serving_history(shop.ref, CASE.name, *ledgers, on, "UTC")
        return list(row["experiments"])

    expected = {
        "experiment": "experiment-1",
        "challenger": "2",
        "share": POLICY.share,
        "since": monday(0),
        "until": ended.as_of,
    }
    assert beside(None) == [expected]
    assert beside(monday(0)) == [expected]
    assert beside(ended.as_of - timedelta(days=1)) == [expected]
    assert beside(ended.as_of) == []


def test_every_entity_keeps_its_arm(shop: Shop) -> None:
    """Week for week an entity sees the version that its hash says, and the ranks are of all."""
    trial = begin(shop, "good", "alike")
    for number in range(3):
        shop.week(number)
    rows = [row for number in range(3) for row in shop.served(number)]
    of = {"champion": "1", "challenger": "2"}
    seen: dict[str, set[str]] = {}
    for row in rows:
        arm = trial.split.arm_of(row.entity_id)
        assert (row.arm, row.model_version, row.experiment) == (arm, of[arm], 1)
        seen.setdefault(row.entity_id, set()).add(row.model_version)
    assert all(len(versions) == 1 for versions in seen.values())
    assert len(rows) > len(seen), "some came in more than one week"
    first = sorted(shop.served(0), key=lambda row: row.rank)
    assert [row.rank for row in first] == list(range(1, len(first) + 1))
    assert [row.score for row in first] == sorted((row.score for row in first), reverse=True)


def test_a_champion_that_is_replaced_meanwhile_ends_it(shop: Shop) -> None:
    """The new champion serves everybody at once, and the experiment ends as overtaken."""
    begin(shop, "fair", "alike")
    shop.week(0)
    shop.promote(shop.add("good"), monday(1))
    found = shop.week(1)
    assert versions(shop, 1) == {"3"}
    assert found is not None
    assert found.ending is not None
    assert found.ending.verdict == "overtaken"
    assert "version 3 does" in found.ending.reasons[0]
    assert serving(shop) == serving(shop, monday(1)) == "3"


def test_a_withdrawn_challenger_is_served_to_nobody(shop: Shop) -> None:
    """From the withdrawal on the champion serves all, and looking ends the experiment."""
    begin(shop, "fair", "alike")
    shop.week(0)
    shop.promote("2", monday(0), "manual")
    shop.promote("1", monday(0), "rollback-1")
    shop.week(1)  # champion again, nothing withdrawn yet
    assert versions(shop, 1) == {"1", "2"}
    back = shop.stores.promotions.champion_at(shop.ref, CASE.name)
    assert back is not None
    withdrawal = replace(back, trigger="rollback-2", promoted=False, withdrawn=("2",))
    shop.stores.promotions.record(shop.ref, withdrawal)
    found = shop.week(2)
    assert versions(shop, 2) == {"1"}
    assert found is not None
    assert found.ending is not None
    assert found.ending.verdict == "withdrawn"


def test_a_challenger_that_cannot_be_read_fails_nobody(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """With its artifact spoiled the champion serves all, the log says so, and such a week counts
    for no arm."""
    trial = begin(shop, "fair", "alike")
    shop.week(0)
    name = (shop.ref.id, CASE.name, "2", "model")
    whole = shop.registry.files[name]
    shop.registry.files[name] = whole + b" "
    shop.week(1)
    assert versions(shop, 1) == {"1"}
    assert "@2 challenges" in caplog.text
    assert all(row.experiment is None for row in shop.served(1))
    shop.registry.files[name] = whole
    shop.week(2)
    shop.week(3)
    assert versions(shop, 2) == {"1", "2"}
    kept = shop.stores.outcomes.of_experiment(shop.ref, CASE.name, trial.number)
    assert [one.as_of for one in kept] == [monday(0), monday(2)]


def test_an_experiment_is_stopped_by_hand(shop: Shop) -> None:
    """With the reason and what was known by then; there has to be one that runs."""

    def stop(case: str = CASE.name) -> Experiment:
        given = {"as_of": monday(2), "platform": shop.platform, "by": "bob"}
        return pipeline.stop(shop.config, case, "the sale begins", **given)

    with pytest.raises(TenantryError, match=r"no experiment of .* is running"):
        stop()
    with pytest.raises(UnknownNameError, match="known: churn"):
        stop("demand")
    begin(shop, "fair", "good")
    for number in range(2):
        shop.week(number)
    (running,) = told(shop.stores, shop.ref, CASE.name)
    assert (running["verdict"], running["until"], running["by"]) == ("running", None, ["ada"])
    assert sum(running["entities"]) > 0
    ended = stop()
    assert ended.ending is not None
    assert (ended.ending.verdict, ended.ending.as_of) == ("stopped", monday(2))
    (row,) = told(shop.stores, shop.ref, CASE.name)
    assert row["reasons"] == ["to see", "the sale begins"]
    assert row["by"] == ["ada", "bob"]
    assert {name: row[name] for name in ("difference", "low", "high", "entities")} == {
        name: running[name] for name in ("difference", "low", "high", "entities")
    }


def test_another_experiment_starts_where_the_last_one_ended(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no instant is named: not before, though the newest interval is older; split afresh."""
    monkeypatch.setattr(pipeline, "last_checked", lambda *_: monday(1))
    begin(shop, "fair", "good")
    given = {"as_of": None, "platform": shop.platform, "by": "bob"}
    pipeline.stop(shop.config, CASE.name, "enough", **{**given, "as_of": monday(3)})
    second = pipeline.begin(shop.config, CASE.name, "2", POLICY, **given)
    assert second.started_as_of == monday(3)
    assert pipeline.stop(shop.config, CASE.name, "again", **given).ending is not None
    first, second = tried(shop)
    assert first.split.arms_of(shop.names) != second.split.arms_of(shop.names)
    assert second.ending is not None
    assert second.ending.as_of == monday(3)  # not before it started


def test_an_experiment_needs_two_versions_that_can_be_compared(shop: Shop) -> None:
    """What cannot be tried is refused with what to do, and nothing is started."""

    def start(challenger: str, week: int = 1) -> None:
        given = {"as_of": monday(week), "platform": shop.platform, "by": "ada"}
        pipeline.begin(shop.config, CASE.name, challenger, POLICY, **given)

    one, two = shop.add("fair"), shop.add("good")
    with pytest.raises(ConfigError, match="nothing serves"):
        start(two)
    shop.promote(one, monday(0))
    shop.score(1)
    with pytest.raises(UnknownNameError, match="known: 1, 2"):
        start("7")
    with pytest.raises(ConfigError, match="is what serves"):
        start(one)
    with pytest.raises(ConfigError, match="rule of thumb"):
        start(shop.add("alike", "baseline"))
    with pytest.raises(ConfigError, match="as they were declared"):
        start(shop.add("alike", fingerprint="f2"))
    with pytest.raises(ConfigError, match="at the earliest"):
        start(two, 0)
    assert tried(shop) == []
    start(two)
    with pytest.raises(TenantryError, match="still running"):
        start(two)
