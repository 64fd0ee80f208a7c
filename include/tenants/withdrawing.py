"""Takes a tenant's consent to pooling back in its own file, and leaves the rest as it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from include.errors import ConfigError
from include.tenants.loader import load_tenant, tenant_files


def file_of(folder: Path, tenant_id: str, known_use_cases: frozenset[str]) -> Path | None:
    """The good file of a tenant; None where the folder has none."""
    named = folder / f"{tenant_id}.yaml"
    for path in (named, *(one for one in tenant_files(folder) if one != named)):
        try:
            if load_tenant(path, known_use_cases).id == tenant_id:
                return path
        except ConfigError:
            continue
    return None


def withdraw_consent(path: Path, known_use_cases: frozenset[str]) -> bool:
    """Make the file say that the tenant does not consent; whether it had to be changed.

    Comments and everything else stay. The new file takes the old one's place at once.

    Raises:
        ConfigError: the file cannot be changed here; it says what to change and where.
    """
    if not load_tenant(path, known_use_cases).pooling.consent:
        return False
    text = path.read_text(encoding="utf-8")
    start, end = _place(text)
    part = path.with_suffix(".part")
    try:
        part.write_text(f"{text[:start]}false{text[end:]}", encoding="utf-8")
        part.chmod(path.stat().st_mode & 0o777)
        if load_tenant(part, known_use_cases).pooling.consent:
            raise ConfigError(f"{path}: set `consent` under `pooling` to false by hand")
        if not os.access(path, os.W_OK):  # the folder's owner could replace it all the same
            raise PermissionError(13, "Permission denied")
        part.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be changed here ({error.strerror}); set `consent` under `pooling` to "
            "false where the tenants' files are kept, then run this again"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return True


def _place(text: str) -> tuple[int, int]:
    """Where the value of `pooling.consent` stands."""
    node: Any = yaml.compose(text, yaml.SafeLoader)
    for name in ("pooling", "consent"):  # both are there, as the loader has read a yes
        node = next(value for key, value in node.value if key.value == name)
    return node.start_mark.index, node.end_mark.index
