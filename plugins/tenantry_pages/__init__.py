"""What the Airflow UI shows of Tenantry."""
