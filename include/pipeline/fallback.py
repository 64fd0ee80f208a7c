"""What a tenant that has nothing else to go back to falls back on: its best baseline."""

from __future__ import annotations

import json

from include import wiring
from include.pipeline.consents import unconsented
from include.registry.new_versions import new_version
from include.registry.port import NewVersion
from include.stage_runs import newest_training
from include.tenants.namespace import TenantRef, is_global


def best_baseline(platform: wiring.Platform, owner: TenantRef, use_case: str) -> NewVersion | None:
    """The best baseline of the newest training, as it was measured there; of equals the first
    that the template declares.

    None where nothing was trained. A baseline comes from no other model. That of a global model may
    have learnt from its members' rows, and was judged on them: there is none where one of these
    does not consent to that any more.

    Raises:
        IntegrityError: its files are not what the training wrote.
    """
    lake = platform.lake
    trained = newest_training(platform.stores.stage_runs, owner, use_case)
    if trained is None:
        return None
    if is_global(owner.id) and unconsented(owner, trained.evaluation, lake):
        return None
    baselines = [candidate for candidate in trained.candidates if candidate.rung == "baseline"]
    if not baselines:
        return None
    document = json.loads(lake.get(owner, trained.evaluation))
    return new_version(
        owner,
        trained,
        max(baselines, key=lambda candidate: candidate.metric),
        document,
        lake=lake,
        feature_fingerprint=document["feature_fingerprint"],
        decision=("Falls back on it, as every version that served before is withdrawn.",),
    )
