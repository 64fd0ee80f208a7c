"""Every tenant's DAGs: `{tenant}.pipeline`, `{tenant}.retrain` and `{tenant}.drift_watch`."""

from airflow.sdk import get_parsing_context

from include.pipeline.dags import tenant_dags

for dag in tenant_dags(get_parsing_context().dag_id):
    globals()[dag.dag_id] = dag
