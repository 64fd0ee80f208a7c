"""Keys and the login of one installation: generated once, readable by their owner only."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from include.errors import IntegrityError
from include.runtime.private import make_folder
from include.runtime.state import State

ADMIN = "admin"


@dataclass(frozen=True)
class Secrets:
    """What the components share and nobody else knows."""

    api_secret_key: str
    jwt_secret: str
    fernet_key: str
    admin_password: str


def passwords_file(state: State) -> Path:
    """The file from which Airflow's SimpleAuthManager reads the login."""
    return state.secrets / "airflow_passwords.json"


def mlflow_password_file(state: State) -> Path:
    """The file with MLflow's password, which is generated at the first call."""
    path = state.secrets / "mlflow_password"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(12))
    return path


def load(state: State) -> Secrets:
    """The secrets of this installation, generated at the first call."""
    path = state.secrets / "secrets.json"
    if not path.exists():
        fresh = Secrets(
            api_secret_key=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(64),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            admin_password=secrets.token_urlsafe(12),
        )
        _write_private(path, json.dumps(asdict(fresh)))
    try:
        found = Secrets(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"{path} does not hold the secrets it was written with. Restore it, or run "
            "`make clean` to start over with new ones."
        ) from error
    login = {ADMIN: found.admin_password}
    if not passwords_file(state).exists():
        _write_private(passwords_file(state), json.dumps(login))
    return found


def pii_key(state: State) -> str:
    """What the keys for hashing PII columns are derived from, generated at the first call.

    Never replaced: with another key, customers whose ids are hashed would all be new ones.
    """
    path = state.secrets / "pii_key"
    if not path.exists():
        fresh = path.with_name(f"{path.name}.fresh.{os.getpid()}")
        _write_private(fresh, secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was first: its key is the one
            os.link(fresh, path)
        fresh.unlink()
    found = path.read_text()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise IntegrityError(
            f"{path} does not hold the key it was written with. Restore it: with another one, "
            "customers whose ids are hashed would all be new ones."
        )
    return found


def _write_private(path: Path, content: str) -> None:
    make_folder(path.parent)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
