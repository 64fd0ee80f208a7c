"""Experiments on simulated customers: harm stops them, gains promote, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
import yaml
from trials import CASE, Shop, monday

from include import cli
from include.cli import experiments as commands
from include.cli.identity import operator
from include.errors import ConfigError, TenantryError, UnknownNameError
from include.monitoring.live import measure_live
from include.pipeline import experiments as pipeline
from include.pipeline.experiment_results import paired_live, told
from include.pipeline.report import explain
from include.pipeline.serving_history import serving_history
from include.registry import conclusion, experiments
from include.registry.experiments import Experiment
from include.registry.policy import Policy
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.stores.postgres import outcomes as kept
from include.stores.postgres.experiments import PostgresExperiments
from include.stores.postgres.promotions import PostgresPromotions

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]

PROMOTIONS: Final = PostgresPromotions()
STORES: Final = in_postgres()
POLICY = Policy(share=0.4)
#: Weeks in which a challenger that is far better is promoted.
LONG = 7


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake."""
    return Lake(tmp_path)


def begin(shop: Shop, champion: str, challenger: str, policy: Policy = POLICY) -> Experiment:
    """A champion that serves, and an experiment with a challenger from the first week on."""
    shop.promote(shop.add(champion), monday(0))
    return experiments.start(
        shop.ref,
        CASE.name,
        shop.add(challenger),
        policy,
        as_of=monday(0),
        registry=shop.registry,
        promotions=PROMOTIONS,
        experiments=STORES.experiments,
        predictions=STORES.predictions,
        by="ada",
        because="to see",
    )


def versions(shop: Shop, week: int) -> set[str]:
    """Who served the predictions of a week."""
    rows = [row for row in shop.rows("predictions") if row["as_of"] == monday(week)]
    return {row["model_version"] for row in rows}


def test_a_worse_challenger_is_stopped_for_harm(lake: Lake) -> None:
    """Within some weeks it ends, everybody is served by the champion again, and the ledger says
    why."""
    shop = Shop(lake)
    begin(shop, "good", "bad")
    found = [shop.week(number) for number in range(5)]
    end = next(one.ending for one in found if one is not None and one.ending)
    assert end.verdict == "stop_for_harm"
    week = next(n for n, one in enumerate(found) if one is not None and one.ending)
    assert end.as_of == monday(week + 1)
    assert [versions(shop, n) for n in range(5)] == [{"1", "2"}] * (week + 1) + [{"1"}] * (4 - week)
    serving = PROMOTIONS.champion_at(shop.ref, CASE.name)
    assert serving is not None
    assert serving.version == "1"
    last = PROMOTIONS.history(shop.ref, CASE.name)[-1]
    assert (last.trigger, last.promoted, last.version) == ("experiment-1", False, "1")
    assert "does harm" in last.reasons[0]
    assert experiments.running(STORES.experiments.history(shop.ref, CASE.name)) is None


def test_a_better_challenger_is_promoted(lake: Lake) -> None:
    """It becomes champion through the promotions ledger, with the figures, from the next week."""
    shop = Shop(lake)
    begin(shop, "bad", "good")
    ended = None
    weeks = 0
    while ended is None:
        found = shop.week(weeks)
        assert found is not None
        ended, weeks = found.ending, weeks + 1
    assert ended.verdict == "promote"
    before = PROMOTIONS.champion_at(shop.ref, CASE.name, monday(weeks) - timedelta(microseconds=1))
    after = PROMOTIONS.champion_at(shop.ref, CASE.name, monday(weeks))
    assert before is not None
    assert after is not None
    assert (before.version, after.version, after.trigger) == ("1", "2", "experiment-1")
    assert after.evidence["champion"] == {"value": 0.8, "low": 0.75, "high": 0.85}
    assert after.evidence["experiment"]["low"] > 0
    assert shop.state()["aliases"] == {"champion": "2", "challenger": "1"}
    shop.week(weeks)
    assert versions(shop, weeks) == {"2"}
    shadow = [row for row in shop.rows("shadow_predictions") if row["as_of"] == monday(weeks)]
    assert {row["model_version"] for row in shadow} == {"1"}


def test_the_history_names_the_challengers_of_a_day(lake: Lake) -> None:
    """Who asks what served on a day learns of the version that a share of the entities had."""
    shop = Shop(lake)
    begin(shop, "good", "bad")
    ended = next(one.ending for n in range(5) if (one := shop.week(n)) is not None and one.ending)

    def beside(day: datetime | None) -> list[Any]:
        on = None if day is None else day.date()
        who = (shop.ref, CASE.name, shop.registry, PROMOTIONS, STORES.experiments)
        (row,) = serving_history(*who, on, "UTC")
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


def test_an_equal_challenger_is_not_promoted(lake: Lake) -> None:
    """Nothing is concluded until the agreed number of entities, and then that nothing differs."""
    shop = Shop(lake)
    begin(shop, "good", "alike", Policy(share=0.5, most=700))
    found = [shop.week(number) for number in range(5)]
    assert found[3] is not None
    assert found[3].ending is None
    (one,) = STORES.experiments.history(shop.ref, CASE.name)
    assert one.ending is not None
    assert one.ending.verdict == "no_difference"
    assert one.ending.figures["low"] < 0 < one.ending.figures["high"]
    serving = PROMOTIONS.champion_at(shop.ref, CASE.name)
    assert serving is not None
    assert serving.version == "1"


def test_every_entity_keeps_its_arm(lake: Lake) -> None:
    """Week for week an entity sees the version that its hash says, and the ranks are of all."""
    shop = Shop(lake)
    trial = begin(shop, "good", "alike")
    for number in range(3):
        shop.week(number)
    rows = shop.rows("predictions")
    of = {"champion": "1", "challenger": "2"}
    for row in rows:
        arm = trial.split.arm_of(row["entity_id"])
        assert (row["arm"], row["model_version"], row["experiment"]) == (arm, of[arm], 1)
    seen: dict[str, set[str]] = {}
    for row in rows:
        seen.setdefault(row["entity_id"], set()).add(row["model_version"])
    assert all(len(versions) == 1 for versions in seen.values())
    assert len(rows) > len(seen), "some came in more than one week"
    first = sorted((r for r in rows if r["as_of"] == monday(0)), key=lambda r: r["rank"])
    assert [row["rank"] for row in first] == list(range(1, len(first) + 1))
    assert [row["score"] for row in first] == sorted((r["score"] for r in first), reverse=True)


@pytest.mark.parametrize(("champion", "challenger"), [("bad", "good"), ("good", "bad")])
def test_running_everything_again_changes_nothing(
    lake: Lake, champion: str, challenger: str
) -> None:
    """Old weeks keep the arms of then, after whatever end; outcomes and decisions stand."""
    shop = Shop(lake)
    begin(shop, champion, challenger)
    for number in range(LONG):
        shop.week(number)
    before = shop.state()
    assert experiments.running(STORES.experiments.history(shop.ref, CASE.name)) is None
    for number in (LONG - 1, 0, 2, 1):
        shop.week(number)
    assert shop.state() == before


@pytest.mark.parametrize(("champion", "challenger"), [("bad", "good"), ("good", "bad")])
def test_killed_anywhere_and_run_again_it_ends_the_same(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, champion: str, challenger: str
) -> None:
    """A run that dies before any of its writes leaves what the next one completes, once."""
    whole, shop = Shop(lake), Shop(lake)
    begin(whole, champion, challenger)
    begin(shop, champion, challenger)
    weeks = 3 if challenger == "bad" else LONG
    for number in range(weeks):
        whole.week(number)
    died: list[str] = []

    def mortal(where: Any, name: str) -> None:
        real = getattr(where, name)

        def dies(*args: Any, **how: Any) -> Any:
            if name not in died:
                died.append(name)
                raise KeyboardInterrupt
            return real(*args, **how)

        monkeypatch.setattr(where, name, dies)

    mortal(kept, "_keep")
    mortal(PostgresPromotions, "record")
    mortal(conclusion, "follow_ledger")
    mortal(PostgresExperiments, "end")
    for number in range(weeks):
        scored = shop.score(number)
        for _ in range(5):
            try:
                shop.look(scored)
                break
            except KeyboardInterrupt:
                continue
    follows = ["follow_ledger"] if challenger == "good" else []
    assert died == ["_keep", "record", *follows, "end"]
    told_of = [
        [(r["trigger"], r["promoted"], r["version"], r["as_of"]) for r in one.rows("promotions")]
        for one in (whole, shop)
    ]
    assert told_of[0] == told_of[1]
    ends = [STORES.experiments.history(one.ref, CASE.name)[0].ending for one in (whole, shop)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert (ends[0].as_of, ends[0].verdict) == (ends[1].as_of, ends[1].verdict)
    assert whole.state()["aliases"] == shop.state()["aliases"]
    counted = [len(one.rows("experiment_outcomes")) for one in (whole, shop)]
    assert counted[0] == counted[1] > shop.customers


def test_a_champion_that_is_replaced_meanwhile_ends_it(lake: Lake) -> None:
    """The new champion serves everybody at once, and the experiment ends as overtaken."""
    shop = Shop(lake)
    begin(shop, "fair", "alike")
    shop.week(0)
    shop.promote(shop.add("good"), monday(1))
    found = shop.week(1)
    assert versions(shop, 1) == {"3"}
    assert found is not None
    assert found.ending is not None
    assert found.ending.verdict == "overtaken"
    assert "version 3 does" in found.ending.reasons[0]
    assert PROMOTIONS.champion_at(shop.ref, CASE.name) == PROMOTIONS.champion_at(
        shop.ref, CASE.name, monday(1)
    )


def test_a_withdrawn_challenger_is_served_to_nobody(lake: Lake) -> None:
    """From the withdrawal on the champion serves all, and looking ends the experiment."""
    shop = Shop(lake)
    begin(shop, "fair", "alike")
    shop.week(0)
    current = PROMOTIONS.champion_at(shop.ref, CASE.name)
    assert current is not None
    shop.promote("2", monday(0), "manual")
    shop.promote("1", monday(0), "rollback-1")
    shop.week(1)  # champion again, nothing withdrawn yet
    assert versions(shop, 1) == {"1", "2"}
    with tenant_transaction(shop.ref) as connection:
        connection.execute(
            "INSERT INTO promotions SELECT tenant_id, use_case, as_of, 'rollback-2', false, "
            "version, rung, incumbent_version, digest, reasons, evidence, now(), actor, "
            "'[\"2\"]' FROM promotions WHERE trigger = 'rollback-1'"
        )
    found = shop.week(2)
    assert versions(shop, 2) == {"1"}
    assert found is not None
    assert found.ending is not None
    assert found.ending.verdict == "withdrawn"


def test_a_challenger_that_cannot_be_read_fails_nobody(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """With its artifact spoiled the champion serves all, the log says so, and such a week counts
    for no arm."""
    shop = Shop(lake)
    trial = begin(shop, "fair", "alike")
    shop.week(0)
    name = (shop.ref.id, CASE.name, "2", "model")
    whole = shop.registry.files[name]
    shop.registry.files[name] = whole + b" "
    shop.week(1)
    assert versions(shop, 1) == {"1"}
    assert "@2 challenges" in caplog.text
    assert all(
        row["experiment"] is None for row in shop.rows("predictions") if row["as_of"] == monday(1)
    )
    shop.registry.files[name] = whole
    shop.week(2)
    shop.week(3)
    assert versions(shop, 2) == {"1", "2"}
    counted = {row["as_of"] for row in shop.rows("experiment_outcomes")}
    assert counted == {monday(0), monday(2)}
    assert trial.number == 1


def test_live_metrics_do_not_mix_arms(lake: Lake) -> None:
    """The metric of a split week is the champion's, on the entities that saw it."""
    shop = Shop(lake)
    begin(shop, "good", "bad")
    shop.score(0)
    rows = [row for row in shop.rows("predictions") if row["arm"] == "champion"]
    everybody = [row["entity_id"] for row in shop.rows("predictions")]
    label = [float(n % 2) for n in range(len(everybody))]
    found = measure_live(
        shop.ref,
        CASE.name,
        STORES.predictions.served(shop.ref, CASE.name, monday(0)),
        pa.table({"entity_id": everybody, "label": label}),
        metric="auc",
        as_of=monday(0),
        measured_as_of=monday(1),
        live_metrics=STORES.live_metrics,
    )
    assert found is not None
    assert (found.model_version, found.labels) == ("1", len(rows))
    assert 0 < found.labels < len(everybody)


def test_the_shadow_is_compared_on_the_same_entities(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any experiment, a challenger that knows more is seen to, each entity once."""
    shop, other = Shop(lake), Shop(lake)
    champion, better = shop.add("fair"), shop.add("good")
    shop.promote(champion, monday(0), challenger=better)
    for number in range(5):
        shop.week(number)
    (found,) = paired_live(STORES.outcomes, shop.ref, CASE.name)
    assert (found.champion, found.challenger) == (champion, better)
    assert 0 < found.low < found.difference < found.high
    assert found.entities == len(shop.names[: shop.customers * 5 // 2])
    assert (found.intervals, found.last_as_of) == (4, monday(3))
    (early,) = paired_live(STORES.outcomes, shop.ref, CASE.name, monday(0))
    assert early.entities == shop.customers
    assert early.high - early.low > found.high - found.low
    assert paired_live(STORES.outcomes, other.ref, CASE.name) == []
    assert {row["tenant_id"] for row in shop.rows("shadow_outcomes")} == {shop.ref.id}
    monkeypatch.setenv("TENANTRY_LAKE", str(lake.root))
    why = explain(shop.config, CASE.name, in_postgres())
    assert [row["challenger"] for row in why["shadow"]] == [better]
    assert why["experiments"] == []


def test_an_experiment_needs_two_versions_that_can_be_compared(lake: Lake) -> None:
    """What cannot be tried is refused with what to do, and nothing is started."""
    shop = Shop(lake)

    def start(challenger: str, week: int = 1) -> None:
        experiments.start(
            shop.ref,
            CASE.name,
            challenger,
            POLICY,
            as_of=monday(week),
            registry=shop.registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
            predictions=STORES.predictions,
            by="ada",
            probabilities=True,
        )

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
    assert STORES.experiments.history(shop.ref, CASE.name) == []
    start(two)
    with pytest.raises(TenantryError, match="still running"):
        start(two)


def test_the_commands_start_list_and_stop(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who, when and why stand in the history; another experiment may follow, split afresh."""
    shop = Shop(lake)
    folder = tmp_path / "tenants"
    folder.mkdir()
    content = shop.config.model_dump(mode="json", exclude_unset=True)
    (folder / f"{shop.ref.id}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("TENANTRY_TENANTS", str(folder))
    monkeypatch.setattr(commands, "activate", lambda: None)
    monkeypatch.setattr(commands, "platform", lambda: shop.platform)
    monkeypatch.setattr(pipeline, "last_checked", lambda *_: monday(1))
    shop.promote(shop.add("fair"), monday(0))
    shop.add("good")

    def tenantry(*words: str) -> Any:
        monkeypatch.setattr("sys.argv", ["tenantry", "experiment", *words, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    who = [shop.ref.id, CASE.name]
    begun = tenantry("start", *who, "--challenger", "2", "--share", "0.2")
    assert (begun["experiment"], begun["verdict"], begun["by"]) == (
        "experiment-1",
        "running",
        [operator()],
    )
    shop.week(1)
    shop.week(2)
    (running,) = tenantry("list", shop.ref.id)
    assert sum(running["entities"]) == shop.customers
    assert running["low"] < running["difference"] < running["high"]
    monkeypatch.setattr(pipeline, "last_checked", lambda *_: monday(2))
    done = tenantry("stop", *who, "--because", "the sale begins")
    assert (done["verdict"], done["by"]) == ("stopped", [operator()] * 2)
    assert "the sale begins" in done["reasons"]
    shop.score(1)
    shop.score(2)
    assert [versions(shop, n) for n in (1, 2)] == [{"1", "2"}, {"1"}]
    tenantry("start", *who, "--challenger", "2", "--share", "0.2", "--as-of", "2024-01-22")
    assert [row["experiment"] for row in tenantry("list")] == ["experiment-1", "experiment-2"]
    first, second = STORES.experiments.history(shop.ref, CASE.name)
    assert first.split.arms_of(shop.names) != second.split.arms_of(shop.names)
    assert [row["verdict"] for row in told(STORES, shop.ref, CASE.name)] == ["stopped", "running"]
    assert second.started_as_of == monday(3)
