# One image for every component of docker-compose.yaml. Why not the official Airflow image: see
# docs/decisions/0006-scaled-deployment.md. The base is named by its digest, which `make digests` prints:
# a tag is whatever its owner makes of it tomorrow.
ARG BASE_DIGEST
FROM python:3.11-slim-bookworm@${BASE_DIGEST}

# LightGBM's OpenMP runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/tenantry
ENV AIRFLOW_HOME=/opt/tenantry/airflow \
    PYTHONUNBUFFERED=1

# The lock file is complete, so nothing is left to resolve, and has the digest of every file.
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt

COPY pyproject.toml README.md LICENSE airflow_settings.yaml ./
COPY include include
COPY dags dags
COPY plugins plugins
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

# The folders that volumes are mounted on belong to the user alone, and so do fresh named volumes. What
# is installed belongs to root: no component can change the code it runs. The empty airflow.cfg keeps
# Airflow from writing one, with keys in it, into a file system that is read-only.
RUN useradd --uid 10001 --create-home tenantry \
    && mkdir -p airflow/config \
    && touch airflow/airflow.cfg \
    && python -c "from include.runtime.preload import LOCAL_SETTINGS as text; \
open('airflow/config/airflow_local_settings.py', 'w').write(text)" \
    && install --directory --owner=tenantry --group=tenantry --mode=0700 \
    /var/lib/tenantry /var/lib/tenantry/lake /var/lib/tenantry/logs /var/lib/tenantry/tmp
USER tenantry

# The commit, for the lineage of models: `docker compose build --build-arg REVISION=$(git rev-parse HEAD)`
ARG REVISION=unknown
ENV TENANTRY_REVISION=${REVISION}
