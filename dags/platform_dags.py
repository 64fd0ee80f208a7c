"""The DAGs that belong to no single tenant: `global.{use_case}`."""

from airflow.sdk import get_parsing_context

from include.pipeline.dags import global_dags

for dag in global_dags(get_parsing_context().dag_id):
    globals()[dag.dag_id] = dag
