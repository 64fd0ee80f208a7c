"""Experiments in the real Postgres: run again, killed anywhere, and by command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from include import cli
from include.cli import experiments as commands
from include.cli import shared
from include.cli.identity import operator
from include.pipeline import experiments as pipeline
from include.pipeline.experiment_results import paired_live, told
from include.pipeline.report import explain
from include.registry import conclusion, experiments
from include.registry.experiments import Experiment
from include.registry.policy import Policy
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.stores.postgres import outcomes as kept
from include.stores.postgres.experiments import PostgresExperiments
from include.stores.postgres.promotions import PostgresPromotions
from tests.trials import CASE, Shop, monday

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
    return shop.begin(shop.add(challenger), policy, monday(0))


def versions(shop: Shop, week: int) -> set[str]:
    """Who served the predictions of a week."""
    rows = [row for row in shop.rows("predictions") if row["as_of"] == monday(week)]
    return {row["model_version"] for row in rows}


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
    """A run that dies before any of its writes leaves what the next one completes, once.

    The same shop, as who is in which arm goes by the tenant: in memory, where nothing dies, and in
    Postgres.
    """
    whole = Shop(lake, stores=in_memory())
    shop = Shop(lake, number=whole.number)
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
        [
            (decided.trigger, decided.promoted, decided.version, decided.as_of)
            for decided in one.stores.promotions.history(one.ref, CASE.name)
        ]
        for one in (whole, shop)
    ]
    assert told_of[0] == told_of[1]
    ends = [one.stores.experiments.history(one.ref, CASE.name)[0].ending for one in (whole, shop)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert (ends[0].as_of, ends[0].verdict) == (ends[1].as_of, ends[1].verdict)
    assert whole.state()["aliases"] == shop.state()["aliases"]
    counted = [len(one.rows("experiment_outcomes")) for one in (whole, shop)]
    assert counted[0] == counted[1] > shop.customers


def test_the_shadow_is_explained(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks why a version serves learns how its challenger did, and no other tenant does."""
    shop, other = Shop(lake), Shop(lake)
    champion, better = shop.add("fair"), shop.add("good")
    shop.promote(champion, monday(0), challenger=better)
    for number in range(2):
        shop.week(number)
    assert paired_live(STORES.outcomes, other.ref, CASE.name) == []
    assert {row["tenant_id"] for row in shop.rows("shadow_outcomes")} == {shop.ref.id}
    monkeypatch.setenv("TENANTRY_LAKE", str(lake.root))
    why = explain(shop.config, CASE.name, STORES)
    assert [row["challenger"] for row in why["shadow"]] == [better]
    assert why["experiments"] == []


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
    for module in (commands, shared):
        monkeypatch.setattr(module, "activate", lambda: None)
    monkeypatch.setenv("TENANTRY_LAKE", str(lake.root))
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
