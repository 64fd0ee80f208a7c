"""A fleet of tenants run bare, through Airflow, and naively on Airflow, on one machine."""
