"""A version's later life, as people ask for it: history, card, reproduction, rollback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from generated import Shop
from installation import Installation, installed
from three_weeks import NEIGHBOURS, WEEKS, load, run, train_global

from include import use_cases, wiring
from include.cli.identity import operator
from include.errors import TenantryError
from include.handoffs import Interval
from include.monitoring.live_metrics import LiveMetric
from include.pipeline import in_process, steps
from include.pipeline.automatic_rollback import roll_back_decayed
from include.pipeline.report import fleet_status
from include.pipeline.runs import Run, open_retrain
from include.pipeline.stages import stage_named
from include.pipeline.upkeep import TABLES, keep_up, named_versions
from include.registry.new_versions import new_version
from include.registry.port import Registry
from include.registry.rollback import roll_back
from include.registry.two_way import Swing
from include.storage.canonical import SCHEMAS
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.loader import find_tenant, load_fleet
from include.tenants.namespace import GLOBAL, TenantRef

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("here")]

PROMOTIONS: Final = PostgresPromotions()

ONE = Shop("one-shop", customers=250)
TWO = Shop("two-shop", region="us", isolation="silo", customers=60, seed=8)
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """One shop's week, a global model of its events and its neighbours', and the next week of
    another, small one."""
    with installed() as found:
        found.open(ONE, TWO, *NEIGHBOURS)
        run(found, ONE, WEEKS[0])
        for shop in NEIGHBOURS:
            load(found, shop, WEEKS[0])
        train_global("churn", WEEKS[0] + timedelta(days=1))
        run(found, TWO, WEEKS[1])
        yield found


def ref(here: Installation, shop: Shop) -> TenantRef:
    """The tenant of a shop."""
    found: TenantRef = find_tenant(here.tenants, shop.id, use_cases.names()).ref
    return found


def serve_own(shop: TenantRef, registry: Registry) -> None:
    """Promote the shop's own model, which its training held to be no better than the first."""
    first = PROMOTIONS.champion_at(shop, "churn")
    own = registry.get(shop, "churn", "2")
    assert first is not None
    swing = {"error": 0.015, "blocks": 8.0, "metric": asdict(Swing(0.03**2, 9))}
    figures = {"value": 0.87, "low": 0.84, "high": 0.90, "swing": swing}
    promoted = replace(
        first,
        as_of=WEEKS[1],
        version=own.version,
        rung=own.rung,
        digest=own.digest,
        evidence={
            **first.evidence,
            "champion": figures,
            "reference_digest": own.reference_digest,
            "parent_version": own.parent_version,
        },
    )
    PROMOTIONS.record(shop, promoted)


def test_every_version_is_made_again_to_the_byte(tenantry: Command, here: Installation) -> None:
    """Own, global and baseline: data set, model and reference window have the digests on record,
    and nothing was written into the lake."""
    before = {path: path.stat().st_mtime_ns for path in here.state.lake.rglob("*")}
    names = [f"{owner}.churn" for owner in (ONE.id, TWO.id, GLOBAL.id)]
    code, printed = tenantry("reproduce", *names, "--json")
    found = json.loads(printed)
    assert [one for one in found if not one["identical"]] == []
    assert code == 0
    checked = {
        (one["model"].partition("/")[0], one["rung"]): {check["what"] for check in one["checks"]}
        for one in found
    }
    trained = {f"training set of {ONE.id}", "windows", "rows", "model", "reference window"}
    of_all = trained | {f"training set of {shop.id}" for shop in NEIGHBOURS}
    assert checked == {
        (ONE.id, "baseline"): {"model"},
        (ONE.id, "own"): trained,
        (GLOBAL.id, "global"): of_all,
        (TWO.id, "global"): {"model"},
    }
    assert {path: path.stat().st_mtime_ns for path in here.state.lake.rglob("*")} == before


def test_a_difference_is_named(tenantry: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another code revision that fits otherwise: exit code 1, and what differs stands there with
    both values; what is the same does not."""
    from include.models.estimators import matrix
    from include.training.estimators import lightgbm, logistic

    for estimator in (lightgbm, logistic):
        monkeypatch.setattr(estimator, "matrix", lambda *a: matrix(*a) + 1)
    monkeypatch.setattr("include.wiring.code_revision", lambda: "edited")
    code, printed = tenantry("reproduce", "global.churn@1")
    assert code == 1
    assert "global/churn@1 differs" in printed
    assert "model: was " in printed
    assert "code revision: was tested, is edited" in printed
    assert "training set of one-shop: was" not in printed
    assert "0 of 1 versions are identical" in printed


def test_other_rows_are_named(tenantry: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature that is computed otherwise shows in the training set's digest."""
    from include.features import vectorized

    original = vectorized.compute

    def shifted(*arguments: Any) -> Any:
        table = original(*arguments)
        name = "recency__time_since_last_all"
        if name not in table.column_names:  # what leaks are looked for by
            return table
        at = table.column_names.index(name)
        return table.set_column(at, name, pc.add(table[name], 0.5))

    monkeypatch.setattr(vectorized, "compute", shifted)
    code, printed = tenantry("reproduce", f"{ONE.id}.churn@2", "--json")
    assert code == 1
    (found,) = json.loads(printed)
    same = {check["what"]: check["same"] for check in found["checks"]}
    assert same[f"training set of {ONE.id}"] is False
    assert same["windows"] is True


def test_a_version_of_features_that_are_declared_otherwise_is_not_trained(
    tenantry: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which code revision to check out."""
    monkeypatch.setattr(
        "include.features.views.FeatureService.fingerprint", property(lambda _: "0" * 16)
    )
    code, printed = tenantry("reproduce", "global.churn@1")
    assert code == 1
    assert "check out the code revision tested" in printed


def test_rows_that_are_gone_are_said_to_be_gone(
    tenantry: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table version with other rows than it had cannot make the model again."""
    empty = ds.dataset(SCHEMAS["events"].empty_table())
    monkeypatch.setattr(Lake, "dataset", lambda *_, **__: empty)
    code, printed = tenantry("reproduce", "global.churn@1")
    assert code == 1
    assert "retention has erased" in printed


def test_history_tells_who_served_trained_on_what_and_why(
    tenantry: Command, here: Installation
) -> None:
    """Periods without a gap, each with tables, rows and reasons; a day has its one version."""
    code, printed = tenantry("history", ONE.id, "churn", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found
    assert [one["until"] for one in found] == [*(one["since"] for one in found[1:]), None]
    for one in found:
        made = one["trained_on"]
        assert {table["tenant"] for table in made["tables"]} == {ONE.id}
        assert made["rows"]["training"] > 0
        assert one["reasons"]
        assert one["actor"] == "system"
    code, printed = tenantry("history", ONE.id, "churn", "--on", f"{WEEKS[0]:%Y-%m-%d}", "--json")
    (on,) = json.loads(printed)
    assert on["version"] == found[0]["version"]
    assert on["scored"]["version"] == on["version"]
    assert on["scored"]["as_of"].startswith(f"{WEEKS[0]:%Y-%m-%d}")
    code, printed = tenantry("history", TWO.id, "churn", "--json")
    (copied,) = json.loads(printed)
    assert copied["trained_on"].keys() == {"as_of", "parent", "judged_on"}
    assert copied["trained_on"]["parent"] == "global/churn@1"
    code, printed = tenantry("history", ONE.id, "--on", "2020-01-01", "--json")
    assert json.loads(printed) == []
    code, printed = tenantry("history", "global", "churn")
    assert "rows as of" in printed


def test_why_tells_what_would_have_to_change(tenantry: Command) -> None:
    """The stage first, with what an own model lacks, then every decision."""
    code, printed = tenantry("why", TWO.id, "churn", "--json")
    assert code == 0
    (stage,) = json.loads(printed)["stage"]
    assert stage["stage"] == "global"
    assert stage["what would have to change"][0].startswith("176 more training rows (124 of 300)")


def test_a_card_tells_what_there_is_to_know(
    tenantry: Command, here: Installation, tmp_path: Path
) -> None:
    """The champion's, as JSON, as a table and as a page that names its own tenant alone."""
    file = tmp_path / "card.html"
    code, printed = tenantry("card", ONE.id, "churn", "--html", str(file), "--json")
    assert code == 0
    card = json.loads(printed)
    champion = PROMOTIONS.champion_at(ref(here, ONE), "churn")
    assert champion is not None
    assert card["version"] == champion.version
    assert card["judged"]["metric"] in card["judged"]["metrics"]
    assert card["judged"]["baselines"]
    assert card["decisions"][-1]["reasons"]
    assert card["served"][-1]["until"] is None
    page = file.read_text()
    assert page.count("<svg") == len(card["judged"]["metrics"])
    assert TWO.id not in page
    stored = list((here.state.lake / ONE.region / ONE.id / "models").rglob("card.html"))
    assert stored
    code, printed = tenantry("card", GLOBAL.id, "churn", "--version", "1")
    assert code == 0
    assert "global.churn@1  global/lightgbm, trained as of 2024-07-02" in printed
    assert "recency" in printed


def test_a_blast_radius_is_rolled_back_in_one_command(
    tenantry: Command, here: Installation
) -> None:
    """Dry run, the real one, once more: who serves a descendant and nothing else before falls back
    on the best baseline of its training, and who does not is left alone."""
    command = ("rollback", "--derived-from", "global.churn@1")
    code, printed = tenantry(*command, "--dry-run", "--json")
    assert code == 0
    told = json.loads(printed)
    code, printed = tenantry(*command, "--json")
    assert code == 0
    done = json.loads(printed)
    for found in (told, done):
        assert [(e["tenant"], e["outcome"], e["version"]) for e in found["effects"]] == [
            (GLOBAL.id, "rolled back", "1"),
            *((shop.id, "not affected", "") for shop in NEIGHBOURS),
            (ONE.id, "not affected", "1"),
            (TWO.id, "rolled back", "1"),
        ]
    now = PROMOTIONS.champion_at(ref(here, TWO), "churn")
    assert now is not None
    assert (now.version, now.rung, now.actor) == ("2", "baseline", operator())
    code, printed = tenantry("why", TWO.id, "churn", "--json")
    why = json.loads(printed)
    assert why["stage"][0]["stage"] == "baseline"
    assert [(one["decision"], one["by"]) for one in why["promotions"]] == [
        ("promoted 1", "system"),
        ("back to 2", operator()),
    ]
    (row,) = [
        row
        for row in fleet_status(load_fleet(here.tenants, use_cases.names()), in_postgres())
        if (row["tenant"], row["use_case"]) == (TWO.id, "churn")
    ]
    assert row["champion"] == "2 baseline/recency"
    code, printed = tenantry("history", TWO.id, "churn")
    assert "global/churn@1 was withdrawn." in printed
    assert f"{operator()} (rollback-1)" in printed
    code, printed = tenantry(*command)
    assert code == 0
    assert "0 of 5 rolled back" in printed
    code, printed = tenantry("reproduce", f"{TWO.id}.churn", f"{GLOBAL.id}.churn")
    assert code == 0
    assert "4 of 4 versions are identical" in printed
    sets = [f"training set of {shop.id}" for shop in (*NEIGHBOURS, ONE)]
    assert f"the same: {', '.join(sets)}, windows, rows, model, reference" in " ".join(
        printed.split()
    )


def test_a_decayed_model_gives_way_by_itself(here: Installation) -> None:
    """Live figures of two windows significantly below what the own model promised bring the version
    before back; asked again, nothing more happens."""
    shop = ref(here, ONE)
    platform = wiring.platform(wiring.connect_from_environment)
    serve_own(shop, platform.registry)
    tenant = find_tenant(here.tenants, ONE.id, use_cases.names())
    interval = Interval(WEEKS[1], WEEKS[2])
    asked = Run(platform, tenant, interval, use_case=use_cases.get("churn"))
    assert roll_back_decayed(asked) is None

    def measured(as_of: datetime) -> None:
        metric = LiveMetric(as_of, "auc", "2", 0.6, 0.03, 200, WEEKS[2], effective=200)
        platform.stores.live_metrics.record(shop, "churn", metric)

    measured(WEEKS[1])
    assert roll_back_decayed(asked) is None  # one window, which all customers share
    measured(WEEKS[1] - timedelta(days=35))
    # the pipeline itself finds it, in the week in which the labels are known
    in_process.run(tenant, WEEKS[2], "churn", wiring.connect_from_environment)
    done = PROMOTIONS.history(shop, "churn")[-1]
    assert (done.version, done.withdrawn, done.actor) == ("1", ("2",), "system")
    assert "significantly below its floor of 0.8" in done.reasons[0]
    assert roll_back_decayed(asked) is None


def test_candidates_built_on_the_global_model_are_made_again(
    tenantry: Command, here: Installation
) -> None:
    """Every candidate of a training that had a global model before it, not only those it chose:
    each has the bytes it had, and names what it was built on."""
    shop, platform = ref(here, ONE), wiring.platform(wiring.connect_from_environment)
    back = PROMOTIONS.history(GLOBAL, "churn")[-1]
    roll_back(
        GLOBAL, "churn", to="1", as_of=back.as_of, registry=platform.registry, promotions=PROMOTIONS
    )
    received: dict[str, Any] = {}
    for stage in ("features", "training"):
        again = open_retrain(
            ONE.id,
            "churn",
            as_of=WEEKS[0] + timedelta(days=2),
            trigger="manual",
            run_id="",
            begun=bool(received),
            connect=wiring.connect_from_environment,
        )
        received[stage] = steps.execute(stage_named(stage), again, received)
    trained = received["training"]
    document = json.loads(platform.lake.get(shop, trained.evaluation))
    made = []
    for one in trained.candidates:
        if one.rung != "baseline":
            new = new_version(
                shop,
                trained,
                one,
                document,
                lake=platform.lake,
                feature_fingerprint=document["feature_fingerprint"],
            )
            made.append(platform.registry.register(shop, "churn", new))
    built_on = {one.name for one in made if one.parent_version == "global/churn@1"}
    assert {"residual", "lightgbm"} <= built_on
    code, printed = tenantry("reproduce", *(f"{ONE.id}.churn@{one.version}" for one in made))
    assert f"{len(made)} of {len(made)} versions are identical" in printed
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "no earlier version of"), (("--to", "99"), "unknown version to roll back")],
)
def test_a_version_that_gave_way_is_not_gone_back_to_unasked(
    tenantry: Command, here: Installation, arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 1, and why there is no other version."""
    shop, registry = ref(here, ONE), wiring.platform(wiring.connect_from_environment).registry
    if not any(decision.withdrawn for decision in PROMOTIONS.history(shop, "churn")):
        serve_own(shop, registry)
        roll_back(shop, "churn", to="1", as_of=WEEKS[2], registry=registry, promotions=PROMOTIONS)
    code, printed = tenantry("rollback", ONE.id, "churn", *arguments, "--dry-run")
    assert code == 1
    assert message in " ".join(printed.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rollback", ONE.id), "name TENANT and USE_CASE"),
        (("rollback", "--derived-from", "global.churn@1", "--to", "2"), "stands alone"),
        (("rollback", "--derived-from", f"{ONE.id}.churn@1"), "only those have descendants"),
        (("history", ONE.id, "churn", "--on", "yesterday"), "is not a day"),
        (("history", ONE.id, "demand"), "unknown use case 'demand'"),
        (("card", ONE.id, "recommendation"), "nothing serves"),
        (("reproduce", "churn"), "is no model"),
        (("reproduce", f"{ONE.id}.churn@99"), "unknown model version '99'"),
        (("reproduce", "nobody.churn@1"), "unknown tenant 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tenantry: Command, arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 1 and what there is instead."""
    code, printed = tenantry(*arguments)
    assert code == 1
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed


def test_models_are_made_again_after_upkeep(tenantry: Command, here: Installation) -> None:
    """The last that is done here: no file that a model, a training or a stage has on record goes,
    where the newest version needs none of them any more."""
    lake, runs = wiring.lake(), wiring.stores().stage_runs
    shops = [ref(here, shop) for shop in (ONE, TWO, *NEIGHBOURS)]
    named = set[tuple[str, str, int]]()
    for owner in (*shops, GLOBAL):
        named |= named_versions(owner, lake, runs)
    for shop in shops:
        for table in TABLES:
            assert (shop.id, table) in {(owner, of) for owner, of, _ in named}
            for source in lake.sources(shop, table):
                lake.rename_source(shop, table, source, f"{source}_anew")
                lake.rename_source(shop, table, f"{source}_anew", f"{source}_again")
    later = datetime.now(UTC) + timedelta(days=60)
    assert sum(keep_up(shop, named, later, lake).deleted for shop in shops) > 0
    owners = (ONE.id, TWO.id, GLOBAL.id)
    code, printed = tenantry("reproduce", *(f"{owner}.churn" for owner in owners), "--json")
    assert [one for one in json.loads(printed) if not one["identical"]] == []
    assert code == 0
    for shop in shops:
        keep_up(shop, set(), later, lake)
    with pytest.raises(TenantryError, match="cannot be read any more"):
        lake.read(
            shops[0], "events", version=min(v for o, t, v in named if (o, t) == (ONE.id, "events"))
        )
