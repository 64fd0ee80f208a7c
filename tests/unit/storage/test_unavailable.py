"""What is said where Postgres does not answer."""

from __future__ import annotations

import socket

import pytest

from include.errors import UnavailableError
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef


def test_who_does_not_answer_why_and_what_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of what Postgres' client says, which is the reason, and no more of it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        port = taken.getsockname()[1]
        address = f"postgresql://somebody:secret@127.0.0.1:{port}/tenantry"
        monkeypatch.setenv("TENANTRY_DATABASE_URL", address)
        with (
            pytest.raises(UnavailableError) as caught,
            tenant_transaction(TenantRef("acme", "eu", "silo")),
        ):
            pass
    said = str(caught.value)
    assert said.startswith("Postgres database 'tenantry_silo_acme' does not answer (")
    assert "Connection refused)" in said
    assert "`tenantry tenants add`" in said
    assert "secret" not in said
    assert "\n" not in said
