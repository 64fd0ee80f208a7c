"""Adapters of the ports to rows: in Postgres, and in memory as the reference."""

from __future__ import annotations

from dataclasses import dataclass

from include.features.online.store import OnlineStore
from include.incidents import Incidents
from include.ingestion.slices import Slices
from include.monitoring.drift_records import DriftRecords
from include.monitoring.live_metrics import LiveMetrics
from include.monitoring.retrains import Retrains
from include.monitoring.skew_findings import SkewFindings
from include.quality.checks import Checks
from include.registry.experiments import Experiments
from include.registry.outcomes import Outcomes
from include.registry.predictions import Predictions
from include.registry.promotions import Promotions
from include.stage_runs import StageRuns


@dataclass(frozen=True)
class Stores:
    """The owners of all rows, one port per group of tables."""

    promotions: Promotions
    online: OnlineStore
    incidents: Incidents
    slices: Slices
    checks: Checks
    stage_runs: StageRuns
    retrains: Retrains
    drift: DriftRecords
    skew: SkewFindings
    predictions: Predictions
    live_metrics: LiveMetrics
    experiments: Experiments
    outcomes: Outcomes
