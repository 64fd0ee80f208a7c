"""What a tenant that has nothing else to go back to falls back on: its best baseline."""

from __future__ import annotations

import json

from include.pipeline.history import newest_training
from include.registry.port import NewVersion
from include.registry.stage import new_version
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef


def best_baseline(owner: TenantRef, use_case: str) -> NewVersion | None:
    """The best baseline of the newest training, as it was measured there.

    None where nothing was trained. A baseline knows no data, so it comes from no other model.

    Raises:
        IntegrityError: its files are not what the training wrote.
    """
    lake = Lake.from_environment()
    trained = newest_training(owner, use_case)
    if trained is None:
        return None
    baselines = [one for one in trained.candidates if one.rung == "baseline"]
    if not baselines:
        return None
    document = json.loads(lake.get(owner, trained.evaluation))
    return new_version(
        owner,
        trained,
        min(baselines, key=lambda one: (-one.metric, one.name)),
        document,
        lake=lake,
        feature_fingerprint=document["feature_fingerprint"],
        decision=("Falls back on it, as every version that served before is withdrawn.",),
    )
