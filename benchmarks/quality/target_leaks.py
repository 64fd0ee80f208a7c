"""Target leakage: how often a planted leak is suspected before promotion, and an honest column.

Leaks. Simulated tenants of 400 users (leads: 800) and 300 days, each with one leak (`faults.Leak`)
that is exact, or wrong in 5 % of the cases. Where the templates read no attribute of users, the use
case gets a view with one. A leak counts as suspected where the training that first sees it suspects
the very column, attribute or event that was planted. Nothing but that leak differs from the honest
tenant of the same seed.

Honest trainings. The same tenants without a leak, by turns with drift (covariate, concept, prior),
late rows, duplicates, a shock and an outage, for every template whose models read features (lists
of items read none); stores of Complete Journey and all of them as one chain at several instants,
and customers of CDNOW. A training counts as falsely suspected where anything is.

Cost. CPU seconds of looking, beside those of the whole training, of three tenants of each template.

Bounds: of every kind of exact leak 95 % are suspected, of honest trainings 1 %. Intervals of 95 %
are Wilson's. Thresholds were chosen by seeds below 1,000, and with a look at the stores.

    python -m benchmarks.quality.target_leaks [--json FILE] [--seeds N] [--part leaks …]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.quality import stores
from benchmarks.quality.churn import CDNOW, _purchases
from benchmarks.quality.judging import Figures, load, pin, tenant_of
from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.features import inputs
from include.features import stage as features
from include.features.declarations import USER, AttributeLookup
from include.features.views import FeatureService, FeatureView
from include.handoffs import FeaturesBuilt, Interval
from include.simulate.faults import Drift, Duplicates, Fault, Late, Leak, Shock, SimulatedOutage
from include.simulate.world import TenantPlan, World
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.dataset import build
from include.training.leakage import SuspectedOrigin
from include.training.stage import train
from include.training.suspecting import Material, look
from include.use_cases.declaration import UseCase
from include.use_cases.spines import event_columns, scoring_spine

#: Share of planted leaks, and of honest trainings, that are suspected: at least, and at most.
FOUND, FALSE = 0.95, 0.01
DAYS: Final = 300
FIRST_SEED: Final = 1_000
BUSINESS: Final = {
    "churn": "shop",
    "recommendation": "shop",
    "demand": "shop",
    "fraud": "payments",
    "lead_scoring": "crm",
    "matching": "jobs",
    "engagement": "learning",
}
USERS: Final = {"lead_scoring": 800, "recommendation": 200, "matching": 200}
ATTRIBUTE: Final = "standing"

#: Kind → template, leak, origin that has to be suspected.
PLANTED: Final = {
    "a post-outcome amount, churn": ("churn", Leak("amount", kind="told"), "amount"),
    "a post-outcome amount, fraud": ("fraud", Leak("amount", kind="told"), "amount"),
    "null where the outcome comes, churn": ("churn", Leak("amount", kind="missing"), "amount"),
    "null where the outcome comes, fraud": ("fraud", Leak("amount", kind="missing"), "amount"),
    "a sum over the label's horizon": ("churn", Leak("amount", kind="ahead"), "amount"),
    "an attribute overwritten in place": (
        "churn",
        Leak(ATTRIBUTE, kind="overwritten"),
        f"user.{ATTRIBUTE}",
    ),
    "an attribute dated back, churn": (
        "churn",
        Leak(ATTRIBUTE, kind="backdated"),
        f"user.{ATTRIBUTE}",
    ),
    "an attribute dated back, leads": (
        "lead_scoring",
        Leak(ATTRIBUTE, kind="backdated"),
        f"user.{ATTRIBUTE}",
    ),
    "an event that follows the outcome": (
        "lead_scoring",
        Leak("Signed In", kind="event"),
        "event Signed In",
    ),
}
SHARES: Final = (1.0, 0.95)
#: What honest tenants have, by turns.
HONEST: Final[tuple[tuple[Fault, ...], ...]] = (
    (),
    (Late(0.1),),
    (Drift("covariate", 200, 1.0),),
    (),
    (Drift("concept", 200, 0.5),),
    (Duplicates(0.1), Shock(230, 7, 3.0)),
    (),
    (Drift("prior", 200, 0.7, over=60),),
    (SimulatedOutage(150, 5),),
)
CUTS: Final = tuple(
    datetime(2017, month, day, 4, tzinfo=UTC) for month, day in ((10, 16), (12, 25))
)


@dataclass(frozen=True)
class Looked:
    """What one training suspects."""

    found: tuple[SuspectedOrigin, ...]
    rows: int

    def suspects(self, origin: str) -> bool:
        """Whether that origin is among it."""
        return any(one.origin == origin for one in self.found)


def with_attribute(case: UseCase) -> UseCase:
    """The use case with a view of a user's attribute."""
    lookup = AttributeLookup("user", ATTRIBUTE, "number")
    view = FeatureView("profile", USER, attributes=(lookup,), owner="platform")
    service = FeatureService(case.features.name, (*case.features.views, view))
    return replace(case, features=service)


def looked(case: UseCase, tenant: TenantConfig, lake: Lake, as_of: datetime) -> Looked | None:
    """What a training of the tenant's as of an instant suspects; None where it has no rows."""
    pinned = pin(tenant, lake)
    data = build(case, [pinned], as_of, lake)
    if not len(data.training):
        return None
    built = built_features(case, tenant, lake, as_of)
    recent = lake.get_table(tenant.ref, built.features)
    found = look(Material(case, data, [pinned], as_of, lake), recent)
    return Looked(found, len(data.training) + len(data.holdout))


def built_features(
    case: UseCase, tenant: TenantConfig, lake: Lake, as_of: datetime
) -> FeaturesBuilt:
    """Features of who is active at an instant."""
    pinned = pin(tenant, lake)
    read = inputs.read(
        tenant,
        case.features,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=as_of,
        lake=lake,
        also=event_columns(case),
    )
    spine = scoring_spine(case, read.events, as_of)
    made = features.build(
        case.name, case.features, spine, read, as_of=as_of, lake=lake, request=case.request
    )
    return FeaturesBuilt(
        tenant=tenant.id,
        use_case=case.name,
        as_of=as_of,
        features=made,
        feature_fingerprint=case.fingerprint,
        events=pinned.events,
        attributes=pinned.attributes,
        training_due=True,
        training_reason="",
    )


def simulated(
    case: UseCase, seed: int, faults: Sequence[Fault], lake: Lake
) -> tuple[TenantConfig, datetime]:
    """A simulated tenant's tables in the lake, and the end of its world."""
    plan = TenantPlan(f"leaky-{seed}", USERS.get(case.name, 400), 0.2, faults=tuple(faults))
    world = World(seed, BUSINESS[case.name], (plan,), days=DAYS)
    found = simulate_tenant(world, plan.id)
    tenant = tenant_of(plan.id, case)
    whole = Interval(world.instant(0) - timedelta(days=400), world.instant(DAYS + 30))
    load(lake, tenant, found.events, found.attributes, whole)
    return tenant, world.instant(DAYS)


def planted(kind: str, share: float, seed: int) -> bool | None:
    """Whether a planted leak is suspected; None where the tenant has no rows to train on."""
    name, leak, origin = PLANTED[kind]
    case = use_cases.get(name)
    case = with_attribute(case) if origin.startswith("user.") else case
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        tenant, end = simulated(case, seed, (replace(leak, share=share),), lake)
        found = looked(case, tenant, lake, end)
    return None if found is None else found.suspects(origin)


def honest(name: str, seed: int) -> Looked | None:
    """What is suspected of a tenant without any leak."""
    case = use_cases.get(name)
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        tenant, end = simulated(case, seed, HONEST[seed % len(HONEST)], lake)
        return looked(case, tenant, lake, end)


def packaged() -> Iterator[tuple[str, Looked]]:
    """Trainings on Complete Journey and CDNOW."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        stores.load(lake)
        for name in ("churn", "recommendation", "demand"):
            for tenant in stores.tenants():
                for as_of in CUTS:
                    found = looked(use_cases.get(name), tenant, lake, as_of)
                    if found is not None:
                        yield f"Complete Journey, stores, {name}", found
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        chain = stores.chain(lake)
        for as_of in CUTS[1:]:
            found = looked(use_cases.get("churn"), chain, lake, as_of)
            if found is not None:
                yield "Complete Journey, chain, churn", found
    with tempfile.TemporaryDirectory() as scratch:
        lake, case = Lake(Path(scratch)), use_cases.get("churn")
        tenant = tenant_of("cdnow", case)
        load(lake, tenant, _purchases(tenant.id), ATTRIBUTES.empty_table(), CDNOW)
        for weeks in range(0, 40, 8):
            found = looked(case, tenant, lake, CDNOW.end - timedelta(weeks=weeks))
            if found is not None:
                yield "CDNOW, churn", found


def cost() -> Figures:
    """Share of a training's CPU seconds that looking takes, per template."""
    figures: Figures = {}
    print("CPU seconds of looking, and of the whole training")
    for name in BUSINESS:
        case, whole, looking = use_cases.get(name), 0.0, 0.0
        for seed in range(FIRST_SEED, FIRST_SEED + 3):
            with tempfile.TemporaryDirectory() as scratch:
                lake = Lake(Path(scratch))
                tenant, end = simulated(case, seed, (), lake)
                built, pinned = built_features(case, tenant, lake, end), pin(tenant, lake)
                began = time.process_time()
                train(
                    tenant,
                    case,
                    built,
                    lake=lake,
                    incumbent=None,
                    global_champion=None,
                    trigger="scheduled",
                    code_revision="benchmark",
                )
                whole += time.process_time() - began
                data = build(case, [pinned], end, lake)
                recent = lake.get_table(tenant.ref, built.features)
                began = time.process_time()
                look(Material(case, data, [pinned], end, lake), recent)
                looking += time.process_time() - began
        figures[name] = [looking, whole]
        print(f"  {name:16} {looking / 3:6.2f} s of {whole / 3:6.2f} s ({looking / whole:.0%})")
    return figures


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Interval of 95 % of a share (Wilson 1927)."""
    z, n = 1.959964, float(count)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    return max(0.0, middle - half), min(1.0, middle + half)


def told(title: str, hits: int, count: int) -> list[float]:
    """Print a share with its interval."""
    low, high = wilson(hits, count) if count else (0.0, 1.0)
    share = hits / count if count else float("nan")
    print(f"  {title:44} {hits:4} of {count:4}  {share:6.1%} ({low:.1%} to {high:.1%})", flush=True)
    return [hits, count, low, high]


def leaks(seeds: Sequence[int]) -> Figures:
    """Planted leaks that were suspected."""
    figures: Figures = {}
    print("Leaks suspected")
    for share in SHARES:
        for kind in PLANTED:
            found = [one for seed in seeds if (one := planted(kind, share, seed)) is not None]
            title = kind if share == 1 else f"{kind}, {1 - share:.0%} wrong"
            figures[title] = told(title, sum(found), len(found))
    return figures


def without_leaks(seeds: Sequence[int]) -> Figures:
    """Honest trainings of simulated tenants that were suspected."""
    print("Honest trainings suspected, simulated")
    trainings = {
        name: [one for seed in seeds if (one := honest(name, seed)) is not None]
        for name in BUSINESS
    }
    return _suspected(trainings)


def of_packages() -> Figures:
    """The same of packaged data."""
    print("Honest trainings suspected, packaged data")
    trainings: dict[str, list[Looked]] = {}
    for title, one in packaged():
        trainings.setdefault(title, []).append(one)
    return _suspected(trainings)


def _suspected(trainings: Mapping[str, Sequence[Looked]]) -> Figures:
    figures: Figures = {}
    for title, looks in trainings.items():
        suspect = [bool(one.found) for one in looks]
        figures[title] = told(title, sum(suspect), len(suspect))
        _show(title, looks)
    total = [bool(one.found) for looks in trainings.values() for one in looks]
    return figures | {"all": told("all", sum(total), len(total))}


def main() -> None:
    """Plant leaks, look at honest trainings, print both with their intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seeds", type=int, default=20, help="tenants per kind and per template")
    parser.add_argument("--part", nargs="*", default=["leaks", "simulated", "packaged", "cost"])
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    parts: dict[str, Callable[[], Figures]] = {
        "leaks": lambda: leaks(seeds),
        "simulated": lambda: without_leaks(seeds),
        "packaged": of_packages,
        "cost": cost,
    }
    figures = {name: parts[name]() for name in options.part}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, sort_keys=True))
    missed = [kind for kind in PLANTED if not _share(figures, "leaks", kind, 1.0) >= FOUND]
    parts_of = [part for part in ("simulated", "packaged") if part in figures]
    missed += [part for part in parts_of if _share(figures, part, "all", 0.0) > FALSE]
    if missed:
        raise SystemExit(f"missed a bound: {', '.join(missed)}")


def _share(figures: Figures, part: str, title: str, where_none: float) -> float:
    hits, count, *_ = figures.get(part, {}).get(title, (0, 0))
    return hits / count if count else where_none


def _show(title: str, looks: Sequence[Looked]) -> None:
    for one in looks:
        for found in one.found:
            print(f"      {title}, {one.rows} rows: {found.origin}: {'; '.join(found.reasons)}")


if __name__ == "__main__":
    main()
