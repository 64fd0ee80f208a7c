"""Plays the weeks after the cut as the platform would, then looks at what was served.

At the cut a global model is trained, each tenant trains and decides, and from then on every week
scores the active entities with the champion of that week, retraining when due. Labels come from
the rest of the year, which no training saw. Rows whose label the tenant's own data cannot tell
(a store that stopped) are left out and counted.

    python -m benchmarks.quality.weeks [--lake FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.quality.stores import load, tenants
from include import use_cases
from include.features import inputs
from include.features import stage as features
from include.handoffs import FeaturesBuilt, Trained
from include.models.model import Model
from include.models.serialise import from_bytes
from include.registry.decision import Evidence, decide_promotion
from include.registry.port import ModelVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef
from include.training.contenders import baselines
from include.training.dataset import Pinned, labelled_rows
from include.training.due import TrainingState, is_due
from include.training.metrics import Intervals
from include.training.rows import LabelledRows
from include.training.stage import train, train_global
from include.use_cases.declaration import UseCase
from include.use_cases.spines import EVENT_COLUMNS, scoring_spine

CUT = datetime(2017, 10, 16, 4, tzinfo=UTC)
WEEKS = tuple(CUT + timedelta(days=7 * week) for week in range(1, 7))
END_OF_DATA = datetime(2018, 1, 2, tzinfo=UTC)
CODE = "benchmark"

Version = tuple[ModelVersion, Model]


@dataclass
class Served:
    """A tenant's champion as time goes by."""

    tenant: TenantConfig
    champion: Version | None = None
    decided_at: datetime | None = None
    considered: str = ""


def main() -> None:
    """Measure what the stores have switched on and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, help="reuse or keep the lake in this folder")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(options.lake or Path(scratch))
        load(lake)
        switched_on = sorted({name for tenant in tenants() for name in tenant.use_cases})
        found = {name: measure(use_cases.get(name), lake) for name in switched_on}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True))


def measure(use_case: UseCase, lake: Lake) -> dict[str, object]:
    """Figures of what was served, beside every baseline, over all tenants and for each."""
    fleet = tenants()
    shared = _decide(
        GLOBAL,
        train_global(
            use_case,
            [tenant for tenant in fleet if tenant.pooling.consent],
            CUT,
            lake=lake,
            incumbent=None,
            trigger="scheduled",
            code_revision=CODE,
        ),
        None,
        lake,
        "1",
    )
    parts: list[tuple[LabelledRows, dict[str, np.ndarray]]] = []
    rungs: dict[str, str] = {}
    for tenant in fleet:
        served = Served(tenant)
        _advance(served, use_case, CUT, shared, lake)
        rungs[tenant.id] = _shown(served)
        for as_of in WEEKS:
            _advance(served, use_case, as_of, shared, lake)
            rows = labelled_rows(use_case, _pin(tenant, lake), [as_of], END_OF_DATA, lake)
            if rows is None or served.champion is None:
                continue
            scores = {"served": served.champion[1].predict(rows.features)}
            for baseline in use_case.baselines:
                scores[baseline.name] = _baseline_scores(use_case, baseline.name, rows)
            parts.append((rows, scores))
        rungs[tenant.id] += "" if rungs[tenant.id] == _shown(served) else f" → {_shown(served)}"
    return _report(use_case, parts, rungs)


def _advance(
    served: Served, use_case: UseCase, as_of: datetime, shared: Version | None, lake: Lake
) -> None:
    """Train and decide, when due."""
    tenant = served.tenant
    pinned = _pin(tenant, lake)
    due = is_due(
        TrainingState(
            last_decided_at=served.decided_at,
            retrain_every=use_case.retrain_every,
            champion=served.champion is not None,
            global_version="1" if shared else "",
            considered_global=served.considered,
            rows=pinned.events.rows,
            minimum_rows=use_case.gates.minimum_rows,
            trainings_today=0,
            trainings_per_day=tenant.quota.trainings_per_day,
        ),
        as_of,
    )
    if not due.due:
        return
    read = inputs.read(
        tenant,
        use_case.features,
        events=pinned.events,
        attributes=pinned.attributes,
        known_at=as_of,
        lake=lake,
        also=EVENT_COLUMNS,
    )
    spine = scoring_spine(use_case, read.events, as_of)
    built = FeaturesBuilt(
        tenant=tenant.id,
        use_case=use_case.name,
        as_of=as_of,
        features=features.build(
            use_case.name, use_case.features, spine, read, as_of=as_of, lake=lake
        ),
        feature_fingerprint=use_case.features.fingerprint,
        events=pinned.events,
        attributes=pinned.attributes,
        training_due=True,
        training_reason=due.reason,
    )
    trained = train(
        tenant,
        use_case,
        built,
        lake=lake,
        incumbent=served.champion,
        global_champion=shared,
        trigger="scheduled",
        code_revision=CODE,
    )
    number = f"{as_of:%m%d}"
    served.champion = _decide(tenant.ref, trained, served.champion, lake, number)
    served.decided_at, served.considered = as_of, "1" if shared else ""


def _decide(
    owner: TenantRef, trained: Trained, incumbent: Version | None, lake: Lake, number: str
) -> Version | None:
    document = json.loads(lake.get(owner, trained.evaluation))
    decision = decide_promotion(Evidence.from_document(document))
    if decision.chosen is None:
        return incumbent
    chosen = next(c for c in trained.candidates if c.artifact.digest == decision.chosen.digest)
    version = ModelVersion(
        tenant=owner.id,
        use_case=trained.use_case,
        version=number,
        rung=chosen.rung,
        name=chosen.name,
        digest=chosen.artifact.digest,
        reference_digest=chosen.reference.digest,
        parent_version=chosen.parent_version,
        as_of=trained.as_of,
        feature_fingerprint=document["feature_fingerprint"],
    )
    return version, from_bytes(lake.get(owner, chosen.artifact))


def _pin(tenant: TenantConfig, lake: Lake) -> Pinned:
    return Pinned(
        tenant, lake.version(tenant.ref, "events"), lake.version(tenant.ref, "attributes")
    )


def _baseline_scores(use_case: UseCase, name: str, rows: LabelledRows) -> np.ndarray:
    return next(b for b in baselines(use_case) if b.name == name).model.predict(rows.features)


def _shown(served: Served) -> str:
    return f"{served.champion[0].rung}/{served.champion[0].name}" if served.champion else "none"


def _report(
    use_case: UseCase,
    parts: list[tuple[LabelledRows, dict[str, np.ndarray]]],
    rungs: dict[str, str],
) -> dict[str, object]:
    rows = LabelledRows.stacked([part for part, _ in parts])
    models = list(parts[0][1])
    scores = {m: np.concatenate([found[m] for _, found in parts]) for m in models}
    everyone = np.ones(len(rows), dtype=bool)
    places = {"all": everyone} | {t: rows.tenant == t for t in sorted(rungs)}
    figures: dict[str, object] = {}
    print(f"\n{use_case.name}: {len(rows):,} rows, {len(np.unique(rows.entity)):,} entities")
    print(f"{'':12} {'metric':18}" + "".join(f"{model:>24}" for model in models))
    for place, mask in places.items():
        part = rows.where(mask)
        if not len(part):
            print(f"{place:12} no row whose label the tenant's own data can tell")
            continue
        intervals = Intervals(part, use_case.reach)
        for metric in use_case.metrics:
            found = {m: intervals.estimate(metric, scores[m][mask]) for m in models}
            figures[f"{place} {metric}"] = {m: e.value for m, e in found.items()}
            cells = "".join(f"{_cell(e.value, e.low, e.high):>24}" for e in found.values())
            print(f"{place:12} {metric:18}{cells}  {rungs.get(place, '')}")
            if place == "all":
                for model in models[1:]:
                    gap = intervals.difference(metric, scores["served"], scores[model])
                    print(f"{'':12} served − {model}: {_cell(gap.value, gap.low, gap.high)}")
    return figures


def _cell(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}–{high:.3f})"


if __name__ == "__main__":
    main()
