"""The component that keeps Airflow's database from growing for ever.

`python -m include.runtime.housekeeping` forgets, once an hour, what is older than
TENANTRY_RUN_RETENTION_DAYS. Tasks have no way to that database, so this is no task; in the scaled
deployment it is a service that knows nothing else, and `--healthy` tells whether it gets on.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from include.errors import ConfigError, TenantryError
from include.pipeline.task_history import kept
from include.runtime import metadata

log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 3600.0
_AIRFLOW: Final = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_CELERY: Final = "AIRFLOW__CELERY__RESULT_BACKEND"


def keep_house(environment: Mapping[str, str], at: datetime) -> dict[str, int]:
    """Forget once, with the indices that this takes; how many rows went, by table.

    Raises:
        ConfigError: the environment names no database of Airflow's.
        UnavailableError: a database does not answer.
    """
    if not environment.get(_AIRFLOW):
        raise ConfigError(f"{_AIRFLOW} is not set: it names the database to keep small")
    before, airflow = at - kept(), libpq_url(environment[_AIRFLOW])
    metadata.create_indices(airflow)
    gone = metadata.forget(airflow, before)
    if environment.get(_CELERY):
        gone |= metadata.forget(libpq_url(environment[_CELERY]), before, celery=True)
    return gone


def libpq_url(url: str) -> str:
    """A database's address without what SQLAlchemy and Celery put before it."""
    scheme, _, rest = url.removeprefix("db+").partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def is_healthy(stamp: Path, now: float) -> bool:
    """Whether the last two rounds, or one of them, went well."""
    try:
        return now - stamp.stat().st_mtime < 2 * _PAUSE_SECONDS
    except OSError:
        return False


def main() -> int:
    """Forget, wait for an hour, and so on; what fails is tried again the next hour."""
    stamp = Path(tempfile.gettempdir()) / "housekept"
    if sys.argv[1:] == ["--healthy"]:
        return 0 if is_healthy(stamp, time.time()) else 1
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    while True:
        try:
            gone = keep_house(os.environ, datetime.now(UTC))
            told = ", ".join(f"{count:,} of {table}" for table, count in gone.items() if count)
            log.info("forgotten: %s", told or "nothing")
            stamp.touch(mode=0o600)
        except (TenantryError, psycopg.Error) as error:
            log.error("not forgotten, tried again in an hour: %s", " ".join(str(error).split()))
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
