"""A year of every template: what a week does not bring, in one process, on simulated data.

Small it is played in months and half-months, in the soak in weeks and with more people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from installation import installed
from life import Stage
from play import Year
from tenants import LIVES, YOUNG_SHOPS, Life

from include import use_cases
from include.monitoring import stage
from include.monitoring.live import awaiting_labels
from include.pipeline.losses import lost_days
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.tenants.intervals import last_interval
from include.tenants.loader import load_fleet

pytestmark = pytest.mark.integration
LARGE = tuple(
    replace(one, schedule="0 0 * * 1", users=4 * one.users) for one in (*LIVES, *YOUNG_SHOPS)
)
TEMPLATES = sorted(use_cases.names())
#: What takes more people and windows to be proven than the small year has: by entity and by time, a
#: model of one's own to be better, and one that serves to be worse.
SCARCE = {Stage.OWN_OVER_GLOBAL, Stage.DECAYED}


@pytest.fixture(
    scope="module", params=[LIVES, pytest.param(LARGE, marks=pytest.mark.soak)], ids=["ci", "soak"]
)
def year(request: pytest.FixtureRequest) -> Iterator[Year]:
    """The year, played. Evidently's pages are left out: seconds each, and tested elsewhere."""
    with installed() as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "draw", lambda *_: "")
        played = Year(here, request.param)
        for life in played.lives:
            life.write(here.tenants)
        for tenant in load_fleet(here.tenants, use_cases.names()).tenants.values():
            migrate(tenant.ref)
        played.play()
        yield played


def living(year: Year, template: str) -> list[Life]:
    """Those who have the template."""
    return [life for life in year.lives if template in life.cases]


@pytest.mark.parametrize("template", TEMPLATES)
def test_nothing_fails(year: Year, template: str) -> None:
    """Not one run, retrain, global training, retention or deed of anybody who has it, all year."""
    those = {life.id for life in living(year, template)}
    assert those
    assert [str(one) for one in year.failures if one.tenant in those] == []


def test_every_stage_of_a_models_life_is_met(year: Year) -> None:
    """By one template or another: what no tenant ever meets, this test says nothing about."""
    met = {stage for record in year.records().values() for stage in record.met()}
    if year.lives is not LARGE:
        met |= SCARCE
    assert sorted(stage.name for stage in set(Stage) - met) == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_labels_mature(year: Year, template: str) -> None:
    """Each prediction whose time has come was looked at, unless it was made in days that are lost,
    and something could be measured."""
    for life in living(year, template):
        case, tenant = use_cases.get(template), year.tenant(life)
        last = year.ran[life.id][-1]
        stores = in_postgres()
        ports = (stores.predictions, stores.live_metrics)
        until = last - case.label.horizon
        waiting = awaiting_labels(*ports, tenant.ref, template, until, case.metric)
        lost = lost_days(stores.incidents, tenant, last)
        made = {at: last_interval(tenant, at).start for at in waiting}
        assert [
            at for at in waiting if not any(days.overlaps(made[at], at) for days in lost)
        ] == [], life.id
        measured = year.records()[life.id, template].rows["live_metrics"]
        if life.weeks > 20:
            assert [row for row in measured if row["value"] is not None], life.id


def test_no_interval_is_left_out_or_run_twice(year: Year) -> None:
    """Through the changes of the clocks, the turn of the year and the leap day: each begins where
    the one before ended, at the midnight of its tenant's place."""
    for life in year.lives:
        tenant = year.tenant(life)
        with tenant_transaction(tenant.ref) as connection:
            rows = connection.execute(
                "SELECT interval_start, interval_end FROM stage_runs WHERE tenant_id = %s "
                "AND stage = 'quality' ORDER BY interval_end",
                [tenant.id],
            ).fetchall()
        kept = [(row["interval_start"], row["interval_end"]) for row in rows]
        assert [start for start, _ in kept[1:]] == [end for _, end in kept[:-1]]
        assert [end for _, end in kept] == year.ran[life.id][-len(kept) :]
        local = [end.astimezone(ZoneInfo(tenant.timezone)) for _, end in kept]
        assert {(at.hour, at.minute) for at in local} == {(0, 0)}


def test_features_stay_what_they_were(year: Year) -> None:
    """Week after week vectors of the past are computed again. Neither retention nor a source with
    another name rewrites it, so not one incident says that anything differs."""
    for life in year.lives:
        with tenant_transaction(year.tenant(life).ref) as connection:
            found = connection.execute(
                "SELECT use_case, as_of, summary FROM incidents WHERE kind = 'feature_skew'"
            ).fetchall()
        assert [one["summary"] for one in found] == [], life.id


def test_everything_that_happened_is_there_once(year: Year) -> None:
    """Repeats, late rows and a source that is read again under another name add nothing."""
    for life in year.lives:
        events = Lake(year.here.state.lake).read(year.tenant(life).ref, "events")
        ids = events["event_id"].to_pylist()
        assert len(ids) == len(set(ids)) > 0, life.id


def test_nothing_is_kept_for_longer_than_agreed(year: Year) -> None:
    """As of the last time that retention was applied: neither events nor predictions."""
    assert year.expired_at is not None
    for life in year.lives:
        tenant = year.tenant(life)
        created = Lake(year.here.state.lake).read(tenant.ref, "events")["created_timestamp"]
        assert min(created.to_pylist()) >= year.expired_at - tenant.retention.events
        with tenant_transaction(tenant.ref) as connection:
            for table in ("predictions", "shadow_predictions"):
                row = connection.execute(f"SELECT min(as_of) AS oldest FROM {table}").fetchone()
                oldest = row["oldest"] if row else None
                assert oldest is None or oldest >= year.expired_at - tenant.retention.predictions


def test_the_year_is_one(year: Year) -> None:
    """It holds what it is meant to: a leap day, the turn of a year, clocks that change."""
    ran = [end for ends in year.ran.values() for end in ends]
    assert max(ran) - min(ran) > timedelta(days=330)
    assert {end.year for end in ran} == {2023, 2024}
    offsets = {
        life.timezone: {
            end.astimezone(ZoneInfo(life.timezone)).utcoffset() for end in year.ran[life.id]
        }
        for life in year.lives
    }
    assert sum(len(one) > 1 for one in offsets.values()) >= 3
