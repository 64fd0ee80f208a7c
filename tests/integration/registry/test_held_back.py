"""Suspected target leakage holds a promotion back until somebody says what it is."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from test_promotion_stage import FEBRUARY, JANUARY, KilledError, decide, serving, trained

from include.errors import ConfigError
from include.handoffs import Trained
from include.registry import experiments, release
from include.registry import incidents as registry_incidents
from include.registry.lifecycle import facts_of, what_would_have_to_change
from include.registry.policy import Policy
from include.registry.port import Registry
from include.registry.release import Answered
from include.registry.suspicions import HELD, Suspicion
from include.storage import audit
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.stores.postgres.incidents import PostgresIncidents
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef, global_owner
from tests.unused import unused

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
STORES: Final = in_postgres()
INCIDENTS: Final = PostgresIncidents()

MARCH = datetime(2017, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWN = "own/own-model"
AMOUNT = Suspicion("amount", ("spend__sum",), ("it knows too much",), ("m1",), (OWN,))


@pytest.fixture
def tenant(database: Any) -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("dora"), "eu", "pool")


def suspicious(lake: Lake, tenant: TenantRef, training: Trained, *found: Suspicion) -> Trained:
    """The training, as it would be had it suspected something."""
    document = json.loads(lake.get(tenant, training.evaluation))
    document["suspicions"] = [asdict(one) for one in found]
    evaluation = lake.put(tenant, "training/suspicious.json", json.dumps(document).encode())
    return replace(training, evaluation=evaluation)


def held(lake: Lake, tenant: TenantRef, as_of: datetime, **more: Any) -> Trained:
    """A training whose own model would win, were it not for a suspicion."""
    values = {"baseline": 0.7, "own": 0.8}
    training = trained(lake, tenant, values, as_of=as_of, better="own", **more)
    return suspicious(lake, tenant, training, AMOUNT)


def say(registry: Registry, tenant: TenantRef, answer: str, as_of: datetime = MARCH) -> Answered:
    """Answer as the command does."""
    told = {"because": "the till writes it at once", "by": "ann", "at": NOW}
    if answer == "confirm":
        return release.confirm(tenant, "churn", **told, promotions=PROMOTIONS, incidents=INCIDENTS)
    return release.dismiss(
        tenant,
        "churn",
        **told,
        as_of=as_of,
        registry=registry,
        promotions=PROMOTIONS,
        incidents=INCIDENTS,
    )


def open_incidents(tenant: TenantRef) -> list[registry_incidents.Suspected]:
    """Those that wait for an answer."""
    found = registry_incidents.suspected(INCIDENTS, tenant, "churn")
    return [one for one in found if one.closed_at is None]


def test_a_suspicion_holds_back_the_model_and_a_rule_of_thumb_begins(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """The incident names origin, reason, version and what to do; the version is registered."""
    found = decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    assert (found.promoted, found.rung) == (True, "baseline")
    assert "Suspected target leakage holds back own/own-model. amount: it knows" in found.reason
    (incident,) = open_incidents(tenant)
    assert incident.suspicions == (AMOUNT,)
    assert f"tenantry suspicion dismiss` or `confirm {tenant.id} churn" in incident.summary
    waiting = registry.get(tenant, "churn", incident.version)
    assert waiting.rung == "own"
    facts = facts_of(PROMOTIONS.history(tenant, "churn"))
    assert incident.version in what_would_have_to_change(facts)[0]


def test_the_incumbent_keeps_serving(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """What serves stays as long as nobody has answered, over as many trainings as there are."""
    decide(registry, lake, tenant, trained(lake, tenant, {"baseline": 0.7}))
    for as_of in (FEBRUARY, MARCH):
        found = decide(
            registry, lake, tenant, held(lake, tenant, as_of, incumbent=serving(tenant, as_of))
        )
        assert (found.promoted, found.version) == (False, "1")
    (incident,) = open_incidents(tenant)  # one, brought up to date
    assert registry.get(tenant, "churn", incident.version).as_of == MARCH
    champion = registry.alias(tenant, "churn", "champion")
    assert champion is not None
    assert champion.version == "1"


def test_dismissed_it_serves_and_is_not_suspected_again(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """Ledger, alias, audit chain and history say by whom and why; later trainings are free."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    (incident,) = open_incidents(tenant)
    done = say(registry, tenant, "dismiss", FEBRUARY)
    assert (done.answer, done.origins, done.released) == (
        "dismissed",
        ("amount",),
        incident.version,
    )
    now = PROMOTIONS.champion_at(tenant, "churn")
    assert now is not None
    assert (now.version, now.rung, now.actor, now.as_of) == (
        incident.version,
        "own",
        "ann",
        FEBRUARY,
    )
    assert "the till writes it at once" in now.reasons[0]
    assert now.evidence["champion"]["value"] == 0.8
    assert now.evidence["reference_digest"]
    champion = registry.alias(tenant, "churn", "champion")
    assert champion is not None
    assert champion.version == incident.version
    said = [one for one in audit.entries(tenant) if one.action == "suspected leak dismissed"]
    assert [one.actor for one in said] == ["ann"]
    assert audit.verify(tenant).findings == ()
    assert open_incidents(tenant) == []
    again = decide(
        registry, lake, tenant, held(lake, tenant, MARCH, incumbent=serving(tenant, MARCH))
    )
    assert (again.promoted, again.rung) == (True, "own")
    assert open_incidents(tenant) == []


def test_another_mapping_is_suspected_anew(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """What was said was said of the column as it was then mapped."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    say(registry, tenant, "dismiss", FEBRUARY)
    training = held(lake, tenant, MARCH, incumbent=serving(tenant, MARCH))
    training = suspicious(lake, tenant, training, replace(AMOUNT, mappings=("m2",)))
    assert decide(registry, lake, tenant, training).promoted is False
    assert len(open_incidents(tenant)) == 1


def test_confirmed_it_stays_back_and_nobody_is_asked_again(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """Until the source is mapped otherwise; the version can be tried on nobody."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    (incident,) = open_incidents(tenant)
    done = say(registry, tenant, "confirm")
    assert (done.answer, done.released) == ("confirmed", "")
    found = decide(
        registry, lake, tenant, held(lake, tenant, FEBRUARY, incumbent=serving(tenant, FEBRUARY))
    )
    assert found.promoted is False
    assert "holds back" in found.reason
    assert open_incidents(tenant) == []
    with pytest.raises(ConfigError, match="held back for suspected target leakage"):
        experiments.start(
            tenant,
            "churn",
            incident.version,
            Policy(share=0.2),
            as_of=MARCH,
            registry=registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
            predictions=STORES.predictions,
            by="ann",
        )


def test_only_whom_it_was_compared_with_can_it_replace(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """Somebody else serves by now: the suspicion is dismissed, and the next training compares."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    other = trained(
        lake, tenant, {"global": 0.9}, as_of=FEBRUARY, incumbent=serving(tenant, FEBRUARY)
    )
    document = json.loads(lake.get(tenant, other.evaluation))
    for one in document["evidence"]["comparisons"]:
        one |= {"difference": 0.02, "low": 0.01, "high": 0.03}
    base = {"rung": "baseline", "name": "b", "digest": "0", "value": 0.1}
    document["evidence"]["candidates"].append(base)
    document["suspicions"] = [asdict(replace(AMOUNT, models=("baseline/b",)))]
    stored = lake.put(tenant, "training/other.json", json.dumps(document).encode())
    assert decide(registry, lake, tenant, replace(other, evaluation=stored)).rung == "global"
    done = say(registry, tenant, "dismiss")
    assert done.released == ""
    now = PROMOTIONS.champion_at(tenant, "churn")
    assert now is not None
    assert now.rung == "global"
    assert open_incidents(tenant) == []


def test_a_training_that_does_not_bring_it_up_closes_the_incident(
    registry: Registry, lake: Lake, tenant: TenantRef
) -> None:
    """As after the source was mended; there is nothing left to answer."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    again = trained(
        lake, tenant, {"baseline": 0.7}, as_of=FEBRUARY, incumbent=serving(tenant, FEBRUARY)
    )
    decide(registry, lake, tenant, again)
    assert open_incidents(tenant) == []
    with pytest.raises(ConfigError, match="nothing is suspected"):
        say(registry, tenant, "dismiss")


def test_an_answer_needs_a_reason(registry: Registry, lake: Lake, tenant: TenantRef) -> None:
    """Whoever asks later wants to know."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    with pytest.raises(ConfigError, match="--because"):
        release.confirm(
            tenant,
            "churn",
            because=" ",
            by="ann",
            at=NOW,
            promotions=PROMOTIONS,
            incidents=INCIDENTS,
        )


@pytest.mark.parametrize("dies_in", ["answer_suspicion", "follow_ledger"])
def test_killed_half_way_and_said_again_it_is_the_same(
    registry: Registry,
    lake: Lake,
    tenant: TenantRef,
    dies_in: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One release, one answer, however often the command is given."""
    decide(registry, lake, tenant, held(lake, tenant, JANUARY))
    (incident,) = open_incidents(tenant)

    def die(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(release, dies_in, die)
        with pytest.raises(KilledError):
            say(registry, tenant, "dismiss", FEBRUARY)
    if dies_in == "answer_suspicion":
        assert say(registry, tenant, "dismiss", FEBRUARY).released == incident.version
    released = [
        one for one in PROMOTIONS.history(tenant, "churn") if one.trigger.startswith("release")
    ]
    assert [one.version for one in released] == [incident.version]
    assert open_incidents(tenant) == []


def test_a_global_model_is_held_back_likewise(
    registry: Registry, lake: Lake, database: Any
) -> None:
    """The platform's models wait for an answer of an operator's."""
    owner = global_owner(unused("west"))
    training = trained(lake, owner, {"baseline": 0.7, "global": 0.8}, better="global")
    found = replace(AMOUNT, models=("global/global-model",))
    assert decide(registry, lake, owner, suspicious(lake, owner, training, found)).rung != "global"
    assert PROMOTIONS.history(owner, "churn")[-1].evidence[HELD]["rung"] == "global"
    released = say(registry, owner, "dismiss").released
    champion = registry.alias(owner, "churn", "champion")
    assert champion is not None
    assert (champion.rung, champion.version) == ("global", released)
