"""Every group of tables in Postgres, reached through `storage.postgres` alone."""

from __future__ import annotations

from include.stores import Stores
from include.stores.postgres.checks import PostgresChecks
from include.stores.postgres.drift_records import PostgresDriftRecords
from include.stores.postgres.experiments import PostgresExperiments
from include.stores.postgres.incidents import PostgresIncidents
from include.stores.postgres.live_metrics import PostgresLiveMetrics
from include.stores.postgres.online import PostgresOnlineStore
from include.stores.postgres.outcomes import PostgresOutcomes
from include.stores.postgres.predictions import PostgresPredictions
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.retrains import PostgresRetrains
from include.stores.postgres.skew_findings import PostgresSkewFindings
from include.stores.postgres.slices import PostgresSlices
from include.stores.postgres.stage_runs import PostgresStageRuns


def in_postgres() -> Stores:
    """The stores of the Postgres that this process's environment names."""
    return Stores(
        promotions=PostgresPromotions(),
        incidents=PostgresIncidents(),
        slices=PostgresSlices(),
        checks=PostgresChecks(),
        online=PostgresOnlineStore(),
        stage_runs=PostgresStageRuns(),
        retrains=PostgresRetrains(),
        drift=PostgresDriftRecords(),
        skew=PostgresSkewFindings(),
        predictions=PostgresPredictions(),
        live_metrics=PostgresLiveMetrics(),
        experiments=PostgresExperiments(),
        outcomes=PostgresOutcomes(),
    )
