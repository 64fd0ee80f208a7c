# One image for every component of docker-compose.yaml. Why not the official Airflow image: see
# docs/decisions/0006-scaled-deployment.md.
FROM python:3.11-slim-bookworm

# LightGBM's OpenMP runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/tenantry
ENV AIRFLOW_HOME=/opt/tenantry/airflow \
    PYTHONUNBUFFERED=1

# The lock file is complete, so nothing is left to resolve.
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --requirement requirements.txt

COPY pyproject.toml README.md LICENSE airflow_settings.yaml ./
COPY include include
COPY dags dags
COPY plugins plugins
RUN pip install --no-cache-dir --no-deps --editable .

# The folders that volumes are mounted on belong to the user, and so do fresh named volumes.
RUN useradd --uid 10001 --create-home tenantry \
    && mkdir -p airflow/config /var/lib/tenantry/lake /var/lib/tenantry/logs \
    && python -c "from include.runtime.preload import LOCAL_SETTINGS as text; \
open('airflow/config/airflow_local_settings.py', 'w').write(text)" \
    && chown -R tenantry: airflow /var/lib/tenantry
USER tenantry

# The commit, for the lineage of models: `docker compose build --build-arg REVISION=$(git rev-parse HEAD)`
ARG REVISION=unknown
ENV TENANTRY_REVISION=${REVISION}
