"""What a tenant's sources may read: an operator's list, and a default that is safe without one.

`$TENANTRY_SOURCES` names a YAML file or holds its content. Nothing in here opens anything.
"""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, Field, ValidationError

from include.errors import ConfigError, IsolationError
from include.redaction import redacted, shown_address
from include.storage.scratch import scratch_folder
from include.tenants.fields import StrictModel, TenantId
from include.tenants.loader import tenants_folder

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Buckets, read through fsspec where its adapter is installed.
BUCKETS: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
WEB: Final = ("https", "http")
_PORTS: Final = {"https": 443, "http": 80}
_LARGEST_FILE: Final = 1_000_000
_PLACEHOLDER: Final = re.compile(r"\{([a-z]*)\}")
#: Folders of the state that no source reads from, whatever the operator lists.
_STATE: Final = (
    *("postgres", "airflow", "mlflow", "lake", "logs", "run", "secrets", "spool", "tmp"),
)
_SYSTEM: Final = ("/proc", "/sys", "/dev")


def _check_url_prefix(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in (*WEB, *BUCKETS):
        raise ValueError(f"must begin with one of {', '.join(f'{p}://' for p in (*WEB, *BUCKETS))}")
    if any(mark in rest for mark in ("?", "#", "*", "\\", "::")) or (scheme in WEB and "@" in rest):
        raise ValueError("must be a plain address: no login, query, glob or chain")
    return value


def _check_root(value: str) -> str:
    if not value or ".." in Path(value).parts:
        raise ValueError("must be a folder, without `..`")
    return value


class SourceLimits(StrictModel):
    """What one file of a source may cost. Seconds, bytes, rows."""

    connect_seconds: float = Field(default=10.0, gt=0)  #: name server, connection and login
    idle_seconds: float = Field(default=60.0, gt=0)  #: between two parts of an answer
    file_seconds: float = Field(default=3_600.0, gt=0)  #: for the whole of a remote file
    statement_seconds: float = Field(default=1_800.0, gt=0)  #: for a statement on Postgres
    fetched_bytes: int = Field(default=16 << 30, gt=0)  #: of a remote file
    decoded_bytes: int = Field(default=128 << 30, gt=0)  #: of a file, decompressed and decoded
    batch_bytes: int = Field(default=256 << 20, gt=0)  #: decoded at once
    expansion: int = Field(default=2_000, gt=1)  #: decoded bytes per stored byte, past 1 GiB
    rows: int = Field(default=1_000_000_000, gt=0)  #: of a file
    row_groups: int = Field(default=100_000, gt=0)  #: of a Parquet file
    columns: int = Field(default=10_000, gt=0)  #: of a file, whether read or not
    files: int = Field(default=100_000, gt=0)  #: that one path stands for


class Grant(StrictModel):
    """What is allowed, as the operator writes it."""

    #: Folders; `{home}`, `{tenants}` and `{tenant}` stand for themselves.
    roots: tuple[Annotated[str, AfterValidator(_check_root)], ...] = ()
    urls: tuple[Annotated[str, AfterValidator(_check_url_prefix)], ...] = ()  #: how they begin
    packages: tuple[str, ...] = ()  #: Python distributions; `*` is any
    hosts: tuple[str, ...] = ()  #: names, addresses or networks allowed although they are private
    connections: tuple[str, ...] = ()  #: Airflow's; `{tenant}` is written with `_` for `-`


#: Without a list: packages, the tenant's own folders, and the connection that bears its name. Not
#: connections that only begin with it: `store` is no part of `store_292`.
EMBEDDED: Final = Grant(
    roots=("{home}/sources/{tenant}", "{home}/demo/{tenant}", "{tenants}/data/{tenant}"),
    packages=("*",),
    connections=("{tenant}",),
)


class SourcesFile(StrictModel):
    """The whole document."""

    default: Grant = EMBEDDED  #: for every tenant
    tenants: dict[TenantId, Grant] = Field(default_factory=dict)  #: what one has in addition
    limits: SourceLimits = SourceLimits()


@dataclass(frozen=True)
class Parents:
    """A folder that holds a folder per tenant, and the name of one's own."""

    folder: Path
    own: str


@dataclass(frozen=True)
class Grants:
    """What the sources of one tenant may read."""

    tenant: str
    home: Path  #: where relative paths start
    roots: tuple[Path, ...]
    urls: tuple[str, ...]
    packages: frozenset[str]
    names: frozenset[str]  #: hosts that may be private
    networks: tuple[Network, ...]  #: addresses that may be private
    connections: frozenset[str]
    limits: SourceLimits
    never: tuple[Path, ...]  #: folders nothing is read from
    guarded: tuple[Path, ...]  #: folders nothing is read from by way of a root around them
    parents: tuple[Parents, ...]

    def require_connection(self, connection: str) -> None:
        """Raises IsolationError unless the tenant may use the Airflow connection."""
        if connection not in self.connections:
            raise IsolationError(
                f"connection {connection!r} is not granted to {self.tenant}; granted: "
                f"{', '.join(sorted(self.connections)) or 'none'}. An operator grants it in "
                "TENANTRY_SOURCES"
            )

    def require_package(self, name: str) -> None:
        """Raises IsolationError unless files of the distribution may be read."""
        if "*" not in self.packages and _normal(name) not in self.packages:
            raise IsolationError(
                f"package {name[:80]!r} is not granted to {self.tenant}; granted: "
                f"{', '.join(sorted(self.packages)) or 'none'}. An operator grants it in "
                "TENANTRY_SOURCES"
            )

    def require_url(self, url: str) -> None:
        """Raises IsolationError unless the URL lies under a granted prefix."""
        if not any(_begins(url, prefix) for prefix in self.urls):
            raise IsolationError(
                f"{shown_address(url)} is not granted to {self.tenant}; granted: "
                f"{', '.join(self.urls) or 'no URL'}. An operator grants it in TENANTRY_SOURCES"
            )

    def refuse_path(self, path: str) -> NoReturn:
        """Raises IsolationError: the path lies beneath no granted folder."""
        raise IsolationError(
            f"{shown_address(path)} lies in no folder that is granted to {self.tenant}; granted: "
            f"{', '.join(map(str, self.roots)) or 'none'}. Put the file there, or have an operator "
            "grant its folder in TENANTRY_SOURCES"
        )


def grants_of(tenant_id: str, lake: Path | None = None) -> Grants:
    """What the environment's list says for a tenant.

    Args:
        lake: the root of the lake, where it is not `$TENANTRY_LAKE`.

    Raises:
        ConfigError: the list is malformed.
    """
    told = _read(os.environ.get("TENANTRY_SOURCES", "").strip())
    home = Path(os.environ.get("TENANTRY_HOME") or ".").absolute()
    own = [told.default, *([told.tenants[tenant_id]] if tenant_id in told.tenants else [])]
    hosts = [host for grant in own for host in grant.hosts]
    networks = {host: _network(host) for host in hosts}
    return Grants(
        tenant=tenant_id,
        home=home,
        roots=tuple(_root(root, tenant_id, home) for grant in own for root in grant.roots),
        urls=tuple(_filled(url, tenant=tenant_id) for grant in own for url in grant.urls),
        packages=frozenset(_normal(name) for grant in own for name in grant.packages),
        names=frozenset(_host(host) for host, network in networks.items() if network is None),
        networks=tuple(network for network in networks.values() if network is not None),
        connections=frozenset(
            _filled(name, tenant=tenant_id.replace("-", "_"))
            for grant in own
            for name in grant.connections
        ),
        limits=told.limits,
        never=tuple(_never(home, lake)),
        guarded=(
            tenants_folder(),
            *(
                _root(root, other, home)
                for other, grant in told.tenants.items()
                if other != tenant_id
                for root in grant.roots
            ),
        ),
        parents=tuple(_parents(told, tenant_id, home)),
    )


def _never(home: Path, lake: Path | None) -> list[Path]:
    named = [os.environ.get(name) for name in ("TENANTRY_LAKE", "AIRFLOW_HOME")]
    state = [home / name for name in _STATE] if os.environ.get("TENANTRY_HOME") else []
    found = [*state, *map(Path, filter(None, named)), *map(Path, _SYSTEM), scratch_folder()]
    return [*found, lake] if lake is not None else found


def _parents(told: SourcesFile, tenant_id: str, home: Path) -> list[Parents]:
    found = []
    grants = [EMBEDDED, told.default, *told.tenants.values()]
    for template in dict.fromkeys(root for grant in grants for root in grant.roots):
        parts = Path(template).parts
        place = next((n for n, part in enumerate(parts) if "{tenant}" in part), None)
        if place is not None:
            folder = _root(str(Path(*parts[:place])) if place else ".", tenant_id, home)
            found.append(Parents(folder, parts[place].replace("{tenant}", tenant_id)))
    return found


def _root(template: str, tenant_id: str, home: Path) -> Path:
    filled = _filled(template, tenant=tenant_id, home=str(home), tenants=str(tenants_folder()))
    return home / filled


def _filled(template: str, **values: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise ConfigError(f"TENANTRY_SOURCES: {template!r}: {found[0]} is none of {known}")
        return values[found[1]]

    return _PLACEHOLDER.sub(value, template)


def _read(told: str) -> SourcesFile:
    if not told:
        return SourcesFile()
    inline = told.startswith("{") or "\n" in told or ": " in told
    try:
        if inline:
            text = told
        elif Path(told).stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"TENANTRY_SOURCES: {told} is larger than {_LARGEST_FILE:,} bytes")
        else:
            text = Path(told).read_text(encoding="utf-8")
        return SourcesFile.model_validate(yaml.safe_load(text) or {})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"TENANTRY_SOURCES: {told} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"TENANTRY_SOURCES is no YAML: {redacted(error)}") from None
    except ValidationError as error:
        raise ConfigError("TENANTRY_SOURCES: " + "; ".join(map(_explain, error.errors()))) from None


def _explain(problem: Any) -> str:
    where = ".".join(map(str, problem["loc"])) or "document"
    return f"{where}: {redacted(problem['msg'].removeprefix('Value error, '))}"


def _network(host: str) -> Network | None:
    """The network an entry means, None for a name."""
    try:
        return ipaddress.ip_network(host.strip("[]"), strict=False)
    except ValueError:
        return None


def _host(name: str) -> str:
    return name.lower().rstrip(".")


def _normal(name: str) -> str:
    """A distribution's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _begins(url: str, prefix: str) -> bool:
    """Whether a URL lies under a prefix: same scheme, host and port, and within its path."""
    if _suspicious(url):
        return False
    try:
        here, there = urlsplit(url), urlsplit(prefix)
        if here.scheme != there.scheme:
            return False
        if here.scheme in WEB:
            here_port = here.port or _PORTS[here.scheme]
            there_port = there.port or _PORTS[there.scheme]
            if here_port != there_port or not here.hostname:
                return False
            # A prefix of a scheme alone is any host.
            if there.hostname and _host(here.hostname) != _host(there.hostname):
                return False
        elif there.netloc and here.netloc != there.netloc:
            return False
    except ValueError:
        return False
    folder = there.path.rstrip("/")
    return here.path == there.path or here.path.startswith(f"{folder}/") or not folder


def _suspicious(url: str) -> bool:
    """Whether a path could mean another one to whoever answers."""
    scheme, _, path = unicodedata.normalize("NFKC", url).lower().partition("://")
    if scheme in WEB:  # a bucket's keys may hold a question mark
        path = path.partition("?")[0]
    # `%c0%ae` and `%u002e` are full stops to servers that decode carelessly.
    coded = ("%2e", "%2f", "%5c", "%00", "%25", "%c0", "%c1", "%e0%8", "%f0%8", "%u")
    return (
        "\\" in path
        or any(code in path for code in coded)
        # What follows a semicolon is a parameter to some servers: `..;` is `..` to them.
        or any(part.partition(";")[0] in (".", "..") for part in path.split("/"))
        or any(ord(one) < 33 or ord(one) == 127 for one in url)
    )
