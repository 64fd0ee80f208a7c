"""Connections from the environment: as Airflow spells them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from include.errors import SourceError
from include.wiring import connect_from_environment

URL = "postgresql://reader:secret@db.example:5433/sales"
JSON = (
    '{"conn_type": "postgres", "host": "db.example", "port": 5433, "schema": "sales",'
    ' "login": "reader", "password": "secret", "extra": %s}'
)
FIELDS = {
    "host": "db.example",
    "port": 5433,
    "dbname": "sales",
    "user": "reader",
    "password": "secret",
}


@pytest.mark.parametrize(
    ("spelled", "given"),
    [
        (URL, URL),
        (JSON % "null", FIELDS),
        (JSON % '{"sslmode": "require"}', FIELDS | {"sslmode": "require"}),
        (JSON % '"{\\"sslmode\\": \\"require\\"}"', FIELDS | {"sslmode": "require"}),
    ],
)
def test_a_url_or_json(spelled: str, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lead to the same place; what JSON calls `extra` are options of the connection."""
    monkeypatch.setenv("AIRFLOW_CONN_SALES", spelled)
    monkeypatch.setattr(psycopg, "connect", lambda *url, **fields: (url, fields))
    url, fields = connect_from_environment("sales")
    fields.pop("connect_timeout", None), fields.pop("options", None)
    assert (url[0] if url and url[0] else fields) == given


@pytest.mark.parametrize("spelled", ["", '{"host": '])
def test_neither(spelled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named."""
    monkeypatch.setenv("AIRFLOW_CONN_SALES", spelled)
    with pytest.raises(SourceError, match="AIRFLOW_CONN_SALES"):
        connect_from_environment("sales")
