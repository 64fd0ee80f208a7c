"""A hostile run leaves no secret behind: in no error, log, quarantined row, table or file."""

from __future__ import annotations

import json
import logging
import traceback
import zipfile
from pathlib import Path

import pytest

from include.errors import IsolationError, SourceError
from include.storage.postgres import tenant_transaction
from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop, grant

pytestmark = pytest.mark.integration

#: What is planted in secrets, in other tenants' files, in URLs and in first lines.
PLANTED = ("jwt-5cc0b7e1d2", "hunter2-is-a-password", "ann.secret@birch.example", "sig-77aa01")
HOSTILE = [
    "{home}/secrets/secrets.json",
    "{home}/la?e/eu/birch/sales.csv",
    "simplecache::file://{home}/lake/eu/birch/sales.csv",
    "dir://sales.csv::file://{home}/lake/eu/birch",
    "zip://secrets.json::{home}/secrets/x.zip",
    "/proc/self/environ",
    "{own}/link.csv",
    "{own}/keys.csv",
    "{own}/bare.csv",
    "{own}/broken.csv",
    "{own}/broken.zip",
    "ftp://ann:hunter2-is-a-password@127.0.0.1/sales.csv",
    "https://ann:hunter2-is-a-password@127.0.0.1:1/sales.csv?sig=sig-77aa01",
    "http://169.254.169.254/latest/meta-data?token=jwt-5cc0b7e1d2",
    "s3://ann:hunter2-is-a-password@bucket/sales.csv",
]


def plant(home: Path) -> Path:
    """Secrets around and within the tenant's own folder; returns that folder."""
    own = home / "own"
    rows = f"id,at,user,quantity,amount\n1,2024-01-09,{PLANTED[2]},1,1\n"
    for path, content in {
        "secrets/secrets.json": json.dumps({"jwt": PLANTED[0], "password": PLANTED[1]}),
        "lake/eu/birch/sales.csv": rows,
        "own/keys.csv": f'{{"jwt": "{PLANTED[0]}", "password": "{PLANTED[1]}"}}\n',
        "own/bare.csv": f"1,2024-01-09,{PLANTED[2]},1,1\n",
        "own/broken.csv": f"id,at,{PLANTED[2]}\n",
        "own/broken.zip": f"PK{PLANTED[1]}",
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(content)
    with zipfile.ZipFile(home / "secrets" / "x.zip", "w") as archive:
        archive.write(home / "secrets" / "secrets.json", "secrets.json")
    (own / "link.csv").symlink_to("../secrets/secrets.json")
    return own


def left_behind(shop: Shop) -> str:
    """All that the run left in Postgres and the lake."""
    tables = ("quarantine", "slices", "stage_runs")
    with tenant_transaction(shop.config.ref) as connection:
        rows = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    found = [json.dumps(row, default=str) for row in rows]
    files = (path for path in shop.lake.root.rglob("*") if path.is_file())
    return "".join([*found, *(path.read_bytes().decode(errors="replace") for path in files)])


def test_a_hostile_run_leaves_no_secret_behind(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a source names, the error names the source and nothing that was planted."""
    home = shops.folder / "home"
    own = plant(home)
    grant(monkeypatch, roots=[str(own)], urls=["https://", "http://"])
    monkeypatch.setenv("TENANTRY_HOME", str(home))
    caplog.set_level(logging.DEBUG)
    for path in HOSTILE:
        for kind in ("csv", "jsonl", "parquet"):
            spelled = path.format(home=home, own=own)
            shop = shops.file(spelled, kind, pii_columns=["email"])
            told = []
            try:
                shop.ingest()
            except (IsolationError, SourceError) as error:
                chain = traceback.TracebackException.from_exception(error).format()
                # Frames quote this test's own lines; what errors say is not indented.
                told = [line for line in chain if not line.startswith("  ")]
            assert (
                f"tenant {shop.config.id}, source pos" in "".join(told) or "{own}" in path
            )  # a line of one's own may be set aside, masked
            text = "".join(told) + caplog.text + left_behind(shop)
            for secret in PLANTED:
                assert secret not in text, (path, kind)
            caplog.clear()
