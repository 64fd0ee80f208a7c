"""The DAGs of no single tenant: `global.{use_case}`, `platform.consent`, `platform.retention`."""

from airflow.sdk import get_parsing_context

from include.pipeline.platform_dags import platform_dags

for dag in platform_dags(get_parsing_context().dag_id):
    globals()[dag.dag_id] = dag
