"""Libraries that the processes which fork tasks import once, so that no task imports them again.

Import only: LightGBM, polars or Delta *used* in a parent hang its children.
"""

from __future__ import annotations

import importlib
import sys

MODULES = (
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "duckdb",
    "deltalake",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "lightgbm",
    "mlflow",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "great_expectations",
    "evidently",
    "include.monitoring.evidently_report",  # the stage itself leaves it to runs that draw
    "include.monitoring.stage",
    "include.pipeline.connections",
    "include.pipeline.steps",
    "include.registry.mlflow_registry",  # `wiring` leaves it to whoever asks for the registry
)

#: `$AIRFLOW_HOME/config/airflow_local_settings.py`, which every Airflow component imports
LOCAL_SETTINGS = '''"""Written by Tenantry at every start; see include/runtime/preload.py."""

import sys

from include.runtime.private import keep_to_owner

keep_to_owner()
if {"scheduler", "worker"} & set(sys.argv):
    from include.runtime.preload import preload

    preload()
'''


def preload(modules: tuple[str, ...] = MODULES) -> None:
    """Imports what can be imported; the rest costs time later, never the scheduler."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            print(f"preload: {module}: {type(error).__name__}: {error}", file=sys.stderr)
    from sqlalchemy.orm import configure_mappers

    configure_mappers()  # MLflow's tables, which every task would otherwise map for itself
