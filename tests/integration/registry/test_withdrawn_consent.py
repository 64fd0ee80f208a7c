"""Withdrawn consent reaches every version that was made of what it was given for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml
from models import FIRST, WEEK, content, new, promote

from include.errors import IntegrityError, TenantryError, UnavailableError
from include.pipeline import consent
from include.pipeline.consent import Withdrawals, reach_all, withdraw
from include.pipeline.consents import Consents
from include.registry import experiments
from include.registry.aliases import follow_ledger
from include.registry.blast_radius import ChampionChange
from include.registry.in_memory import InMemoryRegistry
from include.registry.policy import Policy
from include.registry.port import CHALLENGER, CHAMPION, ModelVersion, NewVersion, Registry
from include.registry.rollback import roll_back
from include.storage import ownership
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.loader import load_tenant
from include.tenants.namespace import TenantRef, global_owner, model_name, workspace
from include.wiring import Platform
from tests.interruptions import Ended, end_after_write

pytestmark = pytest.mark.integration

#: What a registration and a change of who serves write in the registry.
REGISTRY_WRITES: Final = tuple((InMemoryRegistry, name) for name in ("register", "set_alias"))

PROMOTIONS: Final = PostgresPromotions()
STORES: Final = in_postgres()

CASE = "churn"


@dataclass
class Region:
    """A region that no test has used before, with three tenants that consent and one that has none
    of it."""

    folder: Path
    lake: Lake
    registry: Registry
    name: str = field(default_factory=lambda: f"r{uuid4().hex[:10]}")

    @property
    def owner(self) -> TenantRef:
        """Of the region's global models."""
        return global_owner(self.name)

    def id(self, tenant: str) -> str:
        """The tenant's whole id."""
        return f"{tenant}-{self.name}"

    def ref(self, tenant: str) -> TenantRef:
        """The tenant."""
        return TenantRef(self.id(tenant), self.name, "pool")

    def path(self, tenant: str) -> Path:
        """The tenant's file."""
        return self.folder / f"{self.id(tenant)}.yaml"

    def write(self, tenant: str, **changes: Any) -> None:
        """The tenant's file, which consents to pooling unless it says otherwise."""
        mapping = {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"}
        files = {"type": "file", "path": "nowhere.csv", "format": "csv"}
        told = {
            "id": self.id(tenant),
            "name": "Somebody",
            "region": self.name,
            "schedule": "0 4 * * 1",
            "history_from": "2024-01-01",
            "pooling": {"consent": True},
            "sources": [{"name": "orders", "connector": files, "events": mapping}],
            "use_cases": {CASE: None},
        } | changes
        self.path(tenant).write_text(yaml.safe_dump(told), encoding="utf-8")

    def trained(self, week: int, *members: str, parent: str = "") -> ModelVersion:
        """A global version that was made of these tenants' rows, and serves from that week on."""
        tables = [{"tenant": self.id(one), "table": "events"} for one in members]
        return serve(self, self.owner, week, "global", parent, {"tables": tables})

    def adopted(self, tenant: str, week: int, parent: str, rung: str = "global") -> ModelVersion:
        """A version of a tenant's that came from a global one, if any, and serves from then on."""
        name = f"{self.owner.id}/{CASE}@{parent}" if parent else ""
        return serve(self, self.ref(tenant), week, rung, name, {"tables": []})

    def serving(self, tenant: str = "") -> str:
        """Who serves a tenant, or as the region's global model; the alias says the same."""
        owner = self.ref(tenant) if tenant else self.owner
        found = PROMOTIONS.champion_at(owner, CASE)
        alias = self.registry.alias(owner, CASE, CHAMPION)
        assert (alias.version if alias else "") == (found.version if found else "")
        return found.version if found else ""

    @property
    def platform(self) -> Platform:
        """What a withdrawal is given."""

        def nobody(_: str) -> Any:
            raise AssertionError

        stores = replace(in_postgres(), promotions=PROMOTIONS)
        return Platform(self.lake, self.registry, stores, nobody)

    def reach(self, **changes: Any) -> dict[str, ChampionChange]:
        """Carry withdrawn consent wherever it has to go; the effects by the tenant's short name."""
        work = Withdrawals(Consents.now(), self.platform, **changes)
        return self.short(work.reach([CASE]))

    def short(
        self, effects: Iterator[ChampionChange] | Sequence[ChampionChange]
    ) -> dict[str, ChampionChange]:
        """Effects of this region, by the tenant's short name."""
        ends = f"-{self.name}"
        return {one.tenant.removesuffix(ends): one for one in effects if ends in one.tenant}


def serve(
    here: Region, owner: TenantRef, week: int, rung: str, parent: str, lineage: Any
) -> ModelVersion:
    """Register a version, decide for it, and let the alias follow."""
    made = new(f"{owner.id}-{week}", rung, parent=parent, week=week)
    # registered first with its lineage, under the key by which `promote` finds it again
    here.registry.register(owner, CASE, replace(made, key=str(week), lineage=lineage))
    return promote(here.registry, owner, CASE, week, rung, parent=parent)


def offered(platform: Platform, owner: TenantRef, use_case: str) -> NewVersion:
    """A baseline."""
    return new("rule", "baseline", model=content("rule"))


@pytest.fixture
def here(database: Any, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Region:
    """Three tenants of one region consent, and a fourth has only ever used what they made."""
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path))
    monkeypatch.setattr(consent, "best_baseline", offered)
    region = Region(tmp_path, lake, InMemoryRegistry())
    for tenant in ("alder", "birch", "cedar"):
        region.write(tenant)
    region.write("shy", pooling={"consent": False})
    return region


def test_a_withdrawal_takes_back_what_was_made_of_it_and_what_came_from_that(here: Region) -> None:
    """As it is, with a residual, and by way of a later global version: all go back to what was made
    without the tenant; what has nothing to do with it is left alone."""
    here.trained(0, "alder", "birch")
    here.trained(1, "alder", "birch", "cedar")
    here.trained(2, "alder", "birch", parent=f"{here.owner.id}/{CASE}@2")
    here.adopted("alder", 0, "1")
    here.adopted("alder", 3, "2")
    here.adopted("birch", 0, "1")
    here.adopted("birch", 3, "3", "own")
    here.adopted("cedar", 0, "", "own")
    here.adopted("shy", 3, "2", "own")
    assert here.reach() == {}
    here.write("cedar", pooling={"consent": False})
    found = here.reach(by="ada")
    assert {name: (one.outcome, one.version, one.to) for name, one in found.items()} == {
        "global": ("rolled back", "3", "1"),
        "alder": ("rolled back", "2", "1"),
        "birch": ("rolled back", "2", "1"),
        "shy": ("rolled back", "1", "2"),
    }
    assert here.serving() == "1"
    assert [here.serving(name) for name in ("alder", "birch", "cedar", "shy")] == list("1112")
    last = PROMOTIONS.history(here.owner, CASE)[-1]
    assert (last.actor, last.withdrawn, last.trained) == ("ada", ("2", "3"), False)
    assert here.id("cedar") in last.reasons[0]
    for name in ("alder", "birch", "shy"):  # who withdrew is no other tenant's business
        told = PROMOTIONS.history(here.ref(name), CASE)[-1]
        assert "was withdrawn for good: a tenant took its consent back" in told.reasons[0]
        assert "cedar" not in str(told)


def test_when_all_withdraw_nothing_goes_on_serving(
    here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No global model, at no instant, under no alias; tenants serve their baseline, or nothing
    where they have not even that."""
    here.trained(0, "alder")
    here.trained(1, "alder", "birch")
    for tenant in ("alder", "birch", "shy"):
        here.adopted(tenant, 2, "2")
    for tenant in ("alder", "birch", "cedar"):
        here.write(tenant, pooling={})

    def for_some(platform: Platform, owner: TenantRef, use_case: str) -> NewVersion | None:
        return None if owner == here.ref("shy") else offered(platform, owner, use_case)

    monkeypatch.setattr(consent, "best_baseline", for_some)
    found = here.reach()
    assert {name: (one.outcome, one.to) for name, one in found.items()} == {
        "global": ("nothing serves", ""),
        "alder": ("rolled back", "2"),
        "birch": ("rolled back", "2"),
        "shy": ("nothing serves", ""),
    }
    assert all(one.complete for one in found.values())
    for owner in (here.owner, here.ref("shy")):
        assert here.registry.alias(owner, CASE, CHAMPION) is None
        for week in range(5):
            assert PROMOTIONS.champion_at(owner, CASE, FIRST + week * WEEK) is None
    assert PROMOTIONS.champion_at(here.ref("alder"), CASE, FIRST + WEEK) is None
    assert here.serving("alder") == "2"


WITHDRAWN: dict[str, Callable[[Region], object]] = {
    "consent is false": lambda here: here.write("cedar", pooling={"consent": False}),
    "the file is silent": lambda here: here.write("cedar", pooling={}),
    "across regions, but no consent": lambda here: here.write(
        "cedar", pooling={"consent": False, "across_regions": True}
    ),
    "the file is gone": lambda here: here.path("cedar").unlink(),
    "it is another region's now": lambda here: here.write("cedar", region="elsewhere"),
    "its id is another one": lambda here: here.write("cedar", id="somebody-else"),
}
STANDING: dict[str, Callable[[Region], object]] = {
    "nothing changed": lambda here: here.write("cedar"),
    "it consents to more": lambda here: here.write(
        "cedar", pooling={"consent": True, "across_regions": True}
    ),
    "it uses something else": lambda here: here.write("cedar", use_cases={"recommendation": None}),
    "its file cannot be read": lambda here: here.path("cedar").write_text("id: [", "utf-8"),
    "its file has another name and a mistake": lambda here: (
        here.path("cedar").rename(here.folder / "other.yaml"),
        (here.folder / "other.yaml").write_text(f"id: {here.id('cedar')}\nregion: 7\n", "utf-8"),
    ),
}


@pytest.mark.parametrize("how", [*WITHDRAWN, *STANDING])
def test_what_a_file_says_is_what_is_consented_to(here: Region, how: str) -> None:
    """Whatever way consent ends; a mistake in a file is none of them, nor is one use case less."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    (WITHDRAWN | STANDING)[how](here)
    here.reach()
    assert here.serving() == ("1" if how in WITHDRAWN else "2")


def test_a_folder_without_tenants_is_no_withdrawal_of_all(here: Region) -> None:
    """As where it was not mounted: nothing is withdrawn, which nobody could undo."""
    here.trained(0, "alder")
    for path in here.folder.iterdir():
        path.unlink()
    assert reach_all(here.platform) == []
    assert here.serving() == "1"


def test_consent_that_is_given_again_revives_nothing(here: Region) -> None:
    """Neither the next run, nor a rollback by hand, nor a training that finds the old incumbent: a
    version serves again once it was trained."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    here.trained(2, "alder", "cedar")
    here.write("cedar", pooling={"consent": False})
    here.reach()
    here.write("cedar")
    assert here.reach()["global"].outcome == "done before"
    assert here.serving() == "1"
    for version in "23":
        with pytest.raises(TenantryError, match="consent to what it was made of was withdrawn"):
            roll_back(
                here.owner,
                CASE,
                to=version,
                as_of=FIRST,
                registry=here.registry,
                promotions=PROMOTIONS,
            )
    here.trained(4, "alder", "cedar")
    assert here.serving() == "4"
    assert here.reach()["global"].outcome == "done before"
    assert here.serving() == "4"


def test_a_challenger_that_is_lost_challenges_no_more(here: Region) -> None:
    """One that never served is withdrawn, too: it has no alias, is scored in no shadow, starts no
    experiment, and the one that was running ends."""
    here.trained(0, "alder", "cedar")
    here.adopted("birch", 0, "", "own")
    owner = here.ref("birch")
    lost = here.registry.register(
        owner, CASE, new("challenger", "own", parent=f"{here.owner.id}/{CASE}@1", week=1)
    )
    current = PROMOTIONS.champion_at(owner, CASE)
    assert current is not None
    told = {**current.evidence, "challenger": lost.version}
    kept = replace(current, as_of=FIRST + WEEK, promoted=False, evidence=told)
    PROMOTIONS.record(owner, kept)
    follow_ledger(owner, CASE, here.registry, PROMOTIONS)
    alias = here.registry.alias(owner, CASE, CHALLENGER)
    assert alias is not None
    assert alias.version == lost.version
    begun = experiments.start(
        owner,
        CASE,
        "2",
        Policy(0.5),
        as_of=FIRST + WEEK,
        registry=here.registry,
        promotions=PROMOTIONS,
        experiments=STORES.experiments,
        predictions=STORES.predictions,
        by="ada",
    )
    here.write("cedar", pooling={"consent": False})
    assert here.reach()["birch"].outcome == "withdrawn"
    assert here.serving("birch") == "1"
    assert here.registry.alias(owner, CASE, CHALLENGER) is None
    assert experiments.challenger_at(PROMOTIONS.history(owner, CASE), FIRST + WEEK) == ""
    ended = STORES.experiments.history(owner, CASE)[begun.number - 1].ending
    assert ended is not None
    assert ended.verdict == "withdrawn"
    with pytest.raises(TenantryError, match="cannot serve: "):
        experiments.start(
            owner,
            CASE,
            "2",
            Policy(0.5),
            as_of=FIRST + WEEK,
            registry=here.registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
            predictions=STORES.predictions,
            by="ada",
        )


def test_a_dry_run_says_what_would_happen_and_writes_nothing(here: Region) -> None:
    """The same effects as the real one has, and ledgers and registry as they were."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    here.adopted("birch", 1, "2")
    here.adopted("shy", 1, "2", "own")
    owners = (here.owner, here.ref("birch"), here.ref("shy"))

    def state() -> list[Any]:
        return [(PROMOTIONS.history(o, CASE), here.registry.versions(o, CASE)) for o in owners]

    before = state()
    done: list[dict[str, tuple[str, str]]] = []
    for dry_run in (True, False):
        found = here.short(withdraw(here.id("cedar"), platform=here.platform, dry_run=dry_run))
        done.append({name: (one.outcome, one.version) for name, one in found.items()})
        assert (state() == before) is dry_run
    assert done[0] == done[1]
    assert done[0].keys() == {"global", "birch", "shy"}


@pytest.mark.parametrize("where", range(1, 10))
def test_killed_anywhere_and_run_again_it_ends_the_same(
    here: Region, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    """Killed after any write, global or tenant's: the second run does what is left, once."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    here.adopted("alder", 0, "1")
    for tenant in ("alder", "birch", "shy"):
        here.adopted(tenant, 1, "2")
    here.write("cedar", pooling={"consent": False})
    with monkeypatch.context() as patch:
        end_after_write(patch, where, (PROMOTIONS, "record"), *REGISTRY_WRITES)
        with pytest.raises(Ended):
            here.reach()
    assert all(one.complete for one in here.reach().values())
    assert [here.serving(name) for name in ("", "alder", "birch", "shy")] == list("1122")
    for name in ("alder", "birch", "shy"):
        rows = [one for one in PROMOTIONS.history(here.ref(name), CASE) if not one.trained]
        assert len(rows) == 1


def test_one_that_is_out_of_reach_holds_up_no_other(
    here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its effect says so, and the command that runs later does it."""
    here.trained(0, "alder", "cedar")
    here.adopted("alder", 1, "1")
    here.adopted("birch", 1, "1")
    here.write("cedar", pooling={"consent": False})
    original = PROMOTIONS.history

    def unreachable(owner: TenantRef, *rest: Any) -> Any:
        if owner == here.ref("alder"):
            raise UnavailableError("its database does not answer")
        return original(owner, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PROMOTIONS, "history", unreachable)
        with pytest.raises(TenantryError, match=rf"{here.id('alder')}/churn: its database"):
            reach_all(here.platform, [CASE])
    assert [here.serving(name) for name in ("", "birch")] == ["", "2"]
    assert here.reach()["alder"].outcome == "rolled back"


def test_descent_that_the_registry_hides_is_known_to_the_ledger(here: Region) -> None:
    """Whoever can write MLflow's tags keeps nothing serving by leaving out where it came from."""
    here.trained(0, "alder", "cedar")
    here.adopted("birch", 0, "")
    here.adopted("birch", 1, "1")
    here.trained(2, "alder", parent=f"{here.owner.id}/{CASE}@1")
    for owner in (here.owner, here.ref("birch")):
        hide_descent(here, owner, "2")
    here.write("cedar", pooling={"consent": False})
    here.reach()
    assert (here.serving(), here.serving("birch")) == ("", "1")


def test_tenants_that_the_card_hides_are_known_to_the_ledger(here: Region) -> None:
    """Whoever can write cards and MLflow's tags for them takes nobody out of what a version was
    made of."""
    here.trained(0, "alder", "birch")
    hidden = here.trained(1, "alder")
    current = PROMOTIONS.champion_at(here.owner, CASE)
    assert current is not None
    told = {**current.evidence, "made_of": [here.id("alder"), here.id("cedar")]}
    PROMOTIONS.record(here.owner, replace(current, trigger="manual", evidence=told))
    assert here.reach() == {}
    here.write("cedar", pooling={"consent": False})
    here.reach()
    assert here.serving() == "1"
    assert PROMOTIONS.gone(here.owner, CASE) == {hidden.version}


def hide_descent(here: Region, owner: TenantRef, number: str) -> None:
    """Let the registry say that a version came from nothing."""
    assert isinstance(here.registry, InMemoryRegistry)
    versions = here.registry._versions[workspace(owner), model_name(CASE)]
    for key, one in versions.items():
        if one.version == number:
            assert one.parent_version
            versions[key] = replace(one, parent_version="")
    assert here.registry.get(owner, CASE, number).parent_version == ""


def test_a_version_whose_card_is_broken_holds_up_no_other(
    here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whose data it has, so the effect is not complete; what is known goes."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    card = InMemoryRegistry.card

    def broken(registry: InMemoryRegistry, owner: TenantRef, version: ModelVersion) -> bytes:
        if (owner, version.version) == (here.owner, "1"):
            raise IntegrityError("its card is gone")
        return card(registry, owner, version)

    here.write("cedar", pooling={"consent": False})
    with monkeypatch.context() as patch:
        patch.setattr(InMemoryRegistry, "card", broken)
        effect = here.reach()["global"]
    assert (effect.complete, "its card is gone" in effect.reason) == (False, True)
    assert here.serving() == "1"
    assert PROMOTIONS.gone(here.owner, CASE) == {"2"}
    assert here.reach()["global"].complete


def test_a_baseline_that_retention_has_erased_holds_up_no_withdrawal(
    here: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing serves the tenant then, rather than what was withdrawn."""

    def erased(platform: Platform, owner: TenantRef, use_case: str) -> NewVersion | None:
        raise IntegrityError("its reference is gone")

    monkeypatch.setattr(consent, "best_baseline", erased)
    here.trained(0, "alder", "cedar")
    here.adopted("birch", 1, "1")
    here.write("cedar", pooling={"consent": False})
    effect = here.reach()["birch"]
    assert effect.outcome == "nothing serves"
    assert "its reference is gone" in effect.reason
    assert here.serving("birch") == ""


@pytest.mark.parametrize("says", [{"region": "elsewhere"}, {"isolation": "silo"}])
def test_a_tenant_is_reached_where_its_data_lies(
    here: Region, says: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its file says before it was moved, and nothing else of its own is withdrawn."""
    monkeypatch.setenv("TENANTRY_LAKE", str(here.lake.root))
    ownership.claim(load_tenant(here.path("birch"), frozenset({CASE})))
    here.trained(0, "alder", "cedar")
    here.adopted("birch", 0, "", "own")
    here.adopted("birch", 1, "1")
    here.write("birch", **says)
    assert "birch" not in here.reach()
    here.write("cedar", pooling={"consent": False})
    effect = here.reach()["birch"]
    assert (effect.outcome, effect.version, effect.to) == ("rolled back", "2", "1")
    assert here.serving("birch") == "1"


def test_a_use_case_that_was_switched_off_is_reached_too(here: Region) -> None:
    """It may be switched on again, and then serves nothing that was withdrawn meanwhile."""
    here.trained(0, "alder", "cedar")
    here.adopted("birch", 1, "1")
    here.write("birch", use_cases={"recommendation": None})
    here.write("cedar", pooling={"consent": False})
    assert here.reach()["birch"].outcome == "rolled back"
    assert here.serving("birch") == "2"


def test_a_tenant_without_a_file_is_forgotten_by_the_models_too(here: Region) -> None:
    """`withdraw` works by the id alone, as for a tenant that is removed."""
    here.trained(0, "alder")
    here.trained(1, "alder", "cedar")
    here.path("cedar").unlink()
    withdraw(here.id("cedar"), platform=here.platform, by="ada")
    assert here.serving() == "1"
    assert PROMOTIONS.history(here.owner, CASE)[-1].actor == "ada"
