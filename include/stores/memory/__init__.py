"""Every group of tables in memory: for tests, and what the ports mean."""

from __future__ import annotations

from include.stores import Stores
from include.stores.memory.checks import InMemoryChecks
from include.stores.memory.drift_records import InMemoryDriftRecords
from include.stores.memory.experiments import InMemoryExperiments
from include.stores.memory.incidents import InMemoryIncidents
from include.stores.memory.live_metrics import InMemoryLiveMetrics
from include.stores.memory.online import InMemoryOnlineStore
from include.stores.memory.outcomes import InMemoryOutcomes
from include.stores.memory.predictions import InMemoryPredictions
from include.stores.memory.promotions import InMemoryPromotions
from include.stores.memory.retrains import InMemoryRetrains
from include.stores.memory.skew_findings import InMemorySkewFindings
from include.stores.memory.slices import InMemorySlices
from include.stores.memory.stage_runs import InMemoryStageRuns


def in_memory() -> Stores:
    """Empty stores, which last as long as the process."""
    incidents = InMemoryIncidents()
    return Stores(
        promotions=InMemoryPromotions(),
        incidents=incidents,
        slices=InMemorySlices(),
        checks=InMemoryChecks(incidents),
        online=InMemoryOnlineStore(),
        stage_runs=InMemoryStageRuns(),
        predictions=InMemoryPredictions(),
        live_metrics=InMemoryLiveMetrics(),
        experiments=InMemoryExperiments(),
        outcomes=InMemoryOutcomes(),
        retrains=InMemoryRetrains(),
        drift=InMemoryDriftRecords(incidents),
        skew=InMemorySkewFindings(incidents),
    )
