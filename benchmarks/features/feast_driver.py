"""Feast behind a pipe: one JSON request a line in, one JSON answer a line out.

Runs in Feast's own environment and imports nothing of this project. A request names a function of
this file under `do` and gives its arguments; the answer is what the function returned. Whatever
Feast prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import (  # type: ignore[import-not-found]  # not in this project's environment
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    ValueType,
)
from feast.types import Float64, Int64  # type: ignore[import-not-found]

_stores: dict[str, FeatureStore] = {}


def versions() -> dict[str, str]:
    """What is compared with."""
    import feast

    return {"feast": feast.__version__, "pandas": pd.__version__}


def declare(
    store: str,
    folder: str,
    features: str,
    columns: list[str],
    offline: dict[str, Any],
    online: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A feature store of one view `values` over the Parquet file `features`."""
    config = RepoConfig(
        project=f"bench_{store}",
        registry=str(Path(folder) / f"{store}.registry"),
        provider="local",
        offline_store=offline,
        online_store=online,
        entity_key_serialization_version=3,
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="values",
        entities=[user],
        ttl=timedelta(0),  # no value is too old
        schema=[Field(name=name, dtype=_type(features, name)) for name in columns],
        source=FileSource(
            path=features,
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        online=online is not None,
    )
    _stores[store] = FeatureStore(config=config)
    _stores[store].apply([user, view])
    return {}


def materialize(store: str, start: str, end: str) -> dict[str, Any]:
    """Seconds of writing the online store."""
    started = time.perf_counter()
    _stores[store].materialize(datetime.fromisoformat(start), datetime.fromisoformat(end))
    return {"seconds": time.perf_counter() - started}


def online(store: str, requests: list[list[str]], columns: list[str]) -> dict[str, Any]:
    """Seconds of each online read, and how many values of the last one were there."""
    names = [f"values:{name}" for name in columns]
    seconds = []
    for users in requests:
        rows = [{"user_id": user} for user in users]
        started = time.perf_counter()
        answer = _stores[store].get_online_features(features=names, entity_rows=rows).to_dict()
        seconds.append(time.perf_counter() - started)
    values = [value for name in columns for value in answer[name] if value is not None]
    return {"seconds": seconds, "values": len(values)}


def _type(features: str, name: str) -> Any:
    return Int64 if pa.types.is_integer(pq.read_schema(features).field(name).type) else Float64


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": globals()[request.pop("do")](**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
