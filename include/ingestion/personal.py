"""Columns that a tenant's file says to hash: their values become keyed digests before all else.

What is read of a source passes here first. The mapping, the landing tables, the quarantine and the
ids of events only ever meet the digests. What an object or a nested column holds under a personal
name is taken out, as no tenant's file can tell which rows will have it.

A digest is HMAC-SHA256 under a key of the tenant's own, which is derived from the platform's secret
(`TENANTRY_PII_KEY`) and the tenant's id: the same value gives the same digest in every column, run
and source of one tenant, so that they can be joined, and another one in every other tenant, so that
equal customers of two tenants cannot. The key is in no file of the tenant's, and no digest leads
back without it.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, IntegrityError
from include.ingestion.columns import texts
from include.ingestion.mapping import columns_read
from include.storage.lake import Lake
from include.tenants.config import Source, TenantConfig
from include.tenants.personal import PersonalNames

VARIABLE: Final = "TENANTRY_PII_KEY"
#: Beside the tenant's tables: tells the key apart from any other, and nothing about it.
FINGERPRINT: Final = "pii_key.json"
_SHORTEST: Final = 32  #: characters of the secret
#: What a JSON object, or a list of them, begins with.
_OBJECT: Final = re.compile(r"^\s*[\[{]")
_MOST_DIGITS: Final = 4_000
_DIGEST: Final = 32  #: hexadecimal characters, 128 bits: no two values of a tenant meet

Hide = Callable[[pa.Table], pa.Table]


def hashed_columns(tenant: TenantConfig, source: Source) -> tuple[str, ...]:
    """The columns that are read of the source, and never as they are."""
    if not tenant.pii_columns:
        return ()
    personal = PersonalNames(tenant.pii_columns)
    return tuple(name for name in columns_read(source).names if personal.treatment(name) == "hash")


def hiding(tenant: TenantConfig, source: Source, secret: str | None) -> Hide:
    """What hashes the columns of a batch of the source's rows.

    Raises:
        ConfigError: there is something to hash, and no secret to do it with.
    """
    columns = hashed_columns(tenant, source)
    if not tenant.pii_columns:
        return lambda rows: rows
    key = tenant_key(tenant, secret) if columns else b""
    personal = PersonalNames(tenant.pii_columns)

    def hide(rows: pa.Table) -> pa.Table:
        for at, name in enumerate(rows.column_names):
            column = rows.column(at).combine_chunks()
            if name in columns:
                rows = rows.set_column(at, name, digests(column, key))
            elif (left := without_personal(column, name, personal)) is not column:
                rows = rows.set_column(at, name, left)
        return rows

    return hide


def tenant_key(tenant: TenantConfig, secret: str | None) -> bytes:
    """The tenant's own key.

    Raises:
        ConfigError: the platform's secret is missing or too short to be one.
    """
    if not secret or len(secret) < _SHORTEST:
        raise ConfigError(
            f"tenant {tenant.id}: pii_columns asks for hashing, and {VARIABLE} is "
            f"{'too short' if secret else 'not set'}; `make up` makes one for the embedded "
            "installation, `openssl rand -hex 32` for any other. Keep it: with another one, known "
            "customers are new ones"
        )
    return hmac.digest(secret.encode(), f"tenantry pii\0{tenant.id}".encode(), "sha256")


def digests(column: pa.Array, key: bytes) -> pa.Array:
    """The digest of each value's text; what is no value stays none."""
    encoded = texts(column).dictionary_encode()
    hashed = [
        hmac.digest(key, value.encode(), "sha256").hex()[:_DIGEST]
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(hashed, pa.string()).take(encoded.indices)


def without_personal(column: pa.Array, name: str, personal: PersonalNames) -> pa.Array:
    """The column without what the JSON objects in it hold under a personal name."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    objects = pc.fill_null(pc.match_substring_regex(column, _OBJECT.pattern), False)
    if not pc.any(objects).as_py():
        return column
    found = column.filter(objects).to_pylist()
    cleaned = pa.array([_text_left(text, name, personal) for text in found], column.type)
    return pc.replace_with_mask(column, objects, cleaned)


def _left(value: Any, path: str, personal: PersonalNames) -> Any:
    """What is left of a value; `path` are the names that lead to it."""
    if isinstance(value, dict):
        return {
            key: _left(one, f"{path}.{key}", personal)
            for key, one in value.items()
            if not _is_personal(str(key), one, path, personal)
        }
    if isinstance(value, list):
        return [_left(one, path, personal) for one in value]
    if isinstance(value, str) and _OBJECT.match(value):
        return _text_left(value, path, personal)
    return value


def _is_personal(key: str, value: Any, path: str, personal: PersonalNames) -> bool:
    """Whether a member goes; an object that only holds personal ones among others stays."""
    name = f"{path}.{key}"
    return personal.within(name) or (
        not isinstance(value, (dict, list)) and personal.treatment(name) is not None
    )


def _text_left(text: str, path: str, personal: PersonalNames) -> str | None:
    """What is left of a text that may be JSON; of one that nobody can take apart, nothing."""
    try:
        value = json.loads(text, parse_int=_integer)
        left = _left(value, path, personal)
        return text if left == value else json.dumps(left)
    except RecursionError:
        return None
    except ValueError:  # no JSON
        return text


def _integer(digits: str) -> int | str:
    """An integer, or its digits where there are more of them than Python converts."""
    return int(digits) if len(digits) < _MOST_DIGITS else digits


def keep_key(tenant: TenantConfig, secret: str | None, lake: Lake) -> None:
    """Make sure that the key is the one that the tenant's earlier rows were hashed with.

    Raises:
        IntegrityError: it is another one: every known customer would be a new one.
    """
    key = tenant_key(tenant, secret)
    path = lake.file_path(tenant.ref, FINGERPRINT)
    told = hmac.digest(key, b"fingerprint", "sha256").hex()[:16]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f"tmp_{path.name}.{os.getpid()}")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"key": told}, file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: it is the one to agree with
            os.link(partial, path)
        partial.unlink()
    if path.read_text() != json.dumps({"key": told}):
        raise IntegrityError(
            f"tenant {tenant.id}: {VARIABLE} is not the key that its rows were hashed with. "
            "Restore that key (`secrets/` of TENANTRY_HOME, or the setting of this deployment); "
            "without it, erase the tenant's data and load it anew"
        )
