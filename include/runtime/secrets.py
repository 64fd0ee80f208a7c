"""Keys and the login of one installation: generated once, readable by their owner only."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from include.errors import IntegrityError
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
        _write_private(path, asdict(fresh))
    try:
        found = Secrets(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"{path} does not hold the secrets it was written with. Restore it, or run "
            "`make clean` to start over with new ones."
        ) from error
    login = {ADMIN: found.admin_password}
    if not passwords_file(state).exists():
        _write_private(passwords_file(state), login)
    return found


def _write_private(path: Path, content: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
