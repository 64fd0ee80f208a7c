"""Everything Tenantry is made of; `dags/` and `plugins/` only hand it to Airflow."""
