"""Where zone maps are kept, one for each source, and what else than bytes decides what they say."""

from __future__ import annotations

import hashlib
import hmac
import json
import platform
import zoneinfo
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import include
from include.ingestion.zone_maps import ZoneMap, of_json, to_json
from include.storage.lake import Lake
from include.tenants.config import Source, TenantConfig
from include.tenants.namespace import TenantRef

#: What of this package decides which rows a block comes to, and when each arrived.
_CODE: Final = ("ingestion", "tenants", "handoffs.py", "storage/canonical.py")
_LIBRARIES: Final = ("pyarrow", "duckdb", "tzdata")
#: Where a system's time zones say which ones they are.
_ZONES_VERSION: Final = ("tzdata.zi", "+VERSION")


def kept(lake: Lake, tenant: TenantRef, source: str) -> ZoneMap:
    """The zone map of a source's files; an empty one where none is kept."""
    try:
        return of_json(lake.file_path(tenant, _path(source)).read_bytes())
    except FileNotFoundError:
        return {}


def keep(lake: Lake, tenant: TenantRef, source: str, zones: ZoneMap) -> None:
    """Let this be all that is kept of a source's files; whoever is killed keeps what was there."""
    lake.put(tenant, _path(source), to_json(zones))


def _path(source: str) -> str:
    return f"zone_maps/{source}.json"


def _surroundings() -> tuple[str, ...]:
    """The code that reads rows, the libraries it does that with, and the rules of time zones."""
    code = hashlib.sha256()
    for path in _files(Path(next(iter(include.__path__)))):
        code.update(path.read_bytes())
    libraries = [platform.python_version(), *(f"{name} {version(name)}" for name in _LIBRARIES)]
    return (code.hexdigest(), *libraries, *map(_rules, zoneinfo.TZPATH))


def _files(package: Path) -> Iterator[Path]:
    for name in _CODE:
        path = package / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _rules(folder: str) -> str:
    """Which time zones a folder of the system has; where it does not say, since when."""
    for name in _ZONES_VERSION:
        if (path := Path(folder, name)).is_file():
            with path.open() as file:
                return file.readline()
    return str(Path(folder).stat().st_mtime_ns) if Path(folder).is_dir() else ""


#: Of what this process has loaded, not of what lies there by the time that a file is read.
_SURROUNDINGS: Final = _surroundings()


def reading_of(tenant: TenantConfig, source: Source, secret: str | None) -> bytes:
    """A digest of all that decides which rows a block's bytes come to, and when each arrived.

    Args:
        secret: the platform's; with it nobody can try out what a block may hold.
    """
    told = [tenant.model_dump_json(), source.name, *_SURROUNDINGS]
    return hmac.digest((secret or "").encode(), json.dumps(told).encode(), "sha256")
